//! `validate`, `read`, and what they print.

use std::fs;
use std::fs::File;
use std::process::{Command, Stdio};

use super::{check, ours, workshop};
use crate::forge::{Forge, tar};
use crate::peers;

#[test]
fn validate_judges_form_sums_and_signature() {
    let folder = workshop();
    let folder = folder.path();
    check(
        folder,
        &["validate", "good.mender"],
        0,
        "good.mender: valid, not signed\n",
        "",
    );
    check(
        folder,
        &["validate", "signed.mender"],
        0,
        "signed.mender: valid, signed, signature not checked",
        "warning: the signature was not checked",
    );
    check(
        folder,
        &["validate", "-k", "public.pem", "signed.mender"],
        0,
        "signed.mender: valid, signed by \"public.pem\"",
        "",
    );
    check(
        folder,
        &["validate", "-k", "public.pem", "good.mender"],
        1,
        "",
        "good.mender: the artifact is not signed but a verification key is configured: sign it with",
    );
    check(
        folder,
        &["validate", "broken.mender"],
        1,
        "",
        "broken.mender: ",
    );
    check(
        folder,
        &["validate", "missing.mender"],
        3,
        "",
        "cannot open artifact \"missing.mender\": No such file",
    );
    check(
        folder,
        &["validate", "."],
        3,
        "",
        "cannot read the artifact: Is a directory",
    );
    check(
        folder,
        &["validate", "-k", "missing.pem", "good.mender"],
        3,
        "",
        "cannot read key \"missing.pem\"",
    );
    check(
        folder,
        &["validate", "-k", "rootfs.ext4", "good.mender"],
        2,
        "",
        "cannot use key \"rootfs.ext4\": it is not a PEM file",
    );
    check(
        folder,
        &["validate", "-k", "private.pem", "good.mender"],
        2,
        "",
        "it is a private key",
    );
    check(
        folder,
        &["validate", "-k", "good.mender", "good.mender"],
        2,
        "",
        "cannot use key",
    );

    peers::run(
        folder,
        peers::ours(),
        &[
            "sign",
            "-k",
            "other.pem",
            "-f",
            "-o",
            "others.mender",
            "signed.mender",
        ],
    );
    check(
        folder,
        &["validate", "-k", "public.pem", "others.mender"],
        1,
        "",
        "was not made for this manifest by a configured key (\"public.pem\")",
    );
}

#[test]
fn artifacts_are_read_from_standard_input() {
    let folder = workshop();
    let folder = folder.path();
    for (verb, stdout) in [("validate", "-: valid"), ("read", "Name: r1"), ("dump", "")] {
        let input = File::open(folder.join("good.mender")).unwrap();
        let output = Command::new(peers::ours())
            .args([verb, "-"])
            .stdin(input)
            .output()
            .unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains(stdout));
    }
    let output = Command::new(peers::ours())
        .args(["validate", "-"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn read_prints_facts_only_of_what_is_right() {
    let folder = workshop();
    let folder = folder.path();
    let text = "\
Mender Artifact:
  Name: r1
  Format: mender
  Version: 3
  Signature: no signature
  Compatible types: [qemu]
  Provides group: 
  Depends on one of artifact(s): []
  Depends on one of group(s): []
  State scripts:
    - ArtifactCommit_Leave_99_x
    - ArtifactInstall_Enter_00

Updates:
  - Type: module
    Provides:
      k: v
    Depends: {}
    Clears Provides: [k*]
    Metadata:
      {
        \"a\": 1
      }
    Files:
      - checksum: ";
    check(folder, &["read", "good.mender"], 0, text, "");
    check(
        folder,
        &["read", "signed.mender"],
        0,
        "Signature: signed but not checked",
        "warning",
    );
    check(
        folder,
        &["read", "-k", "public.pem", "signed.mender"],
        0,
        "signed and verified correctly, by \"public.pem\"",
        "",
    );
    check(
        folder,
        &["read", "-k", "public.pem", "good.mender"],
        1,
        "",
        "not signed",
    );
    check(folder, &["read", "broken.mender"], 1, "", "broken.mender");

    let json = ours(
        folder,
        &["read", "--json", "-k", "public.pem", "signed.mender"],
    );
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["name"], "r1");
    assert_eq!(json["signature"]["status"], "verified");
    assert_eq!(json["depends"]["device_type"][0], "qemu");
    assert_eq!(json["payload"]["files"][1]["name"], "two.bin");
    assert_eq!(json["payload"]["files"][1]["size"], 600);
    assert_eq!(json["payload"]["meta_data"]["a"], 1);
    assert_eq!(
        json["size"],
        fs::metadata(folder.join("signed.mender")).unwrap().len()
    );
}

#[test]
fn nothing_from_an_artifact_controls_a_terminal() {
    let folder = workshop();
    let mut forge = Forge::new("");
    forge.header_entry("headers/0000/meta-data").content =
        "{\"a\":\"\u{9b}31m\u{7f}\\u001b\"}".as_bytes().to_vec();
    fs::write(folder.path().join("x.mender"), forge.bytes()).unwrap();
    let mut hostile = Forge::new("").outer();
    hostile[1].name = "\u{1b}[2J".to_owned();
    fs::write(folder.path().join("y.mender"), tar(&hostile)).unwrap();
    for args in [
        &["read", "x.mender"][..],
        &["read", "--json", "x.mender"],
        &["read", "y.mender"],
    ] {
        let output = ours(folder.path(), args);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n'),
            "{text:?}"
        );
    }
}

#[test]
fn a_reader_of_our_output_may_go_away() {
    let folder = workshop();
    let mut child = Command::new(peers::ours())
        .args(["read", "good.mender"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert!(output.status.code().is_some());
}
