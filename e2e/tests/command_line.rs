//! The agent's verbs on a virtual device: what they print, how they exit, and what they refuse
//! before anything is written.

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
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tandem_e2e::{Device, Setup, boot, make_image, program};
use tempfile::TempDir;

/// A device of type `board` that runs release 1, and the means to make artifacts for it.
struct Bench {
    dir: TempDir,
    device: Device,
}

const MIB: u64 = 1 << 20;

impl Bench {
    fn new() -> Bench {
        Bench::with("allow_unsigned = true")
    }

    fn with(configuration: &str) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        for sub in ["boot", "sbin", "etc"] {
            fs::create_dir_all(tree.join(sub)).unwrap();
        }
        for file in ["boot/vmlinuz", "sbin/init", "etc/release"] {
            fs::write(tree.join(file), "release-1").unwrap();
        }
        let bootstrap = dir.path().join("bootstrap.mender");
        let made = Command::new(program("tandem-artifact").unwrap())
            .args([
                "-q",
                "write",
                "bootstrap-artifact",
                "-t",
                "board",
                "-n",
                "release-1",
                "-o",
            ])
            .arg(&bootstrap)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let setup = Setup {
            tree,
            part_size: 3 * MIB,
            device_type: "board".into(),
            configuration: configuration.replace("{dir}", &dir.path().display().to_string()),
            bootstrap: Some(bootstrap),
        };
        let device = Device::create(&dir.path().join("device"), &setup).unwrap();
        Bench { dir, device }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An artifact with a root file system, made with these further arguments.
    fn artifact(&self, name: &str, arguments: &[&str]) -> PathBuf {
        let tree = self.path("tree");
        fs::write(tree.join("etc/release"), name).unwrap();
        let image = self.path("image.ext4");
        make_image(&image, &tree, 2 * MIB).unwrap();
        let artifact = self.path(&format!("{name}.mender"));
        let mut command = Command::new(program("tandem-artifact").unwrap());
        command
            .args(["-q", "write", "rootfs-image", "-n", name, "-f"])
            .arg(image);
        if !arguments.contains(&"-t") {
            command.args(["-t", "board"]);
        }
        let made = command
            .args(arguments)
            .arg("-o")
            .arg(&artifact)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        artifact
    }

    fn tandem(&self, arguments: &[&str]) -> Output {
        Command::new(program("tandem").unwrap())
            .arg("--config")
            .arg(self.device.path("etc/tandem.toml"))
            .args(arguments)
            .output()
            .unwrap()
    }

    fn install(&self, artifact: &Path) -> Output {
        self.tandem(&["install", artifact.to_str().unwrap()])
    }

    /// Everything that an update could change.
    fn state(&self) -> Vec<Vec<u8>> {
        [
            "disk/root2",
            "disk/root3",
            "disk/environment",
            "data/record.json",
        ]
        .iter()
        .map(|name| fs::read(self.device.path(name)).unwrap_or_default())
        .collect()
    }

    /// `verb` prints these lines and exits like this.
    #[track_caller]
    fn says(&self, arguments: &[&str], code: i32, lines: &[&str]) -> String {
        let output = self.tandem(arguments);
        let (out, log) = texts(&output);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {out}\n{log}"
        );
        assert_eq!(
            out.lines().collect::<Vec<_>>(),
            lines,
            "{arguments:?}: {log}"
        );
        log
    }

    /// `install` refuses the artifact with these words, and nothing has changed.
    #[track_caller]
    fn refuses(&self, artifact: &Path, words: &[&str]) {
        self.says(&["show-artifact"], 0, &["release-1"]);
        let before = self.state();
        let output = self.install(artifact);
        let (out, log) = texts(&output);
        assert_eq!(output.status.code(), Some(1), "{out}\n{log}");
        for word in words {
            assert!(log.contains(word), "{word:?} is not in: {log}");
        }
        assert!(out.contains("the system is as it was"), "{out}");
        assert!(self.state() == before, "something has been written: {log}");
        self.says(&["show-artifact"], 0, &["release-1"]);
        self.says(&["resume"], 2, &["no update in progress"]);
    }
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

