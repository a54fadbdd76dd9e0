#!/usr/bin/env bash
# Builds what runs on devices with the oldest supported compiler: rustup's, or else Debian 12's
# rustc-web of that version, unpacked beside the build and not installed.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
crates=(-p tandem-agent -p tandem-artifact -p tandem-state-scripts -p tandem-uboot-env -p tandem-api)

if command -v rustup > /dev/null && rustup run "$version.0" rustc --version 2> /dev/null \
    || rustup toolchain install --profile minimal "$version.0" > /dev/null 2>&1; then
    exec cargo "+$version.0" check --target-dir target/msrv "${crates[@]}"
fi

dir=target/debian-rust-$version
if [ ! -x "$dir/usr/bin/rustc" ]; then
    mkdir -p "$dir/debs"
    deb=$(apt-cache madison rustc-web | awk -v v="$version." 'index($3, v) == 1 { print $3; exit }')
    (cd "$dir/debs" && apt-get download -qq "rustc-web=$deb" "libstd-rust-web-$version=$deb" \
        "libstd-rust-web-dev=$deb" libllvm19)
    for package in "$dir"/debs/*.deb; do dpkg-deb -x "$package" "$dir"; done
fi
LD_LIBRARY_PATH=$PWD/$dir/usr/lib/x86_64-linux-gnu:$PWD/$dir/usr/lib/llvm-19/lib \
    RUSTC=$PWD/$dir/usr/bin/rustc cargo check --target-dir target/msrv "${crates[@]}"
