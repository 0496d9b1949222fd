#!/bin/sh
# Makes images under the names of public ones, for a machine that reaches no registry of images:
#
#     sh deploy/stand-ins/make.sh [NAME]...
#
# Unless some are named, all but those of the clients (golang, node, python). One that is there already is left as it is. As
# root, with Docker and debootstrap.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# Those of the machine. Found here, since a function below has the same name.
node=$(command -v node || true) npm=$(readlink -f "$(command -v npm || true)" || true)
cache=${TRISTORE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tristore}
export DOCKER_BUILDKIT=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# image TAG FOLDER [CONTEXT]
image() {
    docker build --quiet --network host --label tristore.stand-in=true --tag "$1" --file "$here/$2/Dockerfile" "${3:-$here/$2}"
}

debian() {
    debootstrap --variant=minbase --include=ca-certificates,tzdata bookworm "$work/root" http://deb.debian.org/debian >"$work/log" ||
        { cat "$work/log" >&2 && exit 1; }
    # Whom this machine trusts, so that what it can reach can be reached from within.
    cp /usr/local/share/ca-certificates/*.crt "$work/root/usr/local/share/ca-certificates/" 2>/dev/null || true
    chroot "$work/root" update-ca-certificates >/dev/null
    rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
    tar --directory "$work/root" --create . | docker import --change 'CMD ["bash"]' - stand-in/debian:bookworm
}

rust() { image rust:1.95.0-bookworm rust "$(rustc --print sysroot)"; }
distroless() { image gcr.io/distroless/cc-debian12:nonroot distroless; }
postgres() { image postgres:17 postgres; }
redis() { image redis:7.4 redis; }
golang() { image golang:1.26.8-bookworm golang "$(go env GOROOT)"; }
python() { image python:3.11-slim-bookworm python; }

node() {
    mkdir "$work/node"
    cp -L "$node" "$work/node/node"
    cp -r "$(dirname "$(dirname "$npm")")" "$work/node/npm"
    image node:20-bookworm-slim node "$work/node"
}

# The programs are those that `cargo xtask tools` has put into the cache.
mongo() {
    cp -r "$here/mongo" "$work/mongo"
    cp "$cache"/secantus-mdb-*/bin/secantusd-rs "$node" "$work/mongo"
    cp -r "$cache/npm/node_modules" "$work/mongo"
    image mongo:8.0 mongo "$work/mongo"
}

names=${*:-rust distroless postgres redis mongo}
tag() {
    case $1 in
    debian) echo stand-in/debian:bookworm ;;
    rust) echo rust:1.95.0-bookworm ;;
    distroless) echo gcr.io/distroless/cc-debian12:nonroot ;;
    postgres) echo postgres:17 ;;
    redis) echo redis:7.4 ;;
    mongo) echo mongo:8.0 ;;
    golang) echo golang:1.26.8-bookworm ;;
    node) echo node:20-bookworm-slim ;;
    python) echo python:3.11-slim-bookworm ;;
    *) echo "there is no stand-in for $1" >&2 && exit 2 ;;
    esac
}
for name in debian $names; do
    tag=$(tag "$name")
    if ! docker image inspect "$tag" >/dev/null 2>&1; then
        echo "making $tag"
        "$name"
    fi
done
