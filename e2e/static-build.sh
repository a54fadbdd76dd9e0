#!/usr/bin/env bash
# Builds the device programs as devices get them: static, small, stripped. Prints the size of `tandem`
# and fails when it is over budget.
#
#   e2e/static-build.sh [TARGET]        default: this machine's
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:-$(rustc -vV | sed -n 's/^host: //p')}
budget=$((3584 * 1024)) # 3.5 MiB

# - no unwinding tables: the program aborts on a panic, nothing ever unwinds (-400 KiB)
# - identical code once, relative relocations packed (-190 KiB)
# - without these tables libgcc aborts when asked for a backtrace, as every error does that is made
#   while RUST_BACKTRACE is set: something harmless is called instead, and backtraces are empty
flags=(
    -C target-feature=+crt-static
    -C "link-arg=-Wl,--icf=all"
    -C "link-arg=-Wl,-z,pack-relative-relocs"
    -C "link-arg=-Wl,--no-eh-frame-hdr"
    -C "link-arg=-Wl,-T,$PWD/agent/no-unwinding.ld"
    -C "link-arg=-Wl,--defsym=_Unwind_Backtrace=getpid"
)
RUSTFLAGS="${flags[*]}" cargo build --quiet --profile device --target "$target" \
    -p tandem-agent -p tandem-uboot-env --bins
program=target/$target/device/tandem
size=$(stat -c %s "$program")
file "$program" | grep -q 'static' || { echo "$program is not static" >&2; exit 1; }
# An error is told, whatever is set.
told=$(RUST_BACKTRACE=1 RUST_LIB_BACKTRACE=1 "$program" --config /nonexistent show-artifact 2>&1 || true)
case $told in
    *"cannot read the configuration /nonexistent"*) ;;
    *) echo "$program does not tell its errors: $told" >&2; exit 1 ;;
esac
printf '%s: %d bytes, %d %% of the budget\n' "$program" "$size" $((size * 100 / budget))
[ "$size" -le "$budget" ] || { echo "over budget: $budget bytes" >&2; exit 1; }
