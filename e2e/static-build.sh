#!/usr/bin/env bash
# Builds the device programs as devices get them: static, small, stripped. Prints the size of `tandem`
# and fails when it is over budget. They are then in target/static, too.
#
#   e2e/static-build.sh [TARGET]        default: this machine's, with musl's C library where the compiler has it
set -euo pipefail
cd "$(dirname "$0")/.."
sysroot=$(rustc --print sysroot)
host=$(rustc -vV | sed -n 's/^host: //p')

# musl's C library: glibc's takes 650 KiB more of a static program.
with_musl() {
    local target=${host%-gnu}-musl
    command -v musl-gcc > /dev/null || return 1
    [ -d "$sysroot/lib/rustlib/$target" ] || rustup target add "$target" > /dev/null 2>&1 || return 1
    printf '%s\n' "$target"
}
target=${1:-$(with_musl || printf '%s\n' "$host")}

# - no unwinding tables: the program aborts on a panic, nothing ever unwinds (-400 KiB)
# - identical code once, relative relocations packed (-190 KiB)
flags=(
    -C target-feature=+crt-static
    -C "link-arg=-Wl,--icf=all"
    -C "link-arg=-Wl,-z,pack-relative-relocs"
    -C "link-arg=-Wl,--no-eh-frame-hdr"
    -C "link-arg=-Wl,-T,$PWD/agent/no-unwinding.ld"
)
case $target in
    *-musl*)
        budget=$((3072 * 1024)) # 3 MiB
        # The linker that comes with the compiler, which is the default for the other.
        flags+=(-C link-arg=-fuse-ld=lld -C "link-arg=-B$sysroot/lib/rustlib/$host/bin/gcc-ld")
        ;;
    *)
        budget=$((3584 * 1024)) # 3.5 MiB
        # Without these tables libgcc aborts when asked for a backtrace, as every error does that is made while
        # RUST_BACKTRACE is set: something harmless is called instead, and backtraces are empty.
        flags+=(-C "link-arg=-Wl,--defsym=_Unwind_Backtrace=getpid")
        ;;
esac
RUSTFLAGS="${flags[*]}" cargo build --quiet --profile device --target "$target" \
    -p tandem-agent -p tandem-uboot-env --bins
ln -sfn "$target/device" target/static
program=target/static/tandem
size=$(stat -L -c %s "$program")
file -L "$program" | grep -q 'static' || { echo "$program is not static" >&2; exit 1; }
# An error is told, whatever is set.
told=$(RUST_BACKTRACE=1 RUST_LIB_BACKTRACE=1 "$program" --config /nonexistent show-artifact 2>&1 || true)
case $told in
    *"cannot read the configuration /nonexistent"*) ;;
    *) echo "$program does not tell its errors: $told" >&2; exit 1 ;;
esac
printf '%s (%s): %d bytes, %d %% of the budget\n' "$program" "$target" "$size" $((size * 100 / budget))
[ "$size" -le "$budget" ] || { echo "over budget: $budget bytes" >&2; exit 1; }
