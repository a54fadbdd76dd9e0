//! The program: every verb, what it prints, and the exit code.

mod dump;
mod sign;
mod validate;
mod write;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::forge::{Forge, ed25519_public, pem};
use crate::peers;

fn ours(folder: &Path, args: &[&str]) -> Output {
    Command::new(peers::ours())
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap()
}

/// Runs our program; demands the exit code, and these texts in what it prints.
#[track_caller]
fn check(folder: &Path, args: &[&str], code: i32, stdout: &str, stderr: &str) {
    let output = ours(folder, args);
    let out = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {out}{err}");
    assert!(
        out.contains(stdout),
        "{args:?} prints {out:?}, not {stdout:?}"
    );
    assert!(
        err.contains(stderr),
        "{args:?} complains {err:?}, not {stderr:?}"
    );
    if code == 0 && stderr.is_empty() {
        assert_eq!(err, "", "{args:?}");
    }
    if code == 1 || code == 3 {
        assert_eq!(
            err.lines().count(),
            1,
            "{args:?}: an error is one line: {err:?}"
        );
        assert_eq!(out, "", "{args:?}: nothing on standard output");
    }
}

/// A folder with a good, a signed and a broken artifact, and keys.
fn workshop() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    file("good.mender", &Forge::new(".gz").bytes());
    file("signed.mender", &Forge::signed(".gz").bytes());
    let mut broken = Forge::signed(".gz").bytes();
    broken[2000] ^= 1;
    file("broken.mender", &broken);
    file("public.pem", ed25519_public().as_bytes());
    // RFC 8410: the private key of the seed that the forge uses.
    let pkcs8 = [
        &[
            0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
        ][..],
        &[7; 32],
    ]
    .concat();
    file("private.pem", pem("PRIVATE KEY", &pkcs8).as_bytes());
    let other = [
        &[
            0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
        ][..],
        &[8; 32],
    ]
    .concat();
    file("other.pem", pem("PRIVATE KEY", &other).as_bytes());
    file("rootfs.ext4", b"image");
    folder
}

#[test]
fn help_has_the_exit_codes_and_an_example_for_every_verb() {
    let folder = workshop();
    let folder = folder.path();
    check(folder, &["--help"], 0, "Exit codes:", "");
    check(folder, &["--version"], 0, "tandem-artifact 0.", "");
    check(folder, &["-v"], 0, "tandem-artifact 0.", "");
    for verb in [
        &["write"][..],
        &["write", "rootfs-image"],
        &["write", "module-image"],
        &["write", "bootstrap-artifact"],
        &["read"],
        &["validate"],
        &["sign"],
        &["dump"],
    ] {
        check(
            folder,
            &[verb, &["--help"]].concat(),
            0,
            "tandem-artifact ",
            "",
        );
        let output = ours(folder, &[verb, &["--help"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("Example"), "{verb:?}");
    }
    check(folder, &[], 2, "", "Usage:");
    check(folder, &["frobnicate"], 2, "", "unrecognized subcommand");
    check(folder, &["validate"], 2, "", "FILE");
    check(folder, &["validate", "--frob", "x"], 2, "", "--frob");
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn progress_is_only_for_terminals() {
    let folder = workshop();
    let mut child = Command::new(peers::ours())
        .args(["validate", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .current_dir(folder.path())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&Forge::new("").bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &b""[..])
    );
}
