//! Storing the scripts of an artifact, also when the power goes in the middle of it.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a test may panic, and its files do not have to survive a power cut"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use device::{Device, chain, has_strace, run};
use tandem_state_scripts::{Action, Error, OnError, State, clear, store};

mod device;

type Set = [(&'static str, &'static [u8])];

const OLD: &Set = &[
    (
        "ArtifactInstall_Enter_00",
        b"#!/bin/sh\necho old-0 >> $D/ran\n",
    ),
    (
        "ArtifactInstall_Enter_10_x",
        b"#!/bin/sh\necho old-1 >> $D/ran\n",
    ),
];

const NEW: &Set = &[
    (
        "ArtifactInstall_Enter_05",
        b"#!/bin/sh\necho new-0 >> $D/ran\n",
    ),
    (
        "ArtifactInstall_Enter_10_x",
        b"#!/bin/sh\necho new-1 >> $D/ran\n",
    ),
    ("ArtifactFailure_Leave_00", b""),
];

/// The files of a directory and what is in them; `None` if there is no directory.
fn content(dir: &Path) -> Option<BTreeMap<String, Vec<u8>>> {
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap_or_default())
    };
    Some(fs::read_dir(dir).ok()?.map(file).collect())
}

/// What a directory with this set in it must look like.
fn whole(set: &Set) -> BTreeMap<String, Vec<u8>> {
    let files = set
        .iter()
        .map(|(name, body)| (name.to_string(), body.to_vec()));
    files.chain([("version".into(), b"3".to_vec())]).collect()
}

/// Stores `set` and checks that it is there, as a whole and alone.
#[track_caller]
fn check(dir: &Path, set: &Set) {
    store(dir, set.iter().copied()).unwrap();
    assert_eq!(content(dir).unwrap(), whole(set));
    for leftover in ["scripts.new", "scripts.old"] {
        assert!(!dir.with_file_name(leftover).exists(), "{leftover}");
    }
}

#[test]
fn stored_scripts_run_and_replace_those_before_them() {
    let device = Device::new();
    for (set, ran) in [(OLD, ["old-0", "old-1"]), (NEW, ["new-0", "new-1"])] {
        check(&device.path("scripts"), set);
        let _ = fs::remove_file(device.path("ran"));
        let set = (State::ArtifactInstall, Action::Enter);
        run(&device.runner(), set.0, set.1, OnError::Stop)
            .0
            .unwrap();
        assert_eq!(device.ran(), ran);
    }
}

#[test]
fn stored_scripts_are_ours_alone() {
    let device = Device::new();
    check(&device.path("scripts"), NEW);
    let mode = |name| {
        let meta = fs::metadata(device.path(name)).unwrap();
        meta.permissions().mode() & 0o7777
    };
    assert_eq!(mode("scripts"), 0o700);
    assert_eq!(mode("scripts/ArtifactInstall_Enter_05"), 0o700);
}

#[test]
fn an_artifact_without_scripts_removes_those_before_it() {
    let device = Device::new();
    let dir = device.path("scripts");
    check(&dir, OLD);
    store(&dir, []).unwrap();
    assert_eq!(content(&dir), None);
    clear(&dir).unwrap();
    assert_eq!(content(&dir), None);
}

#[test]
fn whatever_stands_in_the_way_is_replaced_and_links_are_not_followed() {
    let device = Device::new();
    let dir = device.path("scripts");
    fs::remove_dir(&dir).unwrap();
    check(&dir, OLD);

    fs::create_dir_all(dir.join("a/directory")).unwrap();
    check(&dir, NEW);

    device.file("precious", "precious", "644");
    fs::remove_dir_all(&dir).unwrap();
    fs::write(&dir, "a file").unwrap();
    check(&dir, OLD);

    fs::create_dir(device.path("elsewhere")).unwrap();
    device.file("elsewhere/precious", "precious", "644");
    for name in ["scripts", "scripts.new", "scripts.old"] {
        let _ = fs::remove_dir_all(device.path(name));
        symlink("elsewhere", device.path(name)).unwrap();
    }
    check(&dir, NEW);
    assert!(device.exists("elsewhere/precious"));

    for name in ["scripts.new", "scripts.old"] {
        fs::create_dir_all(device.path(name).join("ArtifactInstall_Enter_00")).unwrap();
    }
    check(&dir, OLD);
}

