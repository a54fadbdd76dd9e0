#!/usr/bin/env bash
# Puts an S3-compatible store that checks signatures into target/s3, for the tests: nanio, every wheel of it by its sum.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=target/s3 pinned=e2e/s3-store.txt
cmp --quiet "$pinned" "$venv/made-of" && exit
rm -rf "$venv"
python3 -m venv "$venv"
# Without what makes it faster, which is other files on each kind of machine.
"$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-deps --require-hashes -r "$pinned"
cp "$pinned" "$venv/made-of"
