//! What the agent refuses before anything is written, and how it names it.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and its files are its own"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

use tandem_e2e::{Workshop, boot, program};
#[test]
fn what_is_not_meant_for_the_device_is_refused() {
    let shop = Workshop::new();
    for (arguments, words) in [
        (
            &["-t", "other"][..],
            &[
                "is not for this device",
                "device_type \"other\"",
                "\"board\"",
            ][..],
        ),
        (
            &["-N", "release-7"],
            &["depends on artifact_name \"release-7\"", "\"release-1\""],
        ),
        (
            &["--depends", "rootfs-image.version:x"],
            &["rootfs-image.version \"x\"", "none"],
        ),
    ] {
        shop.refuses(&shop.artifact("release-2", arguments), words);
    }
}

#[test]
fn what_is_damaged_is_refused_before_it_can_start() {
    let shop = Workshop::new();
    let artifact = shop.artifact("release-2", &["--compression", "none"]);
    let whole = fs::read(&artifact).unwrap();
    for cut in [0, 100, 600, 3000] {
        fs::write(&artifact, &whole[..cut]).unwrap();
        shop.refuses(&artifact, &["cannot use the artifact"]);
    }
    // Damage in the payload shows only while it is written: to the root part that does not count.
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for damaged in [&flipped[..], &whole[..whole.len() / 2]] {
        fs::write(&artifact, damaged).unwrap();
        shop.says(
            &["install", artifact.to_str().unwrap()],
            1,
            &["download failed", "the system is as it was"],
        );
        shop.says(&["show-artifact"], 0, &["release-1"]);
        assert_eq!(boot(&shop.device).unwrap().part, 2);
    }
    fs::write(&artifact, &whole).unwrap();
    shop.installs(&artifact);
}

