//! The example that waits while a lock exists.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::userland::{Installed, Userland, Verdict};

const CONF: &str = "LOCKS='@D/locks/* @D/extra.lock'\nSTALE_MINUTES=30";

/// Makes lock files (name, content, age in minutes) and runs the script.
#[track_caller]
fn check(locks: &[(&str, &str, u64)], expected: Verdict, said: &str) {
    for userland in Userland::all() {
        let busy = Installed::new(userland, "busy", "ArtifactInstall_Enter_00_busy", CONF);
        fs::create_dir(busy.device.path("locks")).unwrap();
        for (name, content, age) in locks {
            let path = busy.device.file(name, content, "644");
            let made = SystemTime::now() - Duration::from_secs(age * 60);
            fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(made)
                .unwrap();
        }
        let (verdict, text) = busy.run(&busy.runner());
        let text = text.replace(&format!("{}/", busy.dir()), "@");
        assert_eq!(verdict, expected, "{userland:?}: {text}");
        assert_eq!(text, said, "{userland:?}");
    }
}

/// The number of a process that does not exist any more.
fn dead_process() -> u32 {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

#[test]
fn without_locks_nobody_waits() {
    check(&[], Verdict::Passed, "");
}

#[test]
fn a_lock_keeps_the_update_waiting_and_tells_why() {
    check(
        &[("locks/app", "", 0)],
        Verdict::Later,
        "waiting for @locks/app\n",
    );
    check(
        &[("extra.lock", "", 0)],
        Verdict::Later,
        "waiting for @extra.lock\n",
    );
    check(
        &[
            ("locks/a b", "reason=recording \x1b[2J a film\nfurther", 0),
            ("locks/c", "", 29),
        ],
        Verdict::Later,
        "waiting for @locks/a b: recording [2J a film\nwaiting for @locks/c\n",
    );
}

#[test]
fn a_lock_with_a_process_counts_as_long_as_that_exists() {
    let alive = std::process::id();
    let dead = dead_process();
    check(
        &[("locks/x", &format!("pid={alive}\nreason=backup\n"), 10_000)],
        Verdict::Later,
        &format!("waiting for @locks/x of process {alive}: backup\n"),
    );
    check(
        &[("locks/x", &format!("     {alive}\n"), 10_000)],
        Verdict::Later,
        &format!("waiting for @locks/x of process {alive}\n"),
    );
    check(
        &[("locks/x", &format!("pid={dead}\n"), 0)],
        Verdict::Passed,
        &format!("ignoring the stale lock @locks/x of process {dead}\n"),
    );
}

#[test]
fn a_lock_without_a_process_counts_until_it_is_old() {
    check(
        &[("locks/old", "", 45)],
        Verdict::Passed,
        "ignoring the stale lock @locks/old\n",
    );
    check(
        &[("locks/old", "", 45), ("locks/young", "pid=junk", 5)],
        Verdict::Later,
        "ignoring the stale lock @locks/old\nwaiting for @locks/young\n",
    );
}

#[test]
fn a_lock_may_be_anything_that_exists() {
    for userland in Userland::all() {
        let busy = Installed::new(userland, "busy", "Download_Enter_00_busy", CONF);
        fs::create_dir_all(busy.device.path("locks/directory")).unwrap();
        assert_eq!(busy.run(&busy.runner()).0, Verdict::Later);
        fs::remove_dir(busy.device.path("locks/directory")).unwrap();
        let made = Command::new("mkfifo")
            .arg(busy.device.path("locks/pipe"))
            .status();
        assert!(made.unwrap().success());
        assert_eq!(busy.run(&busy.runner()).0, Verdict::Later);
    }
}

#[test]
fn the_update_goes_on_when_the_lock_is_gone() {
    for userland in Userland::all() {
        let busy = Installed::new(userland, "busy", "ArtifactReboot_Enter_00_busy", CONF);
        fs::create_dir(busy.device.path("locks")).unwrap();
        let lock = busy.device.file("locks/app", "reason=busy", "644");
        let mut runner = busy.runner();
        runner.retry_timeout = Duration::from_secs(30);
        let mut times = 0;
        let result = runner.run(
            busy.name.state(),
            busy.name.action(),
            tandem_state_scripts::OnError::Stop,
            &mut |_, _, line| {
                assert!(line.ends_with("locks/app: busy"), "{line}");
                times += 1;
                if times == 3 {
                    fs::remove_file(&lock).unwrap();
                }
            },
        );
        result.unwrap();
        assert_eq!(times, 3);
    }
}
