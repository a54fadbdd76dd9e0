//! The agent on a device with GRUB: the files of `grub-mender-grubenv`, looked at and changed with
//! GRUB's own tool.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and its files are its own"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use tandem_e2e::{Workshop, installed};

/// A device whose boot loader is GRUB, and the person who plays it.
struct GrubDevice {
    shop: Workshop,
}

impl GrubDevice {
    fn new() -> GrubDevice {
        let shop = Workshop::with(
            "allow_unsigned = true\nboot_loader = \"grub\"\ngrub_env_dir = \"{dir}/esp\"",
        );
        let device = GrubDevice { shop };
        for copy in [1, 2] {
            fs::create_dir_all(device.file(copy, "")).unwrap();
            for file in ["env", "lock"] {
                editenv(&device.file(copy, file), &["create"]);
            }
            device.grub_saves(
                copy,
                &["bootcount=0", "mender_boot_part=2", "upgrade_available=0"],
            );
            editenv(&device.file(copy, "lock"), &["set", "editing=0"]);
            let sum = Command::new("sha256sum")
                .arg("lock")
                .current_dir(device.file(copy, ""))
                .output()
                .unwrap();
            fs::write(device.file(copy, "lock.sha256sum"), sum.stdout).unwrap();
        }
        device
    }

    fn file(&self, copy: u8, name: &str) -> PathBuf {
        self.shop
            .path(&format!("esp/mender_grubenv{copy}"))
            .join(name)
    }

    fn grub_saves(&self, copy: u8, variables: &[&str]) {
        editenv(&self.file(copy, "env"), &[&["set"], variables].concat());
    }

    /// What GRUB makes of an upgrade: it counts the trial in both copies and starts the part.
    fn grub_starts(&self, part: u32, variables: &[&str]) {
        for copy in [2, 1] {
            self.grub_saves(copy, variables);
        }
        let root = self.shop.device.path("root");
        fs::remove_file(&root).unwrap();
        symlink(self.shop.device.part(part), root).unwrap();
    }

    /// Both copies hold these variables, and are whole for the tools of the boot scripts.
    #[track_caller]
    fn holds(&self, variables: &[&str]) {
        for copy in [1, 2] {
            let listed = editenv(&self.file(copy, "env"), &["list"]);
            let mut listed: Vec<&str> = listed.lines().collect();
            listed.sort_unstable();
            assert_eq!(listed, variables, "copy {copy}");
            assert_eq!(editenv(&self.file(copy, "lock"), &["list"]), "editing=0\n");
            let checked = Command::new("sha256sum")
                .args(["-c", "lock.sha256sum"])
                .current_dir(self.file(copy, ""))
                .output()
                .unwrap();
            assert!(checked.status.success(), "copy {copy}: {checked:?}");
        }
    }

    /// What GRUB needs to find the blocks of the files again.
    fn places(&self) -> Vec<(u64, u64)> {
        let mut places = Vec::new();
        for copy in [1, 2] {
            for name in ["env", "lock", "lock.sha256sum"] {
                let file = fs::metadata(self.file(copy, name)).unwrap();
                places.push((file.ino(), file.len()));
            }
        }
        places
    }
}

fn editenv(file: &std::path::Path, arguments: &[&str]) -> String {
    let output = Command::new("grub-editenv")
        .arg(file)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

const A: [&str; 3] = ["bootcount=0", "mender_boot_part=2", "upgrade_available=0"];
const B_ON_TRIAL: [&str; 3] = ["bootcount=0", "mender_boot_part=3", "upgrade_available=1"];

#[test]
fn an_update_goes_through_and_stays() {
    if !installed("grub-editenv").unwrap() {
        return;
    }
    let device = GrubDevice::new();
    let places = device.places();
    let artifact = device.shop.artifact("release-2", &[]);
    device.shop.installs(&artifact);
    device.holds(&B_ON_TRIAL);
    device.grub_starts(3, &["bootcount=1"]);
    device.shop.says(&["commit"], 0, &["committed"]);
    device.holds(&["bootcount=1", "mender_boot_part=3", "upgrade_available=0"]);
    device.shop.says(&["show-artifact"], 0, &["release-2"]);
    assert_eq!(device.places(), places, "a file is not where it was");
}

#[test]
fn grub_goes_back_and_the_agent_agrees() {
    if !installed("grub-editenv").unwrap() {
        return;
    }
    let device = GrubDevice::new();
    let artifact = device.shop.artifact("release-2", &[]);
    device.shop.installs(&artifact);
    device.grub_starts(2, &A);
    device
        .shop
        .says(&["commit"], 1, &["commit failed", "rolled back"]);
    device.holds(&A);
    device.shop.says(&["show-artifact"], 0, &["release-1"]);
}

#[test]
fn a_rollback_that_grub_could_not_save_is_made_good() {
    if !installed("grub-editenv").unwrap() {
        return;
    }
    let device = GrubDevice::new();
    let artifact = device.shop.artifact("release-2", &[]);
    device.shop.installs(&artifact);
    // GRUB has started A again, but its partition cannot be written.
    device.grub_starts(2, &B_ON_TRIAL);
    device
        .shop
        .says(&["commit"], 1, &["commit failed", "rolled back"]);
    device.holds(&A);
}

#[test]
fn damaged_copies_are_repaired() {
    if !installed("grub-editenv").unwrap() {
        return;
    }
    for copy in [1, 2] {
        let device = GrubDevice::new();
        fs::write(device.file(copy, "env"), "").unwrap();
        fs::remove_file(device.file(copy, "lock")).unwrap();
        let artifact = device.shop.artifact("release-2", &[]);
        device.shop.installs(&artifact);
        device.holds(&B_ON_TRIAL);
    }
    // GRUB has started its default, and repairs nothing.
    let device = GrubDevice::new();
    for copy in [1, 2] {
        fs::write(device.file(copy, "env"), [0; 1024]).unwrap();
    }
    let artifact = device.shop.artifact("release-2", &[]);
    let log = device.shop.installs(&artifact);
    assert!(log.contains("both copies are damaged"), "{log}");
    device.holds(&B_ON_TRIAL);
}

#[test]
fn a_boot_partition_that_is_not_there_is_refused() {
    if !installed("grub-editenv").unwrap() {
        return;
    }
    let device = GrubDevice::new();
    for copy in [1, 2] {
        fs::remove_dir_all(device.file(copy, "env").parent().unwrap()).unwrap();
    }
    let artifact = device.shop.artifact("release-2", &[]);
    device
        .shop
        .refuses(&artifact, &["no copy is good in", "grub_env_dir"]);
}
