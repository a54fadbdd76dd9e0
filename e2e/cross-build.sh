#!/usr/bin/env bash
# Static programs for the processors that devices have, with Debian's cross compilers. Each installs an
# artifact, here, by QEMU's user mode emulation; with --test the tests of what runs on devices are built
# for the same processor and run, too, and the tests of whole devices run with the static programs.
#
#   e2e/cross-build.sh [--test] [TARGET ...]
#
# TARGET is a target of Rust, or what Debian calls the processor (amd64 arm64 armhf riscv64); all of
# them if none is said. Those whose compilers cannot be had are told at the end, which is a failure.
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

# What runs on devices. All of its tests are built for the target and run, by QEMU, with what they start.
crates=(-p tandem-agent -p tandem-api -p tandem-artifact -p tandem-state-scripts -p tandem-uboot-env)
# Tests of whole devices: programs of this machine (test, server, artifact tool, virtual device) with the target's
# static `tandem` and `fw_setenv`.
whole=(command_line downloads fleet fleet_faults framed grub refusals update_modules)
# The other tests of e2e are about programs that devices do not have, kill the program at every system call, or have time
# limits of two seconds (watchdog).
#
# Left out where QEMU runs them: what looks at system calls, or stops at them, with strace, which would see QEMU's.
left_out=(
    a_group_is_signalled_only_while_its_leader_is_unreaped
    killed_at_any_system_call an_error_at_any_system_call after_an_error_of_any_system_call
    content_is_durable_before_the_rename_that_makes_it_count a_decision_is_durable_before_it_counts
    errors_of_the_calls_that_matter_are_reported
    blocks_that_are_right_are_not_written_and_zeros_are_not_either killed_at_any_point_it_goes_on_where_it_was
    an_installation_steps_back_while_it_fetches_and_no_longer
    a_module_update_survives_being_killed_at_every_system_call_of_the_agent
)
# And what sees that it is QEMU. Its vfork does not tell the parent that exec failed; it keeps real-time signals and
# descriptors for itself; and it wants more memory than the programs may have in `bounds`.
left_out+=(
    bounds::
    a_script_that_cannot_start_is_a_failure_of_that_script a_program_that_does_not_exist_is_an_error_that_names_it
    every_end_but_0_and_21_is_a_failure the_ending_tells_code_and_signal
    nothing_is_left_behind
)
# And in namespaces of one's own nobody may raise a lowered priority.
left_out+=(a_thread_and_those_it_starts_step_back_until_it_is_over)

# Runs a command where programs for target $1 can be started as any other.
with_programs_of() {
    local target=$1
    shift
    if native "$target"; then "$@"; else e2e/foreign.sh "$(qemu_of "$target")" "$@"; fi
}

run_tests() {
    local from=$SECONDS programs=$PWD/target/whole skipped=()
    native "$1" || skipped=("${left_out[@]/#/--skip=}")
    # What is built for tests is not small, and need not be.
    RUSTFLAGS="${static_flags[*]}" cargo test --quiet --no-run --target "$1" "${crates[@]}"
    printf '%s: the tests were built in %d s\n' "$1" $((SECONDS - from))
    from=$SECONDS
    RUSTFLAGS="${static_flags[*]}" with_programs_of "$1" cargo test --quiet --target "$1" "${crates[@]}" -- "${skipped[@]}"
    printf '%s: the tests of the crates ran for %d s\n' "$1" $((SECONDS - from))
    from=$SECONDS
    rm -rf "$programs"
    mkdir -p "$programs"
    ln -s "$PWD"/target/debug/{tandem-artifact,tandem-server,tandem-image,virtual-device} "$programs/"
    ln -s "$(realpath target/static)"/{tandem,fw_printenv,fw_setenv} "$programs/"
    TANDEM_BIN_DIR=$programs TANDEM_PATIENCE=$(native "$1" && echo 1 || echo 10) with_programs_of "$1" cargo test --quiet --workspace "${whole[@]/#/--test=}" -- "${skipped[@]}"
    printf '%s: the tests of whole devices ran for %d s\n' "$1" $((SECONDS - from))
}

need_cross "${targets[@]}"
for number in "${!targets[@]}"; do targets[number]=$(smallest "${targets[number]}"); done
if $test; then build_programs; else cargo build --quiet -p tandem-artifact; fi
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
