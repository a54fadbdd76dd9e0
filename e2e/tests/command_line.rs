//! The agent's verbs on a virtual device: what they print and how they exit.

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
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tandem_e2e::{Workshop, boot, program, texts};
#[test]
fn an_update_goes_through_and_stays() {
    let shop = Workshop::new();
    let artifact = shop.artifact("release-2", &[]);
    shop.says(&["show-artifact"], 0, &["release-1"]);
    shop.installs(&artifact);
    shop.says(&["show-artifact"], 0, &["release-1"]);
    assert_eq!(boot(&shop.device).unwrap().part, 3);
    shop.says(&["commit"], 0, &["committed"]);
    shop.says(&["show-artifact"], 0, &["release-2"]);
    assert_eq!(boot(&shop.device).unwrap().part, 3);
    let (provides, _) = texts(&shop.tandem(&["show-provides"]));
    assert!(
        provides.contains("rootfs-image.version=release-2\n"),
        "{provides}"
    );
    shop.says(&["commit"], 2, &["no update in progress"]);
}

#[test]
fn an_update_that_is_not_committed_is_gone_after_the_next_boot() {
    let shop = Workshop::new();
    shop.installs(&shop.artifact("release-2", &[]));
    assert_eq!(boot(&shop.device).unwrap().part, 3);
    assert_eq!(boot(&shop.device).unwrap().part, 2);
    let log = shop.says(&["commit"], 1, &["commit failed", "rolled back"]);
    assert!(
        log.contains("the boot loader has gone back to the previous system"),
        "{log}"
    );
    shop.says(&["show-artifact"], 0, &["release-1"]);
    assert_eq!(boot(&shop.device).unwrap().part, 2);
}

#[test]
fn a_person_can_roll_back_before_and_after_the_reboot() {
    for reboot in [false, true] {
        let shop = Workshop::new();
        shop.installs(&shop.artifact("release-2", &[]));
        if reboot {
            boot(&shop.device).unwrap();
            shop.says(&["rollback"], 0, &["rolled back", "reboot needed"]);
        } else {
            shop.says(&["rollback"], 0, &["rolled back"]);
        }
        shop.says(&["show-artifact"], 0, &["release-1"]);
        assert_eq!(boot(&shop.device).unwrap().part, 2);
        shop.says(&["rollback"], 2, &["no update in progress"]);
    }
}

#[test]
fn a_second_installation_is_refused_while_one_is_in_progress() {
    let shop = Workshop::new();
    let artifact = shop.artifact("release-2", &[]);
    shop.installs(&artifact);
    let before = shop.state();
    let log = shop.says(
        &["install", artifact.to_str().unwrap()],
        1,
        &["the system is as it was"],
    );
    assert!(log.contains("already in progress"), "{log}");
    assert!(shop.state() == before);
}

#[test]
fn exit_code_4_asks_for_a_reboot_when_that_was_wanted() {
    let shop = Workshop::new();
    let artifact = shop.artifact("release-2", &[]);
    let artifact = artifact.to_str().unwrap();
    shop.says(
        &["install", "--reboot-exit-code", artifact],
        4,
        &Workshop::INSTALLED,
    );
}

