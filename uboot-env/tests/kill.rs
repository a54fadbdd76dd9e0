//! The real `fw_setenv`, killed at each of its system calls and told of errors by each of them. Debian's
//! `fw_printenv` says afterwards what is left.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may panic, and what it writes need not be durable"
)]

mod peers;

use std::collections::BTreeMap;
use std::process::Command;

use peers::{Device, Run, Whose, finish, installed, ours};
use tandem_uboot_env::{Env, image};

const SIZE: usize = 0x1000;

fn env_of(text: &str) -> Env {
    Env::from_text(text.as_bytes()).unwrap()
}

/// An environment that says `part=2`, in two copies or in one that fills its file.
fn device(copies: usize) -> Device {
    let copy = |text: &str, flags: u8| {
        image::build(&env_of(text), SIZE, (copies > 1).then_some(flags)).unwrap()
    };
    let content = match copies {
        1 => copy("part=2\nupgrade=0\n", 0),
        _ => [
            copy("part=2\nupgrade=0\n", 8),
            copy("part=7\nupgrade=7\n", 7),
        ]
        .concat(),
    };
    Device::new(SIZE, copies, &content)
}

/// `fw_setenv part 3 upgrade 1` under strace.
fn traced(device: &Device, options: &[&str]) -> Run {
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "trace"]).args(options);
    command
        .arg(ours("fw_setenv"))
        .args(["-c", "fw_env.config", "part", "3", "upgrade", "1"]);
    // With the path that cargo sets, most system calls would be the loader's.
    command
        .current_dir(device.dir.path())
        .env_remove("LD_LIBRARY_PATH");
    let run = finish(command, b"");
    std::fs::rename(
        device.dir.path().join("trace"),
        device.dir.path().with_extension("trace"),
    )
    .unwrap();
    run
}

/// The same with something injected into its system calls.
fn set_with(device: &Device, injection: &str) -> Run {
    let run = traced(device, &["-e", &format!("inject={injection}")]);
    std::fs::remove_file(device.dir.path().with_extension("trace")).unwrap();
    run
}

/// Each system call that it makes, as strace names it: `openat:when=3` is the third openat.
fn system_calls(copies: usize) -> Vec<String> {
    let device = device(copies);
    traced(&device, &[]);
    let trace = device.dir.path().with_extension("trace");
    let text = std::fs::read_to_string(&trace).unwrap();
    std::fs::remove_file(trace).unwrap();
    let mut counts = BTreeMap::new();
    let names = text
        .lines()
        .filter_map(|line| Some(line.split_once('(')?.0));
    names
        .map(|name| {
            let count = counts.entry(name.to_owned()).or_insert(0);
            *count += 1;
            format!("{name}:when={count}")
        })
        .collect()
}

/// Whether the environment says what it said before, or what it was told to; anything else fails.
#[track_caller]
fn is_new(device: &Device, context: &str) -> bool {
    let left = device.print(Whose::Debians, &["part", "upgrade"]);
    assert_eq!((left.code, left.err.as_str()), (Some(0), ""), "{context}");
    match left.out.as_str() {
        "part=2\\nupgrade=0\\n" => false,
        "part=3\\nupgrade=1\\n" => true,
        other => panic!("{context}: {other}"),
    }
}

/// Injects into one system call after the other. Answers how many runs left the old and the new
/// environment.
#[track_caller]
fn inject_everywhere(copies: usize, what: &str) -> [usize; 2] {
    let mut left = [0, 0];
    for call in system_calls(copies) {
        let device = device(copies);
        let run = set_with(&device, &format!("{call}:{what}"));
        let context = format!("{copies} copies, {call}:{what}: {run:?}");
        let new = is_new(&device, &context);
        left[usize::from(new)] += 1;
        // Success means that it is stored.
        assert!(new || run.code != Some(0), "{context}");

        // Whatever was left behind, the next call works and clears it up.
        let again = device.set(Whose::Ours, &["part", "3", "upgrade", "1"], b"");
        assert_eq!(again.code, Some(0), "{context} {again:?}");
        assert!(is_new(&device, &context), "{context}");
        let files = std::fs::read_dir(device.dir.path()).unwrap().count();
        assert_eq!(
            files, 2,
            "{context}: something was left beside the environment"
        );
    }
    left
}

fn strace_works() -> bool {
    if !installed("strace") || !installed("fw_printenv") {
        return false;
    }
    let works = finish(
        {
            let mut command = Command::new("strace");
            command.args(["-o", "/dev/null", "true"]);
            command
        },
        b"",
    )
    .code
        == Some(0);
    if !works {
        eprintln!("SKIPPED: strace may not trace here");
    }
    works
}

#[test]
fn killed_at_any_system_call_the_environment_is_old_or_new() {
    if strace_works() {
        for copies in [1, 2] {
            let [old, new] = inject_everywhere(copies, "signal=KILL");
            eprintln!("{copies} copies, SIGKILL: {old} old, {new} new");
            assert!(old > 10 && new > 1);
        }
    }
}

#[test]
fn after_an_error_of_any_system_call_the_environment_is_old_or_new() {
    if strace_works() {
        for copies in [1, 2] {
            for error in ["EIO", "ENOSPC"] {
                let [old, new] = inject_everywhere(copies, &format!("error={error}"));
                eprintln!("{copies} copies, {error}: {old} old, {new} new");
            }
        }
    }
}

#[test]
fn errors_of_the_calls_that_matter_are_reported() {
    if !strace_works() {
        return;
    }
    for (copies, injection, code, new) in [
        (2, "pwrite64:error=EIO:when=1", 255, false),
        (2, "pwrite64:error=ENOSPC:when=1", 255, false),
        (2, "fsync:error=EIO:when=1", 255, true),
        (1, "pwrite64:error=ENOSPC:when=1", 255, false),
        (1, "fsync:error=EIO:when=1", 255, false),
        (1, "rename:error=EIO:when=1", 255, false),
        // The directory: the new file is there, but perhaps not for good.
        (1, "fsync:error=EIO:when=2", 255, true),
        // The kernel says that it wrote and did not.
        (2, "pwrite64:retval=4096:when=1", 251, false),
        (2, "pwrite64:retval=512:when=1", 251, false),
        // Interrupted calls are repeated.
        (2, "pwrite64:error=EINTR:when=1", 0, true),
        (2, "fsync:error=EINTR:when=1", 0, true),
        // Working without a lock.
        (2, "flock:error=ENOLCK", 0, true),
    ] {
        let device = device(copies);
        let run = set_with(&device, injection);
        let context = format!("{copies} copies, {injection}: {run:?}");
        assert_eq!(run.code, Some(code), "{context}");
        assert_eq!(run.err.is_empty(), code == 0, "{context}");
        assert_eq!(is_new(&device, &context), new, "{context}");
    }
}
