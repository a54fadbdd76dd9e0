//! The program: every verb, what it prints, and the exit code.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::forge::{Entry, Forge, ed25519_public, pem, tar};
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

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn sign_replaces_a_file_as_a_whole_or_not_at_all() {
    let folder = workshop();
    let folder = folder.path();
    let before = names(folder);
    fs::set_permissions(
        folder.join("good.mender"),
        fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    check(
        folder,
        &["sign", "-k", "private.pem", "good.mender"],
        0,
        "",
        "",
    );
    assert_eq!(
        fs::metadata(folder.join("good.mender"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o640
    );
    check(
        folder,
        &["validate", "-k", "public.pem", "good.mender"],
        0,
        "signed by",
        "",
    );
    let signed = fs::read(folder.join("good.mender")).unwrap();
    check(
        folder,
        &["sign", "-k", "other.pem", "good.mender"],
        2,
        "",
        "replace the signature with --force",
    );
    assert_eq!(fs::read(folder.join("good.mender")).unwrap(), signed);
    check(
        folder,
        &["sign", "-k", "private.pem", "--force", "good.mender"],
        0,
        "",
        "",
    );
    assert_eq!(fs::read(folder.join("good.mender")).unwrap(), signed);

    let broken = fs::read(folder.join("broken.mender")).unwrap();
    check(
        folder,
        &["sign", "-f", "-k", "private.pem", "broken.mender"],
        1,
        "",
        "broken.mender: ",
    );
    assert_eq!(fs::read(folder.join("broken.mender")).unwrap(), broken);
    // Well-formed up to the last check: a payload file that is not that of the manifest.
    let honest = Forge::new(".gz");
    let manifest = Some(String::from_utf8(honest.outer()[1].content.clone()).unwrap());
    let forge = Forge {
        manifest,
        payload: vec![Entry::new("one", "x"), honest.payload[1].clone()],
        ..honest
    };
    fs::write(folder.join("broken.mender"), forge.bytes()).unwrap();
    check(
        folder,
        &["sign", "-k", "private.pem", "broken.mender"],
        1,
        "",
        "does not match the manifest",
    );
    assert_eq!(
        fs::read(folder.join("broken.mender")).unwrap(),
        forge.bytes()
    );
    check(
        folder,
        &[
            "sign",
            "-k",
            "private.pem",
            "-o",
            "new.mender",
            "broken.mender",
        ],
        1,
        "",
        "does not match",
    );
    assert_eq!(names(folder), before, "nothing is left behind");
}

#[test]
fn sign_keeps_symbolic_links_and_reads_standard_input() {
    let folder = workshop();
    let folder = folder.path();
    symlink("good.mender", folder.join("link.mender")).unwrap();
    check(
        folder,
        &["sign", "-k", "private.pem", "link.mender"],
        0,
        "",
        "",
    );
    assert!(
        folder
            .join("link.mender")
            .symlink_metadata()
            .unwrap()
            .is_symlink()
    );
    check(
        folder,
        &["validate", "-k", "public.pem", "good.mender"],
        0,
        "signed by",
        "",
    );

    check(
        folder,
        &["sign", "-k", "private.pem", "-"],
        2,
        "",
        "needs --output-path",
    );
    check(
        folder,
        &["sign", "-k", "private.pem", "-o", "-", "good.mender"],
        2,
        "",
        "give one",
    );
    check(folder, &["sign", "good.mender"], 2, "", "--key");
    check(
        folder,
        &["sign", "-k", "public.pem", "good.mender"],
        2,
        "",
        "it is a public key",
    );
    let input = File::open(folder.join("signed.mender")).unwrap();
    let args = ["sign", "-f", "-k", "other.pem", "-o", "piped.mender", "-"];
    let output = Command::new(peers::ours())
        .args(args)
        .current_dir(folder)
        .stdin(input)
        .output()
        .unwrap();
    assert!(output.status.success());
    check(folder, &["validate", "piped.mender"], 0, "valid", "warning");
}

#[test]
fn write_makes_whole_files_or_none() {
    let folder = workshop();
    let folder = folder.path();
    let write = |more: &[&'static str]| {
        [&["write", "rootfs-image", "-t", "d", "-n", "r"][..], more].concat()
    };
    check(folder, &write(&["-f", "rootfs.ext4"]), 0, "", "");
    check(folder, &["validate", "artifact.mender"], 0, "valid", "");
    let before = names(folder);
    let good = fs::read(folder.join("artifact.mender")).unwrap();

    check(
        folder,
        &write(&["-f", "missing"]),
        3,
        "",
        "cannot open payload file \"missing\"",
    );
    check(folder, &write(&["-f", "."]), 2, "", "no name");
    check(
        folder,
        &write(&["-f", "/dev/null"]),
        2,
        "",
        "is not a file that can be read twice",
    );
    check(
        folder,
        &write(&["-f", "rootfs.ext4", "-s", "rootfs.ext4"]),
        2,
        "",
        "state script name \"rootfs.ext4\"",
    );
    check(
        folder,
        &write(&["-f", "rootfs.ext4", "-k", "public.pem"]),
        2,
        "",
        "it is a public key",
    );
    check(
        folder,
        &write(&["-f", "rootfs.ext4", "--compression", "zip"]),
        2,
        "",
        "not one of none, gzip, lzma, zstd_fastest",
    );
    check(
        folder,
        &write(&["-f", "rootfs.ext4", "-v", "2"]),
        2,
        "",
        "only version 3",
    );
    check(
        folder,
        &write(&["-f", "rootfs.ext4", "-p", "x"]),
        2,
        "",
        "colon",
    );
    check(
        folder,
        &write(&["-f", "rootfs.ext4", "-d", "device_type:x"]),
        2,
        "",
        "as header-info does too",
    );
    check(
        folder,
        &write(&["-f", "rootfs.ext4", "-c", "d2"]),
        2,
        "",
        "cannot be used with",
    );
    check(
        folder,
        &write(&["-f", "rootfs.ext4", "-o", "missing/x"]),
        3,
        "",
        "cannot create",
    );
    check(folder, &write(&["-f", "rootfs.ext4", "-o", "."]), 3, "", "");
    check(
        folder,
        &[
            "write",
            "rootfs-image",
            "-t",
            "d",
            "-n",
            "a b",
            "-f",
            "rootfs.ext4",
        ],
        2,
        "",
        "white space",
    );
    check(
        folder,
        &["write", "rootfs-image", "-n", "r", "-f", "rootfs.ext4"],
        2,
        "",
        "--device-type",
    );
    check(
        folder,
        &["write", "module-image", "-t", "d", "-n", "r", "-T", "../x"],
        2,
        "",
        "payload type \"../x\"",
    );
    check(
        folder,
        &[
            "write",
            "module-image",
            "-t",
            "d",
            "-n",
            "r",
            "-T",
            "m",
            "-m",
            "rootfs.ext4",
        ],
        2,
        "",
        "meta-data is not the JSON",
    );
    check(
        folder,
        &[
            "write",
            "module-image",
            "-t",
            "d",
            "-n",
            "r",
            "-T",
            "m",
            "-f",
            "rootfs.ext4",
            "-f",
            "rootfs.ext4",
        ],
        2,
        "",
        "same name",
    );
    assert_eq!(names(folder), before, "nothing is left behind");
    assert_eq!(fs::read(folder.join("artifact.mender")).unwrap(), good);

    check(
        folder,
        &[
            "write",
            "rootfs-image",
            "-c",
            "d",
            "-n",
            "r",
            "-f",
            "rootfs.ext4",
            "--no-progress",
        ],
        0,
        "",
        "",
    );
    assert_eq!(fs::read(folder.join("artifact.mender")).unwrap(), good);
}

#[test]
fn write_goes_to_pipes_and_devices() {
    let folder = workshop();
    let folder = folder.path();
    for compression in ["none", "gzip", "zstd_better"] {
        let options = [
            "write",
            "rootfs-image",
            "-t",
            "d",
            "-n",
            "r",
            "-f",
            "rootfs.ext4",
            "--compression",
            compression,
        ];
        peers::run(
            folder,
            peers::ours(),
            &[&options[..], &["-o", "x.mender"]].concat(),
        );
        let file = fs::read(folder.join("x.mender")).unwrap();
        for output in ["-", "/dev/stdout"] {
            let piped = peers::run(
                folder,
                peers::ours(),
                &[&options[..], &["-o", output]].concat(),
            )
            .stdout;
            assert_eq!(piped, file, "{output}");
        }
    }
    assert!(!folder.join("-").exists());
}

#[test]
fn dump_writes_into_its_folders_and_nowhere_else() {
    let folder = workshop();
    let folder = folder.path();
    let all = [
        "dump",
        "--files",
        "out/f",
        "--scripts",
        "out/s",
        "--meta-data",
        "out",
        "--print-cmdline",
        "good.mender",
    ];
    let line = "write module-image --type module --no-default-software-version --no-default-clears-provides \
                --artifact-name r1 --device-type qemu --provides k:v --clears-provides 'k*' \
                --script out/s/ArtifactCommit_Leave_99_x --script out/s/ArtifactInstall_Enter_00 \
                --meta-data out/0000.meta-data --file out/f/one --file out/f/two.bin\n";
    check(folder, &all, 0, line, "");
    assert_eq!(names(&folder.join("out")), ["0000.meta-data", "f", "s"]);
    assert_eq!(names(&folder.join("out/f")), ["one", "two.bin"]);
    assert_eq!(
        names(&folder.join("out/s")),
        ["ArtifactCommit_Leave_99_x", "ArtifactInstall_Enter_00"]
    );
    assert_eq!(
        fs::read(folder.join("out/f/one")).unwrap(),
        b"content of one"
    );
    assert_eq!(
        fs::read(folder.join("out/0000.meta-data")).unwrap(),
        br#"{"a":1}"#
    );
    check(folder, &all, 3, "", "exists already");

    check(
        folder,
        &["dump", "--files", "again", "broken.mender"],
        1,
        "",
        "broken.mender",
    );
    check(
        folder,
        &[
            "dump",
            "--files",
            "again",
            "-k",
            "public.pem",
            "good.mender",
        ],
        1,
        "",
        "not signed",
    );
    let honest = Forge::new(".gz");
    let manifest = Some(String::from_utf8(honest.outer()[1].content.clone()).unwrap());
    let mut forge = Forge { manifest, ..honest };
    forge.payload[1].content[0] ^= 1;
    fs::write(folder.join("late.mender"), forge.bytes()).unwrap();
    check(
        folder,
        &[
            "dump",
            "--files",
            "again",
            "--scripts",
            "again",
            "late.mender",
        ],
        1,
        "",
        "late.mender: payload file \"two.bin\" does not match",
    );
    assert_eq!(
        names(&folder.join("again")),
        [""; 0],
        "not even the files before the bad one"
    );

    // A link where a file should go is not followed.
    fs::create_dir(folder.join("trap")).unwrap();
    symlink("../rootfs.ext4", folder.join("trap/one")).unwrap();
    check(
        folder,
        &["dump", "--files", "trap", "good.mender"],
        3,
        "",
        "exists already",
    );
    symlink("nowhere", folder.join("trap/two.bin")).unwrap();
    fs::remove_file(folder.join("trap/one")).unwrap();
    check(
        folder,
        &["dump", "--files", "trap", "good.mender"],
        3,
        "",
        "exists already",
    );
    assert_eq!(fs::read(folder.join("rootfs.ext4")).unwrap(), b"image");
    assert_eq!(names(&folder.join("trap")), ["two.bin"]);

    let mut several = Forge::new(".gz");
    several.header_entry("headers/0000/type-info").content =
        br#"{"type":"module","artifact_depends":{"k":["a","b"]}}"#.to_vec();
    fs::write(folder.join("several.mender"), several.bytes()).unwrap();
    check(
        folder,
        &["dump", "--print-cmdline", "several.mender"],
        3,
        "",
        "one of several values of k",
    );
    check(
        folder,
        &["dump", "--print-cmdline", "--print0-cmdline", "good.mender"],
        2,
        "",
        "cannot be used with",
    );
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
