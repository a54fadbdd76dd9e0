//! `sign`.

use std::fs;
use std::fs::File;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use super::{check, names, workshop};
use crate::forge::{Entry, Forge};
use crate::peers;

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
