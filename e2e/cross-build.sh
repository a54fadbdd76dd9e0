#!/usr/bin/env bash
# Static programs for the processors that devices have, with Debian's cross compilers. Each installs an
# artifact, here, by QEMU's user mode emulation; with --test the tests of what runs on devices are built
# for the same processor and run, too.
#
#   e2e/cross-build.sh [--test] [TARGET ...]
#
# TARGET is a target of Rust, or what Debian calls the processor (amd64 arm64 armhf riscv64); all of
# them if none is said. Those whose compilers cannot be had are told at the end, which is a failure.
#
# Tests that start our own programs need the kernel to run foreign ones (binfmt_misc). Where it does
# not, those are left out: see `tests_of`.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=e2e/targets.sh
. e2e/targets.sh
# shellcheck source=e2e/setup.sh
. e2e/setup.sh

test=false
targets=()
for word in "$@"; do
    case $word in
        --test) test=true ;;
        -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
        *) targets+=("$(target_named "$word")") ;;
    esac
done
[ ${#targets[@]} -gt 0 ] || targets=("${all_targets[@]}")

# What can be tested on a foreign processor: cargo's arguments for target $1, a line each run.
tests_of() {
    echo "-p tandem-agent --bins"
    echo "-p tandem-uboot-env --lib --test torn --test places"
    echo "-p tandem-state-scripts"
    # The format's own tests, but not those that start the tool, or take gigabytes.
    if native "$1" || binfmt_for "$1"; then
        echo "-p tandem-artifact"
    else
        echo "-p tandem-artifact --lib"
    fi
}

binfmt_for() {
    grep -qs '^enabled' "/proc/sys/fs/binfmt_misc/qemu-$(qemu_of "$1")"
}

run_tests() {
    local arguments
    while IFS= read -r arguments; do
        # Words on purpose. What is built for tests is not small, and need not be.
        # shellcheck disable=SC2086
        RUSTFLAGS="${static_flags[*]}" cargo test --quiet --target "$1" $arguments
    done < <(tests_of "$1")
}

need_cross "${targets[@]}"
for number in "${!targets[@]}"; do targets[number]=$(smallest "${targets[number]}"); done
cargo build --quiet -p tandem-artifact
missing=()
for target in "${targets[@]}"; do
    if ! use_target "$target"; then
        missing+=("$target")
        continue
    fi
    e2e/static-build.sh "$target"
    if runs "$target"; then
        e2e/cross-try.sh target/static target/debug/tandem-artifact "${runner[@]}"
        ! $test || run_tests "$target"
    else
        printf '%s is missing: nothing for %s was run\n' "${runner[0]}" "$target" >&2
        missing+=("$target")
    fi
done
[ ${#missing[@]} -eq 0 ] || { printf 'NOT DONE: %s\n' "${missing[*]}" >&2; exit 1; }
