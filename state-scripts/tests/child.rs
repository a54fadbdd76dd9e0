//! The supervised child process, against programs that do not want to be supervised.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a test may panic, and its files do not have to survive a power cut"
)]

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use device::{Device, chain, has_strace};
use nix::fcntl::OFlag;
use tandem_state_scripts::child::{Child, Ending, Limits, Output, Stream};

mod device;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

fn limits(timeout: Duration) -> Limits {
    Limits {
        grace: SHORT,
        ..Limits::new(timeout)
    }
}

fn shell(device: &Device, body: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", body]).env("D", device.path(""));
    command
}

/// Runs a shell command to its end; returns the ending and the lines it printed.
#[track_caller]
fn check(device: &Device, body: &str, limits: Limits, expected: Ending) -> Vec<String> {
    let mut lines = Vec::new();
    let mut log = |stream, line: &str| lines.push(format!("{stream}: {line}"));
    let mut command = shell(device, body);
    let mut child = Child::spawn(&mut command, limits, Output::Log, None, &mut log).unwrap();
    assert_eq!(child.wait(), expected);
    assert_eq!(child.wait(), expected, "asked again");
    assert_eq!(child.poll(LONG), Some(expected), "asked again");
    drop(child);
    lines
}

/// Starts a shell command, waits until it has made the file `ready`, and hands it over.
#[track_caller]
fn when_ready<T>(
    device: &Device,
    body: &str,
    limits: Limits,
    stop: Option<BorrowedFd<'_>>,
    then: impl FnOnce(&mut Child<'_>) -> T,
) -> T {
    let mut log = |_, _: &str| {};
    let mut command = shell(device, body);
    let mut child = Child::spawn(&mut command, limits, Output::Log, stop, &mut log).unwrap();
    while !device.exists("ready") {
        assert_eq!(child.poll(Duration::from_millis(10)), None);
    }
    then(&mut child)
}

#[test]
fn the_ending_tells_code_and_signal() {
    let device = Device::new();
    let limits = limits(LONG);
    check(&device, "exit 0", limits, Ending::Exited(0));
    check(&device, "exit 21", limits, Ending::Exited(21));
    check(&device, "kill -TERM $$", limits, Ending::Signalled(15));
    check(&device, "kill -KILL $$", limits, Ending::Signalled(9));
    // A real-time signal, which has no name.
    check(&device, "kill -50 $$", limits, Ending::Signalled(50));
}

#[test]
fn output_comes_line_by_line_with_its_stream() {
    let device = Device::new();
    let body = "echo one; echo two >&2; printf 'thr'; printf 'ee\\n'; printf 'no line end'";
    let mut lines = check(&device, body, limits(LONG), Ending::Exited(0));
    lines.sort();
    assert_eq!(
        lines,
        [
            "stderr: two",
            "stdout: no line end",
            "stdout: one",
            "stdout: three"
        ]
    );
}

#[test]
fn binary_output_becomes_harmless_text() {
    let device = Device::new();
    let body = r"printf 'a\000\377\033[2J\007\r\nb'; head -c 200000 /dev/urandom >&2";
    let lines = check(&device, body, limits(LONG), Ending::Exited(0));
    let stdout = lines.iter().filter(|line| line.starts_with("stdout"));
    assert_eq!(
        Vec::from_iter(stdout),
        ["stdout: a\\u{0}\u{fffd}\\u{1b}[2J\\u{7}", "stdout: b"]
    );
    for line in lines {
        assert!(
            !line.chars().any(|c| c.is_control() && c != '\t'),
            "{line:?}"
        );
    }
}

#[test]
fn a_flood_on_both_streams_never_blocks_the_child() {
    let device = Device::new();
    let body = "yes stdout-line | head -c 1048576 & yes stderr-line | head -c 1048576 >&2; wait";
    let lines = check(&device, body, limits(LONG), Ending::Exited(0));
    let dropped = 1_048_576 - Limits::LOGGED;
    for stream in ["stdout", "stderr"] {
        let note = format!("{stream}: ({dropped} more bytes of output not shown)");
        assert!(lines.contains(&note), "{:?}", lines.last());
    }
    assert!(lines.iter().map(String::len).sum::<usize>() < 50_000);
}

#[test]
fn an_endless_flood_does_not_keep_the_time_limit_from_coming() {
    let device = Device::new();
    let lines = check(&device, "exec yes", limits(SHORT), Ending::TimedOut);
    assert!(
        lines
            .last()
            .unwrap()
            .ends_with("more bytes of output not shown)")
    );
}

#[test]
fn captured_output_is_cut_at_its_limit() {
    for (body, limit, expected, is_cut) in [
        ("printf 'a\\000b\\n'", 4, &b"a\0b\n"[..], false),
        ("printf 12345", 4, b"1234", true),
        ("printf x", 0, b"", true),
        ("true", 0, b"", false),
        ("yes | head -c 1048576", 3, b"y\ny", true),
    ] {
        let device = Device::new();
        let mut lines = Vec::new();
        let mut log = |stream, line: &str| lines.push((stream, line.to_owned()));
        let mut command = shell(&device, &format!("{body}; echo oops >&2"));
        let output = Output::Capture(limit);
        let limits = limits(LONG);
        let mut child = Child::spawn(&mut command, limits, output, None, &mut log).unwrap();
        assert_eq!(child.wait(), Ending::Exited(0));
        let captured = child.captured().unwrap();
        assert_eq!(
            (&captured.bytes[..], captured.is_cut),
            (expected, is_cut),
            "{body}"
        );
        drop(child);
        assert_eq!(lines, [(Stream::Stderr, "oops".to_owned())]);
    }
}

#[test]
fn a_program_that_does_not_exist_is_an_error_that_names_it() {
    let mut log = |_, _: &str| {};
    let mut command = Command::new("/no/such/program");
    let limits = limits(LONG);
    let error = Child::spawn(&mut command, limits, Output::Log, None, &mut log)
        .err()
        .unwrap();
    let expected = "cannot start /no/such/program: No such file or directory (os error 2)";
    assert_eq!(chain(&error), expected);
}

#[test]
fn the_time_limit_kills_the_whole_group_before_it_returns() {
    // Child, grandchild and great-grandchild, polite or deaf to SIGTERM.
    for deafness in ["", "trap '' TERM HUP INT;"] {
        let device = Device::new();
        let body = format!(
            r#"{deafness}
            sh -c 'sh -c "echo \$\$ > $D/third; while :; do sleep 1; done" &
                   echo $$ > $D/second; while :; do sleep 1; done' &
            echo $$ > "$D/first"
            while :; do sleep 1; done"#
        );
        let start = Instant::now();
        let limits = limits(Duration::from_secs(1));
        check(&device, &body, limits, Ending::TimedOut);
        for process in ["first", "second", "third"] {
            assert!(!device.is_alive(process), "{process} ({deafness})");
        }
        // Whoever listens does not cost the whole grace.
        if deafness.is_empty() {
            assert!(start.elapsed() < Duration::from_secs(20));
        }
    }
}

#[test]
fn a_leader_that_listens_does_not_save_a_group_member_that_does_not() {
    let device = Device::new();
    let body = r#"sh -c 'trap "" TERM; echo $$ > "$D/deaf"; : > "$D/ready"
                         while :; do sleep 1; done' &
                  exec sleep 100"#;
    let ending = when_ready(&device, body, limits(LONG), None, |child| child.stop());
    assert_eq!(ending, Ending::Stopped);
    assert!(!device.is_alive("deaf"));
}

#[test]
fn the_group_has_its_grace_to_clean_up() {
    let device = Device::new();
    let body = r#"trap 'sleep 0.2; : > "$D/cleaned"; exit 0' TERM
                  while :; do sleep 0.05; done"#;
    let limits = Limits {
        grace: LONG,
        ..Limits::new(Duration::from_secs(1))
    };
    let start = Instant::now();
    check(&device, body, limits, Ending::TimedOut);
    assert!(device.exists("cleaned"));
    assert!(start.elapsed() < LONG);
}

#[test]
fn a_stopped_process_is_woken_to_hear_that_it_must_end() {
    let device = Device::new();
    let body = r#"trap ': > "$D/heard"; exit 0' TERM; : > "$D/ready"; kill -STOP $$"#;
    let ending = when_ready(&device, body, limits(LONG), None, |child| child.stop());
    assert_eq!(ending, Ending::Stopped);
    assert!(device.exists("heard"));
}

#[test]
fn a_process_left_behind_keeps_nobody_waiting_and_lives_on() {
    let device = Device::new();
    let daemon = r#"while [ ! -e "$D/go" ]; do sleep 0.05; done; : > "$D/lives""#;
    let body = format!("({daemon}) & echo done");
    let start = Instant::now();
    let lines = check(&device, &body, limits(LONG), Ending::Exited(0));
    assert_eq!(lines, ["stdout: done"]);
    device.file("go", "", "644");
    while !device.exists("lives") {
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_process_left_behind_that_floods_the_pipe_keeps_nobody_waiting() {
    let device = Device::new();
    let body = r#"yes & echo $! > "$D/daemon"; exit 3"#;
    check(&device, body, limits(LONG), Ending::Exited(3));
    // Nobody reads its output any more, which ends it.
}

#[test]
fn a_child_that_closes_its_output_is_waited_for() {
    let device = Device::new();
    let body = r#"exec >&- 2>&-; sleep 0.5; : > "$D/late"; exit 4"#;
    check(&device, body, limits(LONG), Ending::Exited(4));
    assert!(device.exists("late"));

    let body = r"exec >&- 2>&-; exec sleep 100";
    check(&device, body, limits(SHORT), Ending::TimedOut);
}

#[test]
fn the_stop_descriptor_ends_the_child_and_is_not_read() {
    let device = Device::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let body = r#"trap '' TERM; echo $$ > "$D/pid"; : > "$D/ready"; while :; do sleep 1; done"#;
    let long_grace = Limits::new(LONG);
    let start = Instant::now();
    let ending = when_ready(&device, body, long_grace, Some(theirs.as_fd()), |child| {
        (&ours).write_all(b"x").unwrap();
        child.wait()
    });
    assert_eq!(ending, Ending::Stopped);
    assert!(!device.is_alive("pid"));
    // One second of grace, not ten.
    assert!(start.elapsed() < Duration::from_secs(8));
}

#[test]
fn a_stop_cuts_the_grace_of_a_child_that_ran_too_long() {
    let device = Device::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut log = |_, line: &str| {
        if line == "told to end" {
            (&ours).write_all(b"x").unwrap();
        }
    };
    let body = "trap 'echo told to end' TERM; while :; do sleep 0.05; done";
    let limits = Limits {
        grace: LONG,
        ..Limits::new(SHORT)
    };
    let mut command = shell(&device, body);
    let stop = Some(theirs.as_fd());
    let start = Instant::now();
    let mut child = Child::spawn(&mut command, limits, Output::Log, stop, &mut log).unwrap();
    assert_eq!(child.wait(), Ending::TimedOut);
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_child_that_has_ended_cannot_be_stopped() {
    let device = Device::new();
    let mut log = |_, _: &str| {};
    let mut command = shell(&device, "exit 5");
    let limits = limits(LONG);
    let mut child = Child::spawn(&mut command, limits, Output::Log, None, &mut log).unwrap();
    assert_eq!(child.wait(), Ending::Exited(5));
    assert_eq!(child.stop(), Ending::Exited(5));
}

#[test]
fn a_dropped_child_dies_with_its_group() {
    let device = Device::new();
    let body = r#"trap '' TERM
        sh -c 'echo $$ > "$D/second"; : > "$D/ready"; while :; do sleep 1; done' &
        echo $$ > "$D/first"; while :; do sleep 1; done"#;
    when_ready(&device, body, limits(LONG), None, |_| {});
    assert!(!device.is_alive("first"));
    assert!(!device.is_alive("second"));
}

#[test]
fn a_poll_returns_when_its_time_is_over() {
    let device = Device::new();
    let mut log = |_, _: &str| {};
    let mut command = shell(&device, "sleep 100");
    let limits = limits(LONG);
    let mut child = Child::spawn(&mut command, limits, Output::Log, None, &mut log).unwrap();
    let start = Instant::now();
    assert_eq!(child.poll(Duration::ZERO), None);
    assert_eq!(child.poll(SHORT), None);
    assert!(start.elapsed() >= SHORT);
    assert_eq!(child.stop(), Ending::Stopped);
}

/// Writes `size` bytes into a pipe that the child reads, as the agent feeds an update module.
fn feed(device: &Device, reader: &str, size: usize) -> (Ending, usize) {
    let fifo = device.path("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    let mut log = |_, _: &str| {};
    let mut command = shell(device, reader);
    let limits = limits(LONG);
    let mut child = Child::spawn(&mut command, limits, Output::Log, None, &mut log).unwrap();
    // Without waiting for a reader, which there may never be.
    let open = || -> std::io::Result<File> {
        let flags = OFlag::O_NONBLOCK.bits();
        OpenOptions::new()
            .write(true)
            .custom_flags(flags)
            .open(&fifo)
    };
    let mut fifo = loop {
        match open() {
            Ok(fifo) => break fifo,
            Err(_) => match child.poll(Duration::from_millis(5)) {
                Some(ending) => return (ending, 0),
                None => continue,
            },
        }
    };
    let block = [b'x'; 16 * 1024];
    let mut written = 0;
    while written < size {
        match fifo.write(&block[..block.len().min(size - written)]) {
            Ok(length) => written += length,
            Err(err) if err.kind() == std::io::ErrorKind::WouldBlock => {
                if let Some(ending) = child.poll_writable(fifo.as_fd(), LONG) {
                    return (ending, written);
                }
            }
            Err(_) => break,
        }
    }
    drop(fifo);
    (child.wait(), written)
}

#[test]
fn a_pipe_that_the_child_reads_can_be_fed_at_full_speed() {
    const SIZE: usize = 64 * 1024 * 1024;
    let device = Device::new();
    let reader = r#"[ "$(wc -c < "$D/fifo")" = 67108864 ]"#;
    let start = Instant::now();
    assert_eq!(feed(&device, reader, SIZE), (Ending::Exited(0), SIZE));
    // 64 MiB in a thousand pieces: a nap at each would take ten times as long.
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn feeding_ends_when_the_child_does() {
    let device = Device::new();
    let (ending, written) = feed(&device, r#"head -c 1000 < "$D/fifo"; exit 6"#, 64 << 20);
    assert_eq!(ending, Ending::Exited(6));
    assert!(written < 64 << 20);
    let device = Device::new();
    assert_eq!(feed(&device, "exit 7", 10), (Ending::Exited(7), 0));
}

#[test]
fn a_group_is_signalled_only_while_its_leader_is_unreaped() {
    if !has_strace() {
        return;
    }
    let device = Device::new();
    let strace = Command::new("strace")
        .args(["-f", "--trace=kill,wait4", "-o"])
        .arg(device.path("trace"))
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "victim"])
        .output();
    assert!(strace.unwrap().status.success());
    let trace = std::fs::read_to_string(device.path("trace")).unwrap();
    // Every line begins with the id of the thread: look at those of the one that kills.
    let killer = trace.lines().find(|line| line.contains("kill(-")).unwrap();
    let killer = killer.split(' ').next().unwrap();
    let ours = trace.lines().filter(|line| line.starts_with(killer));
    let ours = Vec::from_iter(ours);
    let last_kill = ours.iter().rposition(|line| line.contains("kill(-"));
    let reaped = ours.iter().position(|line| line.contains("wait4("));
    assert!(last_kill.unwrap() < reaped.unwrap(), "{ours:#?}");
}

#[test]
#[ignore = "the process that the test above looks at"]
fn victim() {
    // The leader dies of the first signal, another member only of the last.
    let device = Device::new();
    let body =
        r#"sh -c 'trap "" TERM; : > "$D/ready"; while :; do sleep 1; done' & exec sleep 100"#;
    when_ready(&device, body, limits(LONG), None, |child| child.stop());
}

#[test]
fn where_nobody_keeps_exit_codes_a_child_is_lost_but_looked_after() {
    // A careless parent can leave us with SIGCHLD ignored; then the kernel reaps at once.
    let output = Command::new("env")
        .arg("--ignore-signal=CHLD")
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "orphanage"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:#?}");
}

#[test]
#[ignore = "runs in a process that ignores SIGCHLD"]
fn orphanage() {
    let device = Device::new();
    let lines = check(&device, "echo x; exit 3", limits(LONG), Ending::Lost);
    assert_eq!(lines, ["stdout: x"]);
    let body = r#"sh -c 'trap "" TERM; echo $$ > "$D/deaf"; : > "$D/ready"; while :; do sleep 1; done' &
                  while :; do sleep 1; done"#;
    let ending = when_ready(&device, body, limits(LONG), None, |child| child.stop());
    assert_eq!(ending, Ending::Stopped);
    assert!(!device.is_alive("deaf"));
}
