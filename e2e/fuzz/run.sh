#!/usr/bin/env bash
# Feeds hostile input to everything that reads what strangers wrote: each target for so many seconds, or the named ones.
# What an input has taught is kept in target/fuzz/corpus; what makes a target fail, in target/fuzz/found.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
    printf 'usage: e2e/fuzz/run.sh [--seconds N] [TARGET ...]\n\ntargets: %s\n' "${targets[*]}"
}

targets=(archive artifact index environment messages)
seconds=60
wanted=()
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage; exit 0 ;;
        --seconds) seconds=${2:?}; shift 2 ;;
        -*) usage >&2; exit 2 ;;
        *) wanted+=("$1"); shift ;;
    esac
done
[ ${#wanted[@]} -gt 0 ] || wanted=("${targets[@]}")

# What cargo-fuzz passes, as far as a stable compiler takes it. The code has no unsafe blocks worth a sanitizer: a panic,
# an endless loop and too much memory are what is looked for. A target of its own keeps build scripts free of it.
triple=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
RUSTFLAGS=${RUSTFLAGS//$'\n'/ }
cargo build --release --quiet --manifest-path e2e/fuzz/Cargo.toml --target "$triple" --target-dir target/fuzz/build

mkdir -p target/fuzz/found
failed=()
for target in "${wanted[@]}"; do
    corpus=target/fuzz/corpus/$target
    mkdir -p "$corpus"
    seeds=()
    [ "$target" != archive ] || seeds=(artifact/tests/vectors)
    log=target/fuzz/$target.log
    # Two seconds for one input, half a GiB in all.
    if "target/fuzz/build/$triple/release/$target" -max_total_time="$seconds" -timeout=2 -rss_limit_mb=512 \
        -malloc_limit_mb=128 -max_len=65536 -artifact_prefix="target/fuzz/found/$target-" -print_final_stats=1 \
        "$corpus" "${seeds[@]}" > "$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
        cover=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1)
        printf '%-12s %10s inputs, %6s a second, %s edges\n' "$target" "$runs" "$rate" "${cover#cov: }"
    else
        failed+=("$target")
        tail -n 30 "$log"
        printf '%-12s FAILED; the input is in target/fuzz/found\n' "$target"
    fi
done
rm -f /dev/shm/tandem-fuzz-*.config
[ ${#failed[@]} = 0 ]