#[test]
fn the_directory_may_be_written_with_a_slash_at_its_end() {
    let device = Device::new();
    check(&device.path("scripts/"), NEW);
    assert!(device.exists("scripts/ArtifactInstall_Enter_05"));
}

#[test]
fn a_bad_name_leaves_no_script_to_run() {
    for name in [
        "../evil",
        "ArtifactInstall_Enter_00_/../../evil",
        "version",
        "evil",
        "",
    ] {
        let device = Device::new();
        let dir = device.path("scripts");
        check(&dir, OLD);
        let set = [NEW[0], (name, b"#!/bin/sh\n"), NEW[1]];
        let error = store(&dir, set).unwrap_err();
        assert!(matches!(error, Error::Name(_)), "{error:?}");
        assert_eq!(content(&dir), None);
        assert!(!device.exists("evil"));
        check(&dir, NEW);
    }
}

#[test]
fn a_name_that_comes_twice_is_an_error() {
    let device = Device::new();
    let dir = device.path("scripts");
    let error = store(&dir, [NEW[0], NEW[1], NEW[0]]).unwrap_err();
    let path = device.path("scripts.new/ArtifactInstall_Enter_05");
    let expected = format!("cannot write {}: File exists (os error 17)", path.display());
    assert_eq!(chain(&error), expected);
    assert_eq!(content(&dir), None);
}

/// The system calls that change directories, and those that make changes durable. The test harness
/// around the victim makes none of them.
const CALLS: &str = "mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,\
                     fsync,fdatasync,chmod,fchmod,fchmodat";

/// The system calls that make a file.
const FILE_CALLS: [&str; 5] = ["openat", "write", "fchmod", "fsync", "close"];

