#!/usr/bin/env bash
# Makes the server's container, without a daemon and without a network.
#
#   e2e/container.sh PROGRAM ARCHITECTURE ARCHIVE
#
#   PROGRAM      a static tandem-server
#   ARCHIVE      what is written: `podman load -i ARCHIVE`, `docker load -i ARCHIVE`
set -euo pipefail
cd "$(dirname "$0")/.."
program=$1 architecture=$2 archive=$3
context=$(mktemp -d "${TMPDIR:-/tmp}/tandem-container.XXXXXX")
trap 'rm -rf "$context"' EXIT
cp "$program" "$context/tandem-server"
install -d -m 700 "$context/volume/data"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
# Its own storage, so that what is on the machine is not touched and nothing is left. No HEALTHCHECK in
# images of the other format.
storage=(--root "$context/storage" --runroot "$context/run" --storage-driver vfs)
buildah "${storage[@]}" build --quiet --format docker --isolation chroot --arch "$architecture" \
    --timestamp "$SOURCE_DATE_EPOCH" -f mini-server/Containerfile \
    -t "localhost/tandem-server:$version" "$context" > /dev/null
rm -f "$archive"
buildah "${storage[@]}" push --quiet "localhost/tandem-server:$version" "docker-archive:$archive:tandem-server:$version" > /dev/null