#[test]
fn stopping_in_front_of_a_step_and_going_on() {
    let shop = Workshop::new();
    let artifact = shop.artifact("release-2", &[]);
    let artifact = artifact.to_str().unwrap();
    let go_on = "run 'tandem resume' to go on";
    shop.says(
        &[
            "install",
            "--stop-before",
            "ArtifactInstall_Enter",
            artifact,
        ],
        0,
        &["downloaded, not installed", go_on],
    );
    // Twice at the same place: nothing has happened.
    shop.says(
        &["resume", "--stop-before", "ArtifactInstall_Enter"],
        0,
        &[],
    );
    assert_eq!(boot(&shop.device).unwrap().part, 2);
    shop.says(&["commit"], 1, &[]);
    shop.says(&["resume"], 0, &Workshop::INSTALLED);
    boot(&shop.device).unwrap();
    shop.says(
        &[
            "commit",
            "--stop-before",
            "ArtifactCommit_Leave",
            "--stop-before",
            "Cleanup",
        ],
        0,
        &["committed", go_on],
    );
    shop.says(&["show-artifact"], 0, &["release-1"]);
    shop.says(&["resume", "--stop-before", "Cleanup"], 0, &[go_on]);
    shop.says(&["show-artifact"], 0, &["release-2"]);
    shop.says(&["resume"], 0, &["cleaned up"]);
    shop.says(&["resume"], 2, &["no update in progress"]);
    let output = shop.tandem(&["resume", "--stop-before", "Nowhere"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn two_programs_do_not_work_on_one_device() {
    let shop = Workshop::new();
    shop.says(&["show-artifact"], 0, &["release-1"]);
    let lock = fs::File::open(shop.device.path("data/lock")).unwrap();
    lock.lock().unwrap();
    for verb in [
        &["install", "x"][..],
        &["commit"],
        &["rollback"],
        &["resume"],
    ] {
        let log = shop.says(verb, 1, &[]);
        assert!(log.contains("another tandem"), "{log}");
    }
    shop.says(&["show-artifact"], 0, &["release-1"]);
}

#[test]
fn the_configuration_is_checked_and_mistakes_are_named() {
    for (line, words) in [
        (
            "rootfs_part_c = \"x\"",
            &["rootfs_part_c", "did you mean"][..],
        ),
        (
            "stall_timeout_seconds = \"soon\"",
            &["stall_timeout_seconds", "30m"],
        ),
        ("stall_timeout_seconds = -1", &["stall_timeout_seconds"]),
        ("boot_loader = \"lilo\"", &["lilo", "uboot"]),
        ("reboot_command = []", &["reboot_command"]),
        (
            "artifact_verify_key = \"a\"\nartifact_verify_keys = [\"b\"]",
            &["artifact_verify_keys"],
        ),
        (
            "artifact_verify_key = \"a\"\nallow_unsigned = true",
            &["allow_unsigned"],
        ),
        ("daemon_log_level = \"loud\"", &["loud"]),
        (
            "https_client = { certificat = \"x\" }",
            &["certificat", "certificate"],
        ),
        ("= 5", &["tandem.toml"]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tandem.toml");
        fs::write(&path, line).unwrap();
        let output = Command::new(program("tandem").unwrap())
            .arg("--config")
            .arg(&path)
            .arg("show-artifact")
            .output()
            .unwrap();
        let (_, log) = texts(&output);
        assert_eq!(output.status.code(), Some(1), "{line}: {log}");
        for word in words {
            assert!(log.contains(word), "{line}: {word:?} is not in: {log}");
        }
    }
}

#[test]
fn a_mender_conf_means_what_it_means_to_menders_client() {
    let shop = Workshop::new();
    let at = |name: &str| shop.device.path(name).display().to_string();
    let conf = shop.path("mender.conf");
    fs::write(
        &conf,
        format!(
            r#"{{"RootfsPartA": "{}", "ROOTFSPARTB": "{}", "ServerURL": 7, "Unknown": true,
                 "DeviceTypeFile": "{}", "data_dir": "{}", "root_device": "{}",
                 "uboot_env_config": "{}", "scripts_dir": "{}"}}"#,
            at("disk/root2"),
            at("disk/root3"),
            at("data/device_type"),
            at("data"),
            at("root"),
            at("etc/fw_env.config"),
            at("etc/scripts"),
        ),
    )
    .unwrap();
    let artifact = shop.artifact("release-2", &[]);
    let output = Command::new(program("tandem").unwrap())
        .arg("--config")
        .arg(&conf)
        .arg("install")
        .arg(artifact)
        .output()
        .unwrap();
    let (out, log) = texts(&output);
    assert_eq!(
        out.lines().collect::<Vec<_>>(),
        Workshop::INSTALLED,
        "{log}"
    );
    assert!(
        log.contains("NOT VERIFIED"),
        "no key, no check, but a warning: {log}"
    );
}

#[test]
fn an_artifact_without_payload_only_changes_what_is_provided() {
    let shop = Workshop::new();
    let artifact = shop.path("empty.mender");
    let made = Command::new(program("tandem-artifact").unwrap())
        .args([
            "-q",
            "write",
            "bootstrap-artifact",
            "-t",
            "board",
            "-n",
            "named",
        ])
        .args(["--provides", "color:red", "-o"])
        .arg(&artifact)
        .status()
        .unwrap();
    assert!(made.success());
    shop.says(
        &["install", artifact.to_str().unwrap()],
        0,
        &["installed and committed"],
    );
    shop.says(&["show-provides"], 0, &["artifact_name=named", "color=red"]);
}

#[test]
fn everything_that_is_written_belongs_to_its_owner_alone() {
    let shop = Workshop::new();
    let artifact = shop.artifact("release-2", &[]);
    let output = Command::new("sh")
        .args(["-c", "umask 000; exec \"$@\"", "sh"])
        .arg(program("tandem").unwrap())
        .arg("--config")
        .arg(shop.device.path("etc/tandem.toml"))
        .arg("install")
        .arg(artifact)
        .output()
        .unwrap();
    assert!(output.status.success());
    for entry in fs::read_dir(shop.device.path("data")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() == "device_type" {
            continue; // made by the image
        }
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?} has mode {mode:o}", entry.file_name());
    }
}

#[test]
fn the_help_has_examples_and_exit_codes() {
    for arguments in [
        &["--help"][..],
        &["install", "--help"],
        &["resume", "--help"],
    ] {
        let output = Command::new(program("tandem").unwrap())
            .args(arguments)
            .output()
            .unwrap();
        let (out, _) = texts(&output);
        assert_eq!(output.status.code(), Some(0));
        assert!(out.contains("Exit codes"), "{out}");
    }
    for arguments in [&[][..], &["dance"], &["install"]] {
        let output = Command::new(program("tandem").unwrap())
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
}