/// Stores NEW in a process of its own, under strace with these options.
fn store_under_strace(device: &Device, options: &[&str]) -> bool {
    let strace = Command::new("strace")
        .args([
            "-f",
            "--seccomp-bpf",
            "-o",
            device.path("trace").to_str().unwrap(),
        ])
        .args(options)
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "victim"])
        .env("DIR", device.path("scripts"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    strace.unwrap().success()
}

#[test]
#[ignore = "the process that the others kill"]
fn victim() {
    if let Some(dir) = std::env::var_os("DIR") {
        store(Path::new(&dir), NEW.iter().copied()).unwrap();
    }
}

/// The system calls of storing NEW over OLD, with @ for the device's directory.
fn trace() -> Vec<String> {
    let device = Device::new();
    check(&device.path("scripts"), OLD);
    assert!(store_under_strace(
        &device,
        &["-y", "-e", &format!("trace={CALLS}")]
    ));
    assert_eq!(content(&device.path("scripts")).unwrap(), whole(NEW));
    let trace = fs::read_to_string(device.path("trace")).unwrap();
    let dir = device.path("").to_str().unwrap().to_owned();
    let calls = trace.lines().filter(|line| line.contains('('));
    calls
        .map(|line| line.replace(dir.trim_end_matches('/'), "@"))
        .map(|line| line.split_once(' ').unwrap().1.trim_start().to_owned())
        .collect()
}

/// Leaves the other system calls undisturbed, which makes it fast.
fn trace_only(call: &str) -> String {
    format!("--trace={call}")
}

/// The name of each system call of a trace, and the how manieth of this name it is: strace counts
/// each name for itself.
fn numbered(trace: &[String]) -> impl Iterator<Item = (&str, usize)> {
    trace.iter().enumerate().map(|(number, call)| {
        let (name, _) = call.split_once('(').unwrap();
        let same = |earlier: &&String| earlier.starts_with(&format!("{name}("));
        (name, trace[..=number].iter().filter(same).count())
    })
}

/// Kills the store at a system call; returns which set is there then: old, none or new.
#[track_caller]
fn kill_at(options: &[&str], call: &str) -> usize {
    let device = Device::new();
    let dir = device.path("scripts");
    check(&dir, OLD);
    let options = options
        .iter()
        .map(|option| option.replace('@', device.path("").to_str().unwrap()));
    let options = Vec::from_iter(options);
    store_under_strace(&device, &Vec::from_iter(options.iter().map(String::as_str)));
    let found = content(&dir);
    // The next one is not disturbed by what was left.
    check(&dir, NEW);
    let allowed = [Some(whole(OLD)), None, Some(whole(NEW))];
    let which = allowed.iter().position(|set| *set == found);
    which.unwrap_or_else(|| panic!("killed at {call}: {found:?}"))
}

#[test]
fn killed_at_any_system_call_the_set_is_old_or_new_or_none() {
    if !has_strace() {
        return;
    }
    let trace = trace();
    assert!(trace.len() > 15, "{trace:#?}");
    let mut seen = [0; 3];
    for (call, time) in numbered(&trace) {
        let kill = format!("inject={call}:signal=KILL:when={time}");
        seen[kill_at(&[&trace_only(call), "-e", &kill], &kill)] += 1;
    }
    for (name, body) in NEW {
        for call in FILE_CALLS {
            if call == "write" && body.is_empty() {
                continue;
            }
            let (path, kill) = (
                format!("@scripts.new/{name}"),
                format!("inject={call}:signal=KILL"),
            );
            let which = kill_at(&["-P", &path, "-e", &kill], &format!("{call} {path}"));
            assert_eq!(which, 1);
        }
    }
    assert!(seen.iter().all(|times| *times > 0), "{seen:?}");
}

#[test]
fn content_is_durable_before_the_rename_that_makes_it_count() {
    if !has_strace() {
        return;
    }
    let trace = trace();
    let at = |call: &str, path: &str| {
        let found = trace
            .iter()
            .position(|line| line.starts_with(call) && line.contains(path));
        found.unwrap_or_else(|| panic!("no {call} of {path}: {trace:#?}"))
    };
    let counts = at("rename", "\"@/scripts.new\", \"@/scripts\"");
    for (name, _) in NEW.iter().chain([&("version", &b""[..])]) {
        let file = format!("<@/scripts.new/{name}>");
        assert!(
            at("fsync", &file) < at("fsync", "<@/scripts.new>"),
            "{name}"
        );
    }
    assert!(at("fsync", "<@/scripts.new>") < counts);
    let is_parent = |line: &String| line.starts_with("fsync") && line.contains("<@>");
    assert!(trace[counts..].iter().any(is_parent), "{trace:#?}");

    // The old set loses its name for good before it loses its files.
    let uncounts = at("rename", "\"@/scripts\", \"@/scripts.old\"");
    let first_loss = at("unlinkat", "<@/scripts.old>");
    assert!(uncounts < first_loss);
    assert!(
        trace[uncounts..first_loss].iter().any(is_parent),
        "{trace:#?}"
    );
}

#[test]
fn an_error_at_any_system_call_leaves_old_or_new_or_none() {
    if !has_strace() {
        return;
    }
    let trace = trace();
    for (call, time) in numbered(&trace) {
        let device = Device::new();
        let dir = device.path("scripts");
        check(&dir, OLD);
        let inject = format!("inject={call}:error=EIO:when={time}");
        let has_worked = store_under_strace(&device, &[&trace_only(call), "-e", &inject]);
        assert!(!has_worked, "no error after {inject}");
        let found = content(&dir);
        let allowed = [Some(whole(OLD)), None, Some(whole(NEW))];
        assert!(allowed.contains(&found), "after {inject}: {found:?}");
        check(&dir, NEW);
    }
}
