//! Standard streams that are closed or that nobody reads: no reason to lose an environment.

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

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use peers::{Device, Whose, ours};
use tandem_uboot_env::{Env, image};

/// Two copies, the second of which is damaged, so that there is something to say.
fn damaged() -> Device {
    let env = Env::from_text(b"a=1\n").unwrap();
    let mut copies = image::build(&env, 0x1000, Some(1)).unwrap().repeat(2);
    copies.splice(0x1800..0x1810, [7; 16]);
    Device::new(0x1000, 2, &copies)
}

/// Two good copies.
fn good() -> Device {
    let env = Env::from_text(b"a=1\n").unwrap();
    let copy = image::build(&env, 0x100, Some(1)).unwrap();
    Device::new(0x100, 2, &copy.repeat(2))
}

/// `redirections` for a shell.
#[track_caller]
fn check(redirections: &str) {
    let device = damaged();
    let status = Command::new("sh")
        .args([
            "-c",
            &format!("exec \"$0\" -c fw_env.config a 2 {redirections}"),
        ])
        .arg(ours("fw_setenv"))
        .current_dir(device.dir.path())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0), "{redirections}");
    let printed = device.print(Whose::Ours, &["a"]);
    assert_eq!((printed.out.as_str(), printed.err.as_str()), ("a=2\\n", ""));
}

#[test]
fn closed_streams_do_not_get_what_is_said_into_the_environment() {
    check("");
    check("<&-");
    check(">&-");
    check("2>&-");
    check("<&- >&- 2>&-");
}

#[test]
fn the_environment_is_written_although_nobody_reads_the_messages() {
    let device = damaged();
    let (reader, writer) = UnixStream::pair().unwrap();
    drop(reader);
    let status = Command::new(ours("fw_setenv"))
        .args(["-c", "fw_env.config", "a", "2"])
        .current_dir(device.dir.path())
        .stderr(OwnedFd::from(writer))
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(device.print(Whose::Ours, &["a"]).out, "a=2\\n");
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let device = good();
    let mut command = Command::new(ours("fw_printenv"));
    command
        .args(["-c", "fw_env.config"])
        .current_dir(device.dir.path());
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!output.stderr.is_empty());
}

#[test]
fn a_reader_that_goes_away_is_no_reason_to_complain() {
    let device = good();
    let (reader, writer) = UnixStream::pair().unwrap();
    drop(reader);
    let mut command = Command::new(ours("fw_printenv"));
    command
        .args(["-c", "fw_env.config"])
        .current_dir(device.dir.path());
    let output = command.stdout(OwnedFd::from(writer)).output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr),
        (Some(141), Vec::new())
    );
}
