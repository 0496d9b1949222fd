#!/bin/sh
# Builds the programs that are shipped into a folder, without their symbols:
#
#     sh deploy/build.sh FOLDER
#
# The same sources give the same bytes, whatever folders they and cargo's registry are in: no path of the machine gets
# into a program.
set -eu
folder=$1
cd "$(dirname "$0")/.."

cargo_home=${CARGO_HOME:-$HOME/.cargo}
target=${CARGO_TARGET_DIR:-$PWD/target}
# The last one that fits counts, and the target folder is usually within the sources.
export RUSTFLAGS="--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$PWD=/tristore --remap-path-prefix=$target=/target"
# What dependencies have in C.
export CFLAGS="-ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$PWD=/tristore -ffile-prefix-map=$target=/target"
export CARGO_INCREMENTAL=0

set -- user-service order-service session-service tristore
# Each is a package and a program of the same name.
cargo build --locked --release $(printf -- '--package %s --bin %s ' $(for it in "$@"; do echo "$it" "$it"; done))
mkdir -p "$folder"
for program in "$@"; do
    strip --strip-debug -o "$folder/$program" "$target/release/$program"
done
