//! Sets of real shell scripts, run as the agent runs them.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a test may panic, and its files do not have to survive a power cut"
)]

#[path = "../device/mod.rs"]
mod device;
mod later;
mod stop;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use tandem_state_scripts::Action::Enter;
use tandem_state_scripts::State::{ArtifactInstall, Download, Idle, Sync};
use tandem_state_scripts::child::Limits;
use tandem_state_scripts::{Action, Error, MAX_ENTRIES, OnError, Runner, State};

use self::device::{Device, chain, run};

/// Appends the script's own name to the record of what ran.
const NOTE: &str = r#"echo "${0##*/}" >> "$D/ran""#;

/// Runs a set and compares the result, `ok` or the error's chain, and what ran.
#[track_caller]
fn check(device: &Device, set: (State, Action, OnError), result: &str, ran: &[&str]) {
    check_with(device, &device.runner(), set, result, ran);
}

#[track_caller]
fn check_with(
    device: &Device,
    runner: &Runner<'_>,
    (state, action, on_error): (State, Action, OnError),
    result: &str,
    ran: &[&str],
) {
    let (outcome, lines) = run(runner, state, action, on_error);
    let text = outcome.map_or_else(|err| chain(&err), |()| "ok".into());
    assert_eq!(text, result, "logged: {lines:#?}");
    assert_eq!(device.ran(), ran);
}

#[test]
fn scripts_of_a_set_run_in_byte_order() {
    let device = Device::new();
    for name in [
        "_50",
        "_10_b",
        "_10_B",
        "_09_z",
        "_99_last",
        "_10",
        "_00_\u{e4}",
        "_00_a",
    ] {
        device.rootfs_script(&format!("Sync_Enter{name}"), NOTE);
    }
    device.rootfs_script("Sync_Leave_00", NOTE);
    check(
        &device,
        (Sync, Enter, OnError::Stop),
        "ok",
        &[
            "Sync_Enter_00_a",
            "Sync_Enter_00_\u{e4}",
            "Sync_Enter_09_z",
            "Sync_Enter_10",
            "Sync_Enter_10_B",
            "Sync_Enter_10_b",
            "Sync_Enter_50",
            "Sync_Enter_99_last",
        ],
    );
}

#[test]
fn files_with_other_names_never_run() {
    let device = Device::new();
    for name in [
        "Idle_Enter_100",
        "Idle_Enter_0",
        "idle_enter_00",
        "Idle_Enter_00.sh",
        "Idle_Enter_00_two words",
        "xIdle_Enter_00",
        "Idle_Enter_00~",
        "Idle_Enter",
        "IdleX_Enter_00",
    ] {
        device.rootfs_script(name, NOTE);
    }
    device.rootfs_script("Idle_Enter_00_right", NOTE);
    check(
        &device,
        (Idle, Enter, OnError::Stop),
        "ok",
        &["Idle_Enter_00_right"],
    );
}

#[test]
fn each_state_has_its_scripts_from_one_directory_only() {
    let device = Device::new();
    for state in State::ALL {
        device.rootfs_script(&format!("{state}_Enter_00_rootfs"), NOTE);
        device.artifact_script(&format!("{state}_Enter_00_artifact"), NOTE);
    }
    for state in State::ALL {
        let _ = fs::remove_file(device.path("ran"));
        let from = if state.to_string().starts_with("Artifact") {
            "artifact"
        } else {
            "rootfs"
        };
        let name = format!("{state}_Enter_00_{from}");
        check(&device, (state, Enter, OnError::Stop), "ok", &[&name]);
    }
}

#[test]
fn a_script_without_execute_bit_and_a_directory_are_skipped() {
    let device = Device::new();
    device.rootfs_script("Sync_Enter_10", NOTE);
    let plain = device.path("etc-scripts/Sync_Enter_10");
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(device.path("etc-scripts/Sync_Enter_20_directory")).unwrap();
    symlink("nowhere", device.path("etc-scripts/Sync_Enter_30_dangling")).unwrap();
    let target = device.script("elsewhere", NOTE);
    symlink(target, device.path("etc-scripts/Sync_Enter_40_link")).unwrap();
    check(
        &device,
        (Sync, Enter, OnError::Stop),
        "ok",
        &["Sync_Enter_40_link"],
    );
}

#[test]
fn a_missing_directory_is_an_empty_set() {
    let device = Device::new();
    fs::remove_dir(device.path("scripts")).unwrap();
    check(&device, (ArtifactInstall, Enter, OnError::Stop), "ok", &[]);
}

