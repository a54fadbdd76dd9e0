//! `write`.

use std::fs;

use super::{check, names, workshop};
use crate::peers;

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