const INSTALLED: [&str; 3] = [
    "installed, not committed",
    "run 'tandem commit' to keep it, or 'tandem rollback' to undo it",
    "reboot needed",
];

#[test]
fn an_update_goes_through_and_stays() {
    let bench = Bench::new();
    let artifact = bench.artifact("release-2", &[]);
    bench.says(&["show-artifact"], 0, &["release-1"]);
    bench.says(&["install", artifact.to_str().unwrap()], 0, &INSTALLED);
    bench.says(&["show-artifact"], 0, &["release-1"]);
    assert_eq!(boot(&bench.device).unwrap().part, 3);
    bench.says(&["commit"], 0, &["committed"]);
    bench.says(&["show-artifact"], 0, &["release-2"]);
    assert_eq!(boot(&bench.device).unwrap().part, 3);
    let (provides, _) = texts(&bench.tandem(&["show-provides"]));
    assert!(
        provides.contains("rootfs-image.version=release-2\n"),
        "{provides}"
    );
    bench.says(&["commit"], 2, &["no update in progress"]);
}

#[test]
fn an_update_that_is_not_committed_is_gone_after_the_next_boot() {
    let bench = Bench::new();
    bench.says(
        &[
            "install",
            bench.artifact("release-2", &[]).to_str().unwrap(),
        ],
        0,
        &INSTALLED,
    );
    assert_eq!(boot(&bench.device).unwrap().part, 3);
    assert_eq!(boot(&bench.device).unwrap().part, 2);
    let log = bench.says(&["commit"], 1, &["commit failed", "rolled back"]);
    assert!(
        log.contains("the boot loader has gone back to the previous system"),
        "{log}"
    );
    bench.says(&["show-artifact"], 0, &["release-1"]);
    assert_eq!(boot(&bench.device).unwrap().part, 2);
}

#[test]
fn a_person_can_roll_back_before_and_after_the_reboot() {
    for reboot in [false, true] {
        let bench = Bench::new();
        bench.says(
            &[
                "install",
                bench.artifact("release-2", &[]).to_str().unwrap(),
            ],
            0,
            &INSTALLED,
        );
        if reboot {
            boot(&bench.device).unwrap();
            bench.says(&["rollback"], 0, &["rolled back", "reboot needed"]);
        } else {
            bench.says(&["rollback"], 0, &["rolled back"]);
        }
        bench.says(&["show-artifact"], 0, &["release-1"]);
        assert_eq!(boot(&bench.device).unwrap().part, 2);
        bench.says(&["rollback"], 2, &["no update in progress"]);
    }
}

#[test]
fn a_second_installation_is_refused_while_one_is_in_progress() {
    let bench = Bench::new();
    let artifact = bench.artifact("release-2", &[]);
    bench.says(&["install", artifact.to_str().unwrap()], 0, &INSTALLED);
    let before = bench.state();
    let log = bench.says(
        &["install", artifact.to_str().unwrap()],
        1,
        &["the system is as it was"],
    );
    assert!(log.contains("already in progress"), "{log}");
    assert!(bench.state() == before);
}

#[test]
fn exit_code_4_asks_for_a_reboot_when_that_was_wanted() {
    let bench = Bench::new();
    let artifact = bench.artifact("release-2", &[]);
    let artifact = artifact.to_str().unwrap();
    bench.says(&["install", "--reboot-exit-code", artifact], 4, &INSTALLED);
}