#[test]
fn only_the_configured_signers_count() {
    let openssl = |arguments: &[&str], dir: &Path| {
        let done = Command::new("openssl")
            .args(arguments)
            .current_dir(dir)
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    let shop = Workshop::with("artifact_verify_keys = [\"{dir}/ec.pub\", \"{dir}/ed.pub\"]");
    let dir = &shop.path("");
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", "ed.pem"], dir);
    for name in ["ec", "other"] {
        let key = format!("{name}.pem");
        openssl(
            &[
                "ecparam",
                "-genkey",
                "-name",
                "prime256v1",
                "-noout",
                "-out",
                &key,
            ],
            dir,
        );
    }
    for name in ["ec", "ed"] {
        let (key, public) = (format!("{name}.pem"), format!("{name}.pub"));
        openssl(&["pkey", "-in", &key, "-pubout", "-out", &public], dir);
    }
    let key = |name: &str| dir.join(name).display().to_string();
    shop.refuses(&shop.artifact("unsigned", &[]), &["not signed"]);
    shop.refuses(
        &shop.artifact("foreign", &["-k", &key("other.pem")]),
        &["signature"],
    );
    for signer in ["ec.pem", "ed.pem"] {
        let artifact = shop.artifact("release-2", &["-k", &key(signer)]);
        shop.installs(&artifact);
        shop.says(&["rollback"], 0, &["rolled back"]);
    }
}

#[test]
fn without_a_key_everything_is_refused_unless_that_is_allowed() {
    let shop = Workshop::with("");
    shop.refuses(
        &shop.artifact("release-2", &[]),
        &["artifact_verify_key", "allow_unsigned = true"],
    );
    let shop = Workshop::new();
    let artifact = shop.artifact("release-2", &[]);
    let log = shop.installs(&artifact);
    assert!(log.contains("NOT VERIFIED"), "{log}");
}

#[test]
fn an_image_that_does_not_fit_is_refused_before_it_is_written() {
    let shop = Workshop::new();
    let artifact = shop.artifact("release-2", &[]);
    fs::OpenOptions::new()
        .write(true)
        .open(shop.device.part(3))
        .unwrap()
        .set_len(1 << 20)
        .unwrap();
    let before = shop.state();
    let log = shop.says(
        &["install", artifact.to_str().unwrap()],
        1,
        &["download failed", "the system is as it was"],
    );
    assert!(log.contains("the image has 2097152 bytes"), "{log}");
    assert!(log.contains("only 1048576"), "{log}");
    assert_eq!(shop.state()[..3], before[..3]);
}

#[test]
fn a_boot_environment_that_is_not_right_is_named() {
    let set = |shop: &Workshop, variable: &str, value: &str| {
        let mut command = Command::new(program("fw_setenv").unwrap());
        command
            .arg("-c")
            .arg(shop.device.path("etc/fw_env.config"))
            .arg(variable);
        if !value.is_empty() {
            command.arg(value);
        }
        assert!(command.status().unwrap().success());
    };
    for (variable, value, words) in [
        ("mender_boot_part", "", &["no mender_boot_part"][..]),
        (
            "mender_boot_part",
            "7",
            &["selects partition 7", "A (2)", "B (3)"],
        ),
        (
            "mender_boot_part",
            "three",
            &["mender_boot_part is \"three\""],
        ),
        (
            "mender_boot_part",
            "3",
            &["selects rootfs part B, but A is running"],
        ),
        ("upgrade_available", "", &["no upgrade_available"]),
        (
            "upgrade_available",
            "1",
            &["on trial", "commit it or roll it back"],
        ),
        (
            "mender_check_saveenv_canary",
            "1",
            &["never saved this environment", "fw_env.config"],
        ),
    ] {
        let shop = Workshop::new();
        set(&shop, variable, value);
        shop.refuses(&shop.artifact("release-2", &[]), words);
    }
    let shop = Workshop::new();
    fs::remove_file(shop.device.path("etc/fw_env.config")).unwrap();
    shop.refuses(
        &shop.artifact("release-2", &[]),
        &["fw_env.config", "cannot find the boot environment"],
    );
}

#[test]
fn one_bad_copy_of_the_environment_is_mended_and_two_are_refused() {
    let damage = |shop: &Workshop, offsets: &[usize]| {
        let path = shop.device.path("disk/environment");
        let mut bytes = fs::read(&path).unwrap();
        for offset in offsets {
            bytes[offset + 100] ^= 0xff;
        }
        fs::write(path, bytes).unwrap();
    };
    for copy in [0, 0x10000] {
        let shop = Workshop::new();
        damage(&shop, &[copy]);
        let artifact = shop.artifact("release-2", &[]);
        let log = shop.installs(&artifact);
        assert!(log.contains("is damaged"), "{log}");
        assert!(log.contains("has been repaired"), "{log}");
        assert_eq!(boot(&shop.device).unwrap().part, 3);
        shop.says(&["commit"], 0, &["committed"]);
    }
    let shop = Workshop::new();
    damage(&shop, &[0, 0x10000]);
    shop.refuses(
        &shop.artifact("release-2", &[]),
        &["cannot read the boot environment: no copy is good"],
    );
}

#[test]
fn a_source_that_cannot_be_had_is_named() {
    let shop = Workshop::new();
    shop.refuses(
        Path::new("/nowhere/release.mender"),
        &["/nowhere/release.mender"],
    );
    shop.refuses(
        Path::new("http://localhost/release.mender"),
        &["without TLS", "https://"],
    );
}

#[test]
fn a_payload_that_nobody_installs_is_refused() {
    let shop = Workshop::new();
    let file = shop.path("file");
    fs::write(&file, "content").unwrap();
    let artifact = shop.path("module.mender");
    let made = Command::new(program("tandem-artifact").unwrap())
        .args([
            "-q",
            "write",
            "module-image",
            "-t",
            "board",
            "-n",
            "x",
            "-T",
            "no-such-thing",
            "-f",
        ])
        .arg(&file)
        .arg("-o")
        .arg(&artifact)
        .status()
        .unwrap();
    assert!(made.success());
    shop.refuses(
        &artifact,
        &[
            "no update module",
            "no-such-thing",
            "/usr/share/tandem/modules/v3",
        ],
    );
}

#[test]
fn a_device_that_does_not_know_its_type_takes_nothing() {
    let shop = Workshop::new();
    shop.says(&["show-artifact"], 0, &["release-1"]);
    fs::remove_file(shop.device.path("data/device_type")).unwrap();
    shop.refuses(
        &shop.artifact("release-2", &[]),
        &["device type", "data/device_type"],
    );
}
