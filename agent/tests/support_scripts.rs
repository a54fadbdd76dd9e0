//! The shipped identity and inventory scripts, beside those of Debian's mender-client.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may panic, and says on stderr what it skips"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const SUPPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/support");

const IDENTITY: &str = "identity/tandem-device-identity";

/// Where Debian's mender-client puts the scripts that we are to agree with.
const PEERS: &str = "/usr/share/doc/mender-client/examples";

fn has(path: &str) -> bool {
    let is_there = match path.starts_with('/') {
        true => Path::new(path).exists(),
        false => {
            let dirs = std::env::var_os("PATH").unwrap();
            std::env::split_paths(&dirs).any(|dir| dir.join(path).exists())
        }
    };
    if !is_there {
        let must = std::env::var_os("TANDEM_REQUIRE_PEERS").is_some_and(|value| value == "1");
        assert!(!must, "{path} is not installed");
        eprintln!("SKIPPED: {path} is not installed");
    }
    is_there
}

/// The shells that devices have.
fn shells() -> Vec<&'static [&'static str]> {
    let mut shells: Vec<&[&str]> = vec![&["sh"]];
    if has("busybox") {
        shells.push(&["busybox", "sh"]);
    }
    shells
}

fn run(shell: &[&str], script: &str) -> Output {
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg(script);
    command.output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

#[test]
fn every_script_is_executable_and_clean_for_shellcheck() {
    let mut scripts = vec![format!("{SUPPORT}/{IDENTITY}")];
    for entry in fs::read_dir(format!("{SUPPORT}/inventory")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            name.starts_with("mender-inventory-"),
            "neither agent would run {name}"
        );
        scripts.push(path.to_str().unwrap().to_owned());
    }
    assert_eq!(scripts.len(), 7);
    for script in &scripts {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            fs::metadata(script).unwrap().permissions().mode() & 0o111,
            0o111,
            "{script}"
        );
    }
    if has("shellcheck") {
        let output = Command::new("shellcheck")
            .args(["-s", "sh"])
            .args(scripts)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stdout(&output));
    }
}

/// Runs our inventory script in every shell; the output is the same, and `key=value` lines.
#[track_caller]
fn inventory(name: &str) -> String {
    let script = format!("{SUPPORT}/inventory/mender-inventory-{name}");
    let outputs = shells()
        .into_iter()
        .map(|shell| run(shell, &script))
        .collect::<Vec<_>>();
    for output in &outputs {
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
        assert_eq!(output.stdout, outputs[0].stdout);
        let lines = stdout(output).lines().collect::<Vec<_>>();
        assert!(
            !lines.is_empty() && lines.iter().all(|line| line.contains('=')),
            "{lines:?}"
        );
    }
    stdout(&outputs[0]).to_owned()
}

#[test]
fn inventory_scripts_say_the_same_as_menders() {
    for (ours, theirs) in [
        ("hostinfo", "hostinfo"),
        ("network", "network"),
        ("os", "os"),
        ("rootfs-type", "rootfs-type"),
        ("bootloader", "bootloader-integration"),
    ] {
        let found = inventory(ours);
        let peer = format!("{PEERS}/mender-inventory-{theirs}");
        if has(&peer) {
            assert_eq!(found, stdout(&run(&["sh"], &peer)), "{ours}");
        }
    }
}

#[test]
fn the_inventory_script_for_provides_asks_the_agent() {
    let dir = tempfile::TempDir::new().unwrap();
    // Stands in for the agent's own command, which is tested elsewhere.
    let tandem = dir.path().join("tandem");
    fs::write(
        &tandem,
        "#!/bin/sh\n[ \"$*\" = show-provides ] && echo artifact_name=x\n",
    )
    .unwrap();
    let path = format!(
        "{}:{}",
        dir.path().display(),
        std::env::var("PATH").unwrap()
    );
    let made = Command::new("chmod").arg("755").arg(&tandem).status();
    assert!(made.unwrap().success());
    let script = format!("{SUPPORT}/inventory/mender-inventory-provides");
    for shell in shells() {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(&script).env("PATH", &path);
        let output = command.output().unwrap();
        assert!(
            stdout(&output).starts_with("artifact_name=x\n"),
            "{output:?}"
        );
        // There is no device type on this machine, and the agent must hear of that.
        let has_type = Path::new("/var/lib/tandem/device_type").exists();
        assert_eq!(output.status.success(), has_type);
    }
}