#[test]
fn a_directory_that_cannot_be_listed_fails_the_set() {
    let device = Device::new();
    fs::remove_dir(device.path("scripts")).unwrap();
    device.file("scripts", "", "644");
    let (result, _) = run(&device.runner(), ArtifactInstall, Enter, OnError::Continue);
    // Which of the two reads of the directory notices first does not matter.
    let error = result.unwrap_err();
    assert!(
        matches!(error, Error::VersionFile { .. } | Error::Directory { .. }),
        "{error:?}"
    );
}

#[test]
fn the_first_failure_ends_a_set_that_stops_and_not_one_that_continues() {
    let device = Device::new();
    for (name, code) in [("_00", 0), ("_10", 3), ("_20", 0), ("_30", 4), ("_40", 5)] {
        let body = format!("{NOTE}\nexit {code}");
        device.rootfs_script(&format!("Download_Enter{name}"), &body);
    }
    check(
        &device,
        (Download, Enter, OnError::Stop),
        "state script \"Download_Enter_10\" failed: exit code 3",
        &["Download_Enter_00", "Download_Enter_10"],
    );
    fs::remove_file(device.path("ran")).unwrap();
    check(
        &device,
        (Download, Enter, OnError::Continue),
        "state script \"Download_Enter_10\" failed: exit code 3 (and 2 others failed after it)",
        &["_00", "_10", "_20", "_30", "_40"]
            .map(|name| format!("Download_Enter{name}"))
            .each_ref()
            .map(String::as_str),
    );
}

#[test]
fn errors_of_an_earlier_run_are_forgotten() {
    let device = Device::new();
    let runner = device.runner();
    let set = (Idle, Enter, OnError::Continue);
    device.rootfs_script("Idle_Enter_00", "exit 1");
    let failed = "state script \"Idle_Enter_00\" failed: exit code 1";
    check_with(&device, &runner, set, failed, &[]);
    device.rootfs_script("Idle_Enter_00", "exit 0");
    check_with(&device, &runner, set, "ok", &[]);
}

#[test]
fn every_end_but_0_and_21_is_a_failure() {
    let failures = [
        ("exit 1", "exit code 1"),
        ("exit 20", "exit code 20"),
        ("exit 22", "exit code 22"),
        ("exit 255", "exit code 255"),
        ("no-such-command-at-all 2>/dev/null", "exit code 127"),
        ("kill -TERM $$", "killed by SIGTERM"),
        ("kill -KILL $$", "killed by SIGKILL"),
        ("kill -SEGV $$", "killed by SIGSEGV"),
        ("kill -40 $$", "killed by signal 40"),
    ];
    for (body, how) in failures {
        let device = Device::new();
        device.artifact_script("ArtifactInstall_Enter_00", body);
        let expected = format!("state script \"ArtifactInstall_Enter_00\" failed: {how}");
        check(
            &device,
            (ArtifactInstall, Enter, OnError::Stop),
            &expected,
            &[],
        );
    }
}

#[test]
fn a_script_that_cannot_start_is_a_failure_of_that_script() {
    let device = Device::new();
    device.file(
        "scripts/ArtifactInstall_Enter_00",
        "#!/no/such/shell\n",
        "755",
    );
    device.file(
        "scripts/ArtifactInstall_Enter_10",
        "neither a script nor a program\n",
        "755",
    );
    device.artifact_script("ArtifactInstall_Enter_20", NOTE);
    check(
        &device,
        (ArtifactInstall, Enter, OnError::Continue),
        "state script \"ArtifactInstall_Enter_00\" failed: it cannot be started \
         (and another failed after it): No such file or directory (os error 2)",
        &["ArtifactInstall_Enter_20"],
    );
}

#[test]
fn a_script_gets_our_environment_directory_and_nothing_else() {
    let device = Device::new();
    device.rootfs_script(
        "Sync_Enter_00",
        r#"echo "args=$# extra=$EXTRA path=${PATH:+set}"; pwd; wc -c; grep Sig /proc/self/status"#,
    );
    let mut runner = device.runner();
    runner.env.push(("EXTRA".into(), "a b".into()));
    // As a daemon does that takes its signals from a signalfd: a child must not inherit that.
    let mut blocked = nix::sys::signal::SigSet::empty();
    blocked.add(nix::sys::signal::Signal::SIGTERM);
    blocked.thread_block().unwrap();
    let (result, lines) = run(&runner, Sync, Enter, OnError::Stop);
    result.unwrap();
    let lines = lines
        .iter()
        .map(|line| line.split_once("stdout: ").unwrap().1);
    let lines = lines.collect::<Vec<_>>();
    let here = std::env::current_dir().unwrap();
    assert_eq!(
        lines[..3],
        ["args=0 extra=a b path=set", here.to_str().unwrap(), "0"]
    );
    let mask = |name| {
        let line = lines.iter().find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
    };
    assert_eq!(mask("SigBlk:"), 0);
    let sigpipe = 1 << (nix::sys::signal::Signal::SIGPIPE as i32 - 1);
    assert_eq!(mask("SigIgn:") & sigpipe, 0);
}