#[test]
fn stopping_in_front_of_a_step_and_going_on() {
    let bench = Bench::new();
    let artifact = bench.artifact("release-2", &[]);
    let artifact = artifact.to_str().unwrap();
    let go_on = "run 'tandem resume' to go on";
    bench.says(
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
    bench.says(
        &["resume", "--stop-before", "ArtifactInstall_Enter"],
        0,
        &[],
    );
    assert_eq!(boot(&bench.device).unwrap().part, 2);
    bench.says(&["commit"], 1, &[]);
    bench.says(&["resume"], 0, &INSTALLED);
    boot(&bench.device).unwrap();
    bench.says(
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
    bench.says(&["show-artifact"], 0, &["release-1"]);
    bench.says(&["resume", "--stop-before", "Cleanup"], 0, &[go_on]);
    bench.says(&["show-artifact"], 0, &["release-2"]);
    bench.says(&["resume"], 0, &["cleaned up"]);
    bench.says(&["resume"], 2, &["no update in progress"]);
    let output = bench.tandem(&["resume", "--stop-before", "Nowhere"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_is_not_meant_for_the_device_is_refused() {
    let bench = Bench::new();
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
        bench.refuses(&bench.artifact("release-2", arguments), words);
    }
}

#[test]
fn what_is_damaged_is_refused_before_it_can_start() {
    let bench = Bench::new();
    let artifact = bench.artifact("release-2", &["--compression", "none"]);
    let whole = fs::read(&artifact).unwrap();
    for cut in [0, 100, 600, 3000] {
        fs::write(&artifact, &whole[..cut]).unwrap();
        bench.refuses(&artifact, &["cannot use the artifact"]);
    }
    // Damage in the payload shows only while it is written: to the root part that does not count.
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for damaged in [&flipped[..], &whole[..whole.len() / 2]] {
        fs::write(&artifact, damaged).unwrap();
        bench.says(
            &["install", artifact.to_str().unwrap()],
            1,
            &["download failed", "the system is as it was"],
        );
        bench.says(&["show-artifact"], 0, &["release-1"]);
        assert_eq!(boot(&bench.device).unwrap().part, 2);
    }
    fs::write(&artifact, &whole).unwrap();
    bench.says(&["install", artifact.to_str().unwrap()], 0, &INSTALLED);
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
    let bench = Bench::with("artifact_verify_keys = [\"{dir}/ec.pub\", \"{dir}/ed.pub\"]");
    let dir = bench.dir.path();
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
    bench.refuses(&bench.artifact("unsigned", &[]), &["not signed"]);
    bench.refuses(
        &bench.artifact("foreign", &["-k", &key("other.pem")]),
        &["signature"],
    );
    for signer in ["ec.pem", "ed.pem"] {
        let artifact = bench.artifact("release-2", &["-k", &key(signer)]);
        bench.says(&["install", artifact.to_str().unwrap()], 0, &INSTALLED);
        bench.says(&["rollback"], 0, &["rolled back"]);
    }
}

#[test]
fn without_a_key_everything_is_refused_unless_that_is_allowed() {
    let bench = Bench::with("");
    bench.refuses(
        &bench.artifact("release-2", &[]),
        &["artifact_verify_key", "allow_unsigned = true"],
    );
    let bench = Bench::new();
    let artifact = bench.artifact("release-2", &[]);
    let log = bench.says(&["install", artifact.to_str().unwrap()], 0, &INSTALLED);
    assert!(log.contains("NOT VERIFIED"), "{log}");
}

#[test]
fn an_image_that_does_not_fit_is_refused_before_it_is_written() {
    let bench = Bench::new();
    let artifact = bench.artifact("release-2", &[]);
    fs::OpenOptions::new()
        .write(true)
        .open(bench.device.part(3))
        .unwrap()
        .set_len(MIB)
        .unwrap();
    let before = bench.state();
    let log = bench.says(
        &["install", artifact.to_str().unwrap()],
        1,
        &["download failed", "the system is as it was"],
    );
    assert!(log.contains("the image has 2097152 bytes"), "{log}");
    assert!(log.contains("only 1048576"), "{log}");
    assert_eq!(bench.state()[..3], before[..3]);
}

#[test]
fn a_boot_environment_that_is_not_right_is_named() {
    let set = |bench: &Bench, variable: &str, value: &str| {
        let mut command = Command::new(program("fw_setenv").unwrap());
        command
            .arg("-c")
            .arg(bench.device.path("etc/fw_env.config"))
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
        let bench = Bench::new();
        set(&bench, variable, value);
        bench.refuses(&bench.artifact("release-2", &[]), words);
    }
    let bench = Bench::new();
    fs::remove_file(bench.device.path("etc/fw_env.config")).unwrap();
    bench.refuses(
        &bench.artifact("release-2", &[]),
        &["fw_env.config", "cannot find the boot environment"],
    );
}

#[test]
fn one_bad_copy_of_the_environment_is_mended_and_two_are_refused() {
    let damage = |bench: &Bench, offsets: &[usize]| {
        let path = bench.device.path("disk/environment");
        let mut bytes = fs::read(&path).unwrap();
        for offset in offsets {
            bytes[offset + 100] ^= 0xff;
        }
        fs::write(path, bytes).unwrap();
    };
    for copy in [0, 0x10000] {
        let bench = Bench::new();
        damage(&bench, &[copy]);
        let artifact = bench.artifact("release-2", &[]);
        let log = bench.says(&["install", artifact.to_str().unwrap()], 0, &INSTALLED);
        assert!(log.contains("is damaged"), "{log}");
        assert!(log.contains("has been repaired"), "{log}");
        assert_eq!(boot(&bench.device).unwrap().part, 3);
        bench.says(&["commit"], 0, &["committed"]);
    }
    let bench = Bench::new();
    damage(&bench, &[0, 0x10000]);
    bench.refuses(
        &bench.artifact("release-2", &[]),
        &["no copy of the boot environment is good"],
    );
}

#[test]
fn a_source_that_cannot_be_had_is_named() {
    let bench = Bench::new();
    bench.refuses(
        Path::new("/nowhere/release.mender"),
        &["/nowhere/release.mender"],
    );
    bench.refuses(
        Path::new("http://localhost/release.mender"),
        &["without TLS", "https://"],
    );
}

#[test]
fn a_payload_that_nobody_installs_is_refused() {
    let bench = Bench::new();
    let file = bench.path("file");
    fs::write(&file, "content").unwrap();
    let artifact = bench.path("module.mender");
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
    bench.refuses(
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
    let bench = Bench::new();
    bench.says(&["show-artifact"], 0, &["release-1"]);
    fs::remove_file(bench.device.path("data/device_type")).unwrap();
    bench.refuses(
        &bench.artifact("release-2", &[]),
        &["device type", "data/device_type"],
    );
}

#[test]
fn two_programs_do_not_work_on_one_device() {
    let bench = Bench::new();
    bench.says(&["show-artifact"], 0, &["release-1"]);
    let lock = fs::File::open(bench.device.path("data/lock")).unwrap();
    lock.lock().unwrap();
    for verb in [
        &["install", "x"][..],
        &["commit"],
        &["rollback"],
        &["resume"],
    ] {
        let log = bench.says(verb, 1, &[]);
        assert!(log.contains("another tandem"), "{log}");
    }
    bench.says(&["show-artifact"], 0, &["release-1"]);
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
    let bench = Bench::new();
    let at = |name: &str| bench.device.path(name).display().to_string();
    let conf = bench.path("mender.conf");
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
    let artifact = bench.artifact("release-2", &[]);
    let output = Command::new(program("tandem").unwrap())
        .arg("--config")
        .arg(&conf)
        .arg("install")
        .arg(artifact)
        .output()
        .unwrap();
    let (out, log) = texts(&output);
    assert_eq!(out.lines().collect::<Vec<_>>(), INSTALLED, "{log}");
    assert!(
        log.contains("NOT VERIFIED"),
        "no key, no check, but a warning: {log}"
    );
}

#[test]
fn an_artifact_without_payload_only_changes_what_is_provided() {
    let bench = Bench::new();
    let artifact = bench.path("empty.mender");
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
    bench.says(
        &["install", artifact.to_str().unwrap()],
        0,
        &["installed and committed"],
    );
    bench.says(&["show-provides"], 0, &["artifact_name=named", "color=red"]);
}

#[test]
fn everything_that_is_written_belongs_to_its_owner_alone() {
    let bench = Bench::new();
    let artifact = bench.artifact("release-2", &[]);
    let output = Command::new("sh")
        .args(["-c", "umask 000; exec \"$@\"", "sh"])
        .arg(program("tandem").unwrap())
        .arg("--config")
        .arg(bench.device.path("etc/tandem.toml"))
        .arg("install")
        .arg(artifact)
        .output()
        .unwrap();
    assert!(output.status.success());
    for entry in fs::read_dir(bench.device.path("data")).unwrap() {
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
