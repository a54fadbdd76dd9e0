#!/usr/bin/env bash
# The pages in Debian's Chromium: what story.mjs tells. Screenshots are left in target/pages/shots.
set -euo pipefail
cd "$(dirname "$0")/../.."

modules=target/pages/modules work=target/pages/work
mkdir -p "$modules"
cp e2e/pages/{package.json,package-lock.json,.npmrc} e2e/pages/*.mjs "$modules"
# Only what the lock file names, and only when it is not there yet.
if ! cmp -s e2e/pages/package-lock.json "$modules/installed"; then
    npm ci --prefix "$modules" --ignore-scripts --silent
    cp e2e/pages/package-lock.json "$modules/installed"
fi
rm -rf "$work"
mkdir -p "$work"
node "$modules/story.mjs" target/debug "$work" "$@"
