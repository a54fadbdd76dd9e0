//! Scripts that ask to be run again, and the windows of time.

use std::time::{Duration, Instant};

use tandem_state_scripts::Action::{Enter, Error as OnFailure, Leave};
use tandem_state_scripts::OnError;
use tandem_state_scripts::State::{ArtifactCommit, Download};

use super::{NOTE, check, check_with};
use crate::device::{Device, chain, run};

/// Exits with the codes in `$D/<script name>`, one a run, then with 0.
const CODES: &str = r#"echo "${0##*/}" >> "$D/ran"
codes=$D/${0##*/}.codes
read -r code rest < "$codes" || exit 0
echo "$rest" > "$codes"
exit "${code:-0}""#;

#[test]
fn a_script_that_asks_for_later_runs_again_before_the_next_one() {
    let device = Device::new();
    for name in ["Download_Enter_00", "Download_Enter_10"] {
        device.rootfs_script(name, CODES);
    }
    device.file("Download_Enter_00.codes", "21 21\n", "644");
    device.file("Download_Enter_10.codes", "21\n", "644");
    check(
        &device,
        (Download, Enter, OnError::Stop),
        "ok",
        &[
            "Download_Enter_00",
            "Download_Enter_00",
            "Download_Enter_00",
            "Download_Enter_10",
            "Download_Enter_10",
        ],
    );
}

#[test]
fn a_failure_after_a_later_is_a_failure_of_the_script_alone() {
    let device = Device::new();
    for name in ["Download_Error_00", "Download_Error_10"] {
        device.rootfs_script(name, CODES);
    }
    device.file("Download_Error_00.codes", "21 7\n", "644");
    check(
        &device,
        (Download, OnFailure, OnError::Continue),
        "state script \"Download_Error_00\" failed: exit code 7",
        &[
            "Download_Error_00",
            "Download_Error_00",
            "Download_Error_10",
        ],
    );
}

#[test]
fn a_script_that_asks_for_later_for_ever_ends_the_set_in_both_modes() {
    for on_error in [OnError::Stop, OnError::Continue] {
        let device = Device::new();
        device.rootfs_script("Download_Leave_00", "exit 21");
        device.rootfs_script("Download_Leave_10", NOTE);
        let mut runner = device.runner();
        runner.retry_timeout = Duration::from_millis(300);
        let start = Instant::now();
        check_with(
            &device,
            &runner,
            (Download, Leave, on_error),
            "state script \"Download_Leave_00\" failed: \
             it asked to be run again later for more than 300ms",
            &[],
        );
        assert!(start.elapsed() >= runner.retry_timeout);
    }
}

#[test]
fn the_window_ends_while_waiting_for_the_next_run() {
    let device = Device::new();
    device.rootfs_script("Download_Enter_00", &format!("{NOTE}\nexit 21"));
    let mut runner = device.runner();
    runner.retry_interval = Duration::from_secs(3600);
    runner.retry_timeout = Duration::from_millis(300);
    let start = Instant::now();
    check_with(
        &device,
        &runner,
        (Download, Enter, OnError::Stop),
        "state script \"Download_Enter_00\" failed: \
         it asked to be run again later for more than 300ms",
        &["Download_Enter_00"],
    );
    // Not at once either: a stall may be what the script wants.
    assert!(start.elapsed() >= runner.retry_timeout);
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn the_window_ends_while_the_script_runs_again_and_kills_it() {
    let device = Device::new();
    let body = r#"[ -e "$D/again" ] || { : > "$D/again"; exit 21; }
        echo $$ > "$D/pid"; trap '' TERM; while :; do sleep 1; done"#;
    device.rootfs_script("Download_Enter_00", body);
    device.rootfs_script("Download_Enter_10", NOTE);
    let mut runner = device.runner();
    runner.limits.grace = Duration::from_millis(200);
    runner.retry_timeout = Duration::from_secs(2);
    check_with(
        &device,
        &runner,
        (Download, Enter, OnError::Continue),
        "state script \"Download_Enter_00\" failed: it asked to be run again later for more than 2s",
        &[],
    );
    assert!(!device.is_alive("pid"));
}

#[test]
fn every_script_has_a_window_of_its_own() {
    let device = Device::new();
    // Each needs more than half of the window, so one window would not do for both.
    for name in ["Download_Enter_00", "Download_Enter_10"] {
        device.rootfs_script(name, CODES);
        device.file(&format!("{name}.codes"), "21 21\n", "644");
    }
    let mut runner = device.runner();
    runner.retry_interval = Duration::from_millis(700);
    runner.retry_timeout = Duration::from_secs(2);
    let start = Instant::now();
    let (result, _) = run(&runner, Download, Enter, OnError::Stop);
    result.unwrap();
    assert!(start.elapsed() > runner.retry_timeout);
    assert_eq!(device.ran().len(), 6);
}

#[test]
fn a_script_that_runs_too_long_fails_and_continues_the_set_if_it_continues() {
    let device = Device::new();
    let hang = r#"echo $$ > "$D/pid"; exec sleep 60"#;
    device.artifact_script("ArtifactCommit_Error_00", hang);
    device.artifact_script("ArtifactCommit_Error_10", NOTE);
    let mut runner = device.runner();
    runner.limits.timeout = Duration::from_secs(1);
    let (result, _) = run(&runner, ArtifactCommit, OnFailure, OnError::Continue);
    assert_eq!(
        chain(&result.unwrap_err()),
        "state script \"ArtifactCommit_Error_00\" failed: killed because it ran too long"
    );
    assert!(!device.is_alive("pid"));
    assert_eq!(device.ran(), ["ArtifactCommit_Error_10"]);
}