/// Runs a script in a network namespace after these commands of ip(8).
fn with_network(shell: &[&str], setup: &[&str], script: &str) -> Option<Output> {
    let commands = setup
        .iter()
        .map(|line| format!("ip {line}\n"))
        .collect::<String>();
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "sh", "-ec"])
        .arg(format!(
            "mount -t sysfs sysfs /sys || exit 77\n{commands}exec {} \"$0\"",
            shell.join(" ")
        ))
        .arg(script)
        .output()
        .unwrap();
    if output.status.code() == Some(77) || stderr_says(&output, "unshare failed") {
        eprintln!("SKIPPED: network namespaces are not allowed here");
        return None;
    }
    Some(output)
}

fn stderr_says(output: &Output, words: &str) -> bool {
    String::from_utf8_lossy(&output.stderr).contains(words)
}

#[track_caller]
fn check_identity(setup: &[&str], expected: &str, is_as_menders: bool) {
    let ours = format!("{SUPPORT}/{IDENTITY}");
    for shell in shells() {
        let Some(output) = with_network(shell, setup, &ours) else {
            return;
        };
        assert_eq!(stdout(&output), expected, "{shell:?} {output:?}");
        assert_eq!(
            output.status.code(),
            Some(if expected.is_empty() { 1 } else { 0 })
        );
    }
    let peer = format!("{PEERS}/mender-device-identity");
    if is_as_menders && has(&peer) {
        let output = with_network(&["sh"], setup, &peer).unwrap();
        assert_eq!(stdout(&output), expected, "theirs");
    }
}

#[test]
fn a_device_is_known_by_its_first_ethernet_interface() {
    if !has("ip") || !has("unshare") {
        return;
    }
    // The names sort the other way round than the indices.
    let two = [
        "link add zz0 type bridge",
        "link set zz0 address 02:00:00:00:00:01",
        "link add aa0 type bridge",
        "link set aa0 address 02:00:00:00:00:02",
    ];
    check_identity(&two, "mac=02:00:00:00:00:01\n", true);
    // Ten comes after nine.
    let many = (0..12).map(|n| format!("link add b{n} address 02:00:00:00:00:0{n:x} type bridge"));
    let many = many.collect::<Vec<_>>();
    let many = many.iter().map(String::as_str).collect::<Vec<_>>();
    check_identity(&many, "mac=02:00:00:00:00:00\n", true);
    // Neither dummies nor what is no Ethernet at all.
    let others = [
        "link add dummy7 address 02:00:00:00:00:07 type bridge",
        "tuntap add tun0 mode tun",
        "link add eth0 address 02:00:00:00:00:08 type bridge",
    ];
    check_identity(&others, "mac=02:00:00:00:00:08\n", true);
}

#[test]
fn an_address_that_changes_at_each_start_is_the_last_resort() {
    if !has("ip") || !has("unshare") {
        return;
    }
    let random_first = [
        "link add ifb7 type bridge",
        "link add eth0 address 02:00:00:00:00:08 type bridge",
    ];
    // Here Mender's script would take the other one.
    check_identity(&random_first, "mac=02:00:00:00:00:08\n", false);
    let ours = format!("{SUPPORT}/{IDENTITY}");
    if let Some(output) = with_network(&["sh"], &random_first[..1], &ours) {
        assert!(stdout(&output).starts_with("mac="), "{output:?}");
    }
}

#[test]
fn a_device_without_ethernet_has_no_identity() {
    if !has("ip") || !has("unshare") {
        return;
    }
    check_identity(&["link set lo up"], "", true);
}
