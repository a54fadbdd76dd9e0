#!/usr/bin/env bash
# Builds the device programs as devices get them: static, small, stripped. Prints the size of `tandem`
# and fails when it is over budget. They are then in target/static, too.
#
#   e2e/static-build.sh [--symbols] [TARGET]    default: this machine's, with musl's C library where the compiler has it
#
# With --symbols `tandem` is built once more, as target/static/tandem-symbols: the same, with the names of everything.
#
# For another processor Debian's cross compiler is used, and rustup's standard library for it.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=e2e/targets.sh
. e2e/targets.sh
symbols=
if [ "${1:-}" = --symbols ]; then
    symbols=yes
    shift
fi
target=${1:-$(smallest "$host")}
use_target "$target"
budget=$(budget_of "$target")

# - no unwinding tables: the program aborts on a panic, nothing ever unwinds (-400 KiB)
# - identical code once, relative relocations packed (-190 KiB)
flags=(
    "${static_flags[@]}"
    "${folding[@]}"
    -C "link-arg=-Wl,-z,pack-relative-relocs"
    -C "link-arg=-Wl,--no-eh-frame-hdr"
    -C "link-arg=-Wl,-T,$PWD/agent/no-unwinding.ld"
)
case $target in
    *-musl*) ;;
    # Without these tables libgcc aborts when asked for a backtrace, as every error does that is made while
    # RUST_BACKTRACE is set: something harmless is called instead, and backtraces are empty.
    *) flags+=(-C "link-arg=-Wl,--defsym=_Unwind_Backtrace=getpid") ;;
esac
export RUSTFLAGS="${flags[*]}"
built=target/$target/device
if [ -n "$symbols" ]; then
    cargo rustc --quiet --profile device --target "$target" -p tandem-agent --bin tandem -- -C strip=none
    mv "$built/tandem" "$built/tandem-symbols"
fi
cargo build --quiet --profile device --target "$target" -p tandem-agent -p tandem-uboot-env --bins
ln -sfn "$target/device" target/static
for program in tandem fw_printenv fw_setenv; do
    file -L "target/static/$program" | grep -q 'static' || { echo "$program is not static" >&2; exit 1; }
done
program=target/static/tandem
size=$(stat -L -c %s "$program")
# An error is told, whatever is set.
if runs "$target"; then
    told=$(RUST_BACKTRACE=1 RUST_LIB_BACKTRACE=1 "${runner[@]}" "$program" --config /nonexistent show-artifact 2>&1 || true)
    case $told in
        *"cannot read the configuration /nonexistent"*) ;;
        *) echo "$program does not tell its errors: $told" >&2; exit 1 ;;
    esac
fi
printf '%s (%s): %d bytes, %d %% of the budget\n' "$program" "$target" "$size" $((size * 100 / budget))
[ "$size" -le "$budget" ] || { echo "over budget: $budget bytes" >&2; exit 1; }
