//! `dump`.

use std::fs;
use std::os::unix::fs::symlink;

use super::{check, names, workshop};
use crate::forge::Forge;

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
