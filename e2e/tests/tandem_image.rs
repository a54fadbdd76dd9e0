//! `tandem-image` as an integrator meets it.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and its files are its own"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tandem_e2e::{installed, program};

/// What it needs beside e2fsprogs.
const TOOLS: [&str; 4] = ["sfdisk", "mkfs.vfat", "mcopy", "mke2fs"];

fn can_run() -> bool {
    let missing = TOOLS.iter().find(|tool| !installed(tool).unwrap());
    if let Some(tool) = missing {
        eprintln!("SKIPPED: {tool} is not installed");
    }
    missing.is_none()
}

/// Makes an image of a small tree in `dir`, with these further arguments.
fn make(dir: &Path, output: &str, more: &[&str]) -> Output {
    let tree = dir.join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::write(tree.join("etc/hostname"), "board\n").unwrap();
    Command::new(program("tandem-image").unwrap())
        .arg("--rootfs")
        .arg(&tree)
        .args(["--release", "release-1", "--device-type", "board"])
        .arg("--output")
        .arg(dir.join(output))
        .args(more)
        .env("SOURCE_DATE_EPOCH", "1704067200")
        .output()
        .unwrap()
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let artifact = dir.path().join("release-1.mender");
    let unsigned = ["--set", "allow_unsigned = true"];
    for output in ["a.img", "b.img"] {
        let made = make(
            dir.path(),
            output,
            &[&unsigned[..], &["--artifact", artifact.to_str().unwrap()]].concat(),
        );
        assert!(made.status.success(), "{made:?}");
    }
    let read = |name: &str| fs::read(dir.path().join(name)).unwrap();
    assert!(read("a.img") == read("b.img"), "the two images differ");
    assert!(artifact.exists());
}

#[test]
fn a_device_that_would_refuse_every_update_is_not_made() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let made = make(dir.path(), "a.img", &[]);
    let words = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(!made.status.success());
    assert!(words.contains("--verify-key"), "{words}");
    assert!(!dir.path().join("a.img").exists());
}

#[test]
fn what_does_not_fit_says_what_to_change() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let made = make(
        dir.path(),
        "a.img",
        &["--set", "allow_unsigned = true", "--disk-size", "40"],
    );
    let words = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(!made.status.success());
    assert!(words.contains("at least"), "{words}");
}