#[test]
fn the_version_file_decides_for_the_whole_set() {
    let set = (Sync, Enter, OnError::Continue);
    for (content, accepted) in [
        ("3", true),
        ("2\n", true),
        (" \n\t3\n", true),
        ("3 and a remark", true),
        ("", false),
        (" \n", false),
        ("1", false),
        ("4", false),
        ("33", false),
        ("3.0", false),
        ("bogus", false),
        ("\u{0663}", false),
    ] {
        let device = Device::new();
        device.rootfs_script("Sync_Enter_00", NOTE);
        let path = device.file("etc-scripts/version", content, "644");
        if accepted {
            check(&device, set, "ok", &["Sync_Enter_00"]);
        } else {
            let word = content.trim();
            let path = path.display();
            let error = format!("{path} asks for script version \"{word}\", supported are 2 and 3");
            check(&device, set, &error, &[]);
        }
    }
}

#[test]
fn the_version_of_one_directory_says_nothing_about_the_other() {
    let device = Device::new();
    device.file("scripts/version", "bogus", "644");
    device.rootfs_script("Sync_Enter_00", NOTE);
    check(
        &device,
        (Sync, Enter, OnError::Stop),
        "ok",
        &["Sync_Enter_00"],
    );
    assert!(tandem_state_scripts::check_version(&device.path("etc-scripts")).is_ok());
    assert!(tandem_state_scripts::check_version(&device.path("scripts")).is_err());
}

#[test]
fn an_unreadable_version_file_fails_the_set() {
    let device = Device::new();
    device.rootfs_script("Sync_Enter_00", NOTE);
    fs::create_dir(device.path("etc-scripts/version")).unwrap();
    let (result, _) = run(&device.runner(), Sync, Enter, OnError::Stop);
    assert!(
        matches!(result, Err(Error::VersionFile { .. })),
        "{result:?}"
    );
    assert_eq!(device.ran(), [""; 0]);

    // A pipe must not make us wait for somebody to write to it.
    fs::remove_dir(device.path("etc-scripts/version")).unwrap();
    let pipe = device.path("etc-scripts/version");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let (result, _) = run(&device.runner(), Sync, Enter, OnError::Stop);
    assert!(matches!(result, Err(Error::Version { .. })), "{result:?}");
}

#[test]
fn output_of_both_streams_is_logged_up_to_the_limit() {
    let device = Device::new();
    let flood = r"i=0; while [ $i -lt 20000 ]; do
        echo 'flood line ........................................'; echo 'err' >&2; i=$((i+1)); done";
    device.rootfs_script("Sync_Enter_00", flood);
    device.rootfs_script("Sync_Enter_10", "echo second");
    let (result, lines) = run(&device.runner(), Sync, Enter, OnError::Stop);
    result.unwrap();
    let of = |prefix: &str| {
        let lines = lines.iter().filter_map(|line| line.strip_prefix(prefix));
        lines.map(|line| line.len() + 1).sum::<usize>()
    };
    assert!((10_000..10_400).contains(&of("Sync_Enter_00 stdout: ")));
    assert!((10_000..10_400).contains(&of("Sync_Enter_00 stderr: ")));
    let note = |stream: &str, dropped: usize| {
        format!("Sync_Enter_00 {stream}: ({dropped} more bytes of output not shown)")
    };
    assert!(
        lines.contains(&note("stdout", 20_000 * 52 - Limits::LOGGED)),
        "{:?}",
        lines.last()
    );
    assert!(lines.contains(&note("stderr", 20_000 * 4 - Limits::LOGGED)));
    assert_eq!(lines.last().unwrap(), "Sync_Enter_10 stdout: second");
}

#[test]
fn ten_thousand_files_are_listed_and_a_flood_of_them_is_refused() {
    let device = Device::new();
    let directory = device.path("etc-scripts");
    for number in 0..10_000 {
        let name = format!("Idle_Enter_50_script-{number}");
        symlink("/bin/true", directory.join(&name)).unwrap();
    }
    device.rootfs_script("Sync_Enter_00", NOTE);
    check(
        &device,
        (Sync, Enter, OnError::Stop),
        "ok",
        &["Sync_Enter_00"],
    );
    let found = tandem_state_scripts::list(&directory, Idle, Enter).unwrap();
    assert_eq!(found.len(), 10_000);
    assert!(found.is_sorted());
    for number in 10_000..MAX_ENTRIES {
        symlink("x", directory.join(number.to_string())).unwrap();
    }
    let (result, _) = run(&device.runner(), Sync, Enter, OnError::Continue);
    assert!(
        matches!(result, Err(Error::TooManyEntries(_))),
        "{result:?}"
    );
}
