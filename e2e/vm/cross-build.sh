#!/usr/bin/env bash
# Builds what the virtual device carries, static, for its processor: `tandem` and the two
# environment tools, the very programs that devices get. Prints the directory that they are in.
#
#   e2e/vm/cross-build.sh TARGET        such as aarch64-unknown-linux-gnu
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=e2e/targets.sh
. e2e/targets.sh
e2e/static-build.sh "$(smallest "${1:?usage: e2e/vm/cross-build.sh TARGET}")" >&2
readlink -f target/static
