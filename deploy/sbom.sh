#!/bin/sh
# Writes what each shipped program is made of, as CycloneDX in JSON, into a folder:
#
#     sh deploy/sbom.sh FOLDER-OF-CARGO-CYCLONEDX FOLDER
#
# The same sources give the same bytes.
set -eu
export PATH="$1:$PATH"
folder=$2
cd "$(dirname "$0")/.."
# No time and no random number of a run.
export SOURCE_DATE_EPOCH=0

mkdir -p "$folder"
for manifest in services/*/Cargo.toml tools/tristore/Cargo.toml; do
    cargo cyclonedx --quiet --manifest-path "$manifest" --target x86_64-unknown-linux-gnu --format json --spec-version 1.5 --describe binaries
    mv "$(dirname "$manifest")"/*_bin.cdx.json "$folder"
done
cd "$folder"
for file in *_bin.cdx.json; do
    mv "$file" "${file%_bin.cdx.json}.cdx.json"
done
