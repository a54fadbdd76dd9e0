#!/usr/bin/env bash
# Builds what the virtual device carries, static, for its processor: `tandem` and the two
# environment tools. Prints the directory that they are in.
#
#   e2e/vm/cross-build.sh TARGET        such as aarch64-unknown-linux-gnu
#
# The size does not matter here (e2e/static-build.sh is about that), so every linker will do.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${1:?usage: e2e/vm/cross-build.sh TARGET}
host=$(rustc -vV | sed -n 's/^host: //p')

# For this machine's own kind: the very programs that devices get.
if [ "$target" = "$host" ]; then
    e2e/static-build.sh > /dev/null
    dir=$(readlink -f target/static)
else
    # Debian names its cross compilers as GNU does; Rust has a word more in between.
    gnu=${target/-unknown-/-}
    command -v "$gnu-gcc" > /dev/null || {
        echo "$gnu-gcc is missing: apt-get install --no-install-recommends gcc-$gnu libc6-dev-arm64-cross" >&2
        exit 1
    }
    name=${target//-/_}
    export "CARGO_TARGET_${name^^}_LINKER=$gnu-gcc" "CC_$name=$gnu-gcc" "AR_$name=$gnu-ar"
    if command -v rustup > /dev/null; then
        rustup -q target add "$target" > /dev/null 2>&1 \
            || { echo "rustup cannot add the target $target" >&2; exit 1; }
    fi
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet --profile device --target "$target" \
        -p tandem-agent -p tandem-uboot-env --bins
    dir=$PWD/target/$target/device
fi
for program in tandem fw_printenv; do
    file "$dir/$program" | grep -q 'statically linked\|static-pie linked' \
        || { echo "$dir/$program is not static" >&2; exit 1; }
done
echo "$dir"
