//! Whatever a root file system comes in, `tandem-image` makes the same disk of it, for whoever asks,
//! and every file keeps its owner.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and its files are its own"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tandem_e2e::{installed, program};

/// What is needed beside e2fsprogs.
const TOOLS: [&str; 8] = [
    "sfdisk",
    "mkfs.vfat",
    "mcopy",
    "mke2fs",
    "grub-mkimage",
    "xz",
    "zstd",
    "setpriv",
];

/// The owner of a file that is neither root nor who builds.
const OWNER: &str = "1234";

fn can_run() -> bool {
    let missing = TOOLS.iter().find(|tool| !installed(tool).unwrap());
    if let Some(tool) = missing {
        eprintln!("SKIPPED: {tool} is not installed");
    }
    missing.is_none()
}

/// Runs a line of shell in `dir`.
#[track_caller]
fn sh(dir: &Path, line: &str) -> String {
    let output = Command::new("sh")
        .args(["-euc", line])
        .current_dir(dir)
        .env("PATH", search_path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn search_path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap())
}

/// A directory with a small root file system in it, which everybody may write to.
fn workshop() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    sh(
        dir.path(),
        "mkdir -p tree/etc/app tree/usr/lib/systemd/system tree/etc/systemd/system tree/boot
         echo settings > tree/etc/app/settings
         echo kernel > tree/boot/vmlinuz-1
         ln -s boot/vmlinuz-1 tree/vmlinuz
         echo initrd > tree/initrd.img
         printf '#!/bin/sh\\n' > tree/usr/agent && chmod 755 tree/usr/agent
         openssl ecparam -genkey -name prime256v1 -noout -out signer.pem
         openssl ec -in signer.pem -pubout -out signer.pub 2> /dev/null
         chmod 644 signer.pem",
    );
    dir
}

/// The arguments that every image needs.
const USUAL: [&str; 10] = [
    "--release",
    "release-1",
    "--device-type",
    "board",
    "--verify-key",
    "signer.pub",
    "--key",
    "signer.pem",
    "--artifact",
    "release-1.mender",
];

/// Runs the program in `dir` as somebody without rights.
fn make(dir: &Path, source: &str, more: &[&str]) -> Output {
    let mut command = match nix::unistd::geteuid().is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
                .arg(readable_by_all(dir));
            command
        }
        false => Command::new(program("tandem-image").unwrap()),
    };
    command
        .current_dir(dir)
        .args(["--rootfs", source, "--output", "disk.img"])
        .args(USUAL)
        .args(more)
        .output()
        .unwrap()
}

/// The program, in a place where everybody may run it.
fn readable_by_all(dir: &Path) -> PathBuf {
    let copy = dir.join("tandem-image");
    if !copy.exists() {
        // By another program: a file that this one has open for writing could not be run.
        sh(
            dir,
            &format!("cp {} .", program("tandem-image").unwrap().display()),
        );
    }
    copy
}

/// Asks `debugfs` about partition 2 of the new disk.
#[track_caller]
fn asked(dir: &Path, request: &str) -> String {
    let start = start_of_root(dir);
    sh(
        dir,
        &format!("debugfs -R '{request}' 'disk.img?offset={start}' 2> /dev/null"),
    )
}

fn start_of_root(dir: &Path) -> u64 {
    let table: serde_json::Value =
        serde_json::from_str(&sh(dir, "sfdisk --json disk.img")).unwrap();
    table["partitiontable"]["partitions"][1]["start"]
        .as_u64()
        .unwrap()
        * 512
}

/// What must be true of every disk: its root part is whole, is what the artifact installs, and the
/// file of somebody else is still his.
#[track_caller]
fn check(dir: &Path, made: &Output, owner: &str) {
    assert!(made.status.success(), "{made:?}");
    let said = String::from_utf8_lossy(&made.stdout);
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("root file system: "));
    let (length, sum) = line.unwrap().split_once(" sha256 ").unwrap();
    let start = start_of_root(dir);
    sh(
        dir,
        &format!(
            "tail -c +{} disk.img | head -c {length} > root.ext4
             test \"$(sha256sum < root.ext4)\" = '{sum}  -'
             e2fsck -fn root.ext4 2>&1",
            start + 1
        ),
    );
    let artifact = Command::new(program("tandem-artifact").unwrap())
        .args(["read", "--key", "signer.pub", "release-1.mender"])
        .current_dir(dir)
        .output()
        .unwrap();
    let artifact = String::from_utf8(artifact.stdout).unwrap();
    assert!(artifact.contains(sum), "{artifact}");
    let stat = asked(dir, "stat /etc/app/settings");
    assert!(
        stat.split_whitespace()
            .collect::<Vec<_>>()
            .windows(2)
            .any(|pair| pair == ["User:", owner]),
        "{stat}"
    );
    assert_eq!(asked(dir, "cat /etc/app/settings"), "settings\n");
    assert!(asked(dir, "cat /etc/tandem/tandem.toml").contains("rootfs_part_b"));
}

#[test]
fn an_archive_keeps_its_owners_in_every_compression() {
    if !can_run() {
        return;
    }
    let dir = workshop();
    let dir = dir.path();
    sh(
        dir,
        &format!(
            "tar --owner={OWNER} --group={OWNER} -cf rootfs.tar -C tree .
             gzip -k rootfs.tar && xz -k -0 rootfs.tar && zstd -q rootfs.tar"
        ),
    );
    for name in [
        "rootfs.tar",
        "rootfs.tar.gz",
        "rootfs.tar.xz",
        "rootfs.tar.zst",
    ] {
        check(dir, &make(dir, name, &[]), OWNER);
    }
}

#[test]
fn what_belongs_to_the_builder_belongs_to_root_on_the_device() {
    if !can_run() {
        return;
    }
    let dir = workshop();
    let dir = dir.path();
    // Whoever is not root must own the files to be their builder.
    if nix::unistd::geteuid().is_root() {
        sh(dir, "chown -R 65534:65534 tree");
    }
    check(dir, &make(dir, "tree", &[]), "0");
}

/// A disk as distributions deliver it: a boot partition, a root that is full, a file table with
/// names of partitions.
fn old_disk(dir: &Path, table: &str) {
    sh(
        dir,
        "printf 'PARTUUID=1-02 / ext4 defaults 0 1\\nPARTUUID=1-01 /boot/firmware vfat defaults 0 2\\n' > tree/etc/fstab
         mke2fs -q -t ext4 -d tree root.img 24M
         debugfs -w -R 'sif /etc/app/settings uid 1234' root.img 2> /dev/null
         rm -f boot.img; mkfs.vfat -C boot.img 8192 > /dev/null
         echo firmware > firmware.bin
         mmd -i boot.img ::overlays && mcopy -i boot.img firmware.bin ::overlays/firmware.bin",
    );
    sh(
        dir,
        &format!(
            "truncate -s 64M old.img
             printf 'label: {table}\\nstart=2048, size=16384, type={}\\nstart=32768, size=49152, type=L\\n' |
                 sfdisk -q old.img
             dd if=boot.img of=old.img bs=512 seek=2048 conv=notrunc status=none
             dd if=root.img of=old.img bs=512 seek=32768 conv=notrunc status=none
             rm -f old.img.xz; xz -k -0 old.img",
            if table == "dos" { "c" } else { "U" }
        ),
    );
}

#[test]
fn a_disk_image_with_one_root_becomes_a_disk_with_two() {
    if !can_run() {
        return;
    }
    let dir = workshop();
    let dir = dir.path();
    for (table, name) in [("dos", "old.img"), ("gpt", "old.img.xz")] {
        old_disk(dir, table);
        let made = make(
            dir,
            name,
            &[
                "--boot",
                "grub",
                "--disk",
                "/dev/nvme0n1",
                "--kernel-path",
                "/vmlinuz",
                "--initrd-path",
                "/initrd.img",
                "--keep-boot-files",
                "--root-size",
                "40",
                "--agent",
                "tree/usr/agent",
                "--server-url",
                "https://updates.example.com",
            ],
        );
        check(dir, &made, OWNER);
        assert_eq!(
            asked(dir, "cat /etc/fstab")
                .lines()
                .take(2)
                .collect::<Vec<_>>(),
            [
                "/dev/root / ext4 defaults 0 1",
                "/dev/nvme0n1p1 /boot/firmware vfat defaults 0 2"
            ]
        );
        let enabled = asked(
            dir,
            "stat /etc/systemd/system/multi-user.target.wants/tandem.service",
        );
        assert!(
            enabled.contains("/usr/lib/systemd/system/tandem.service"),
            "{enabled}"
        );
        assert!(asked(dir, "stat /usr/bin/tandem").contains("Mode:  0755"));
        assert!(asked(dir, "stat /usr/share/tandem/modules/v3/single-file").contains("0755"));
        let grown = asked(dir, "stats -h");
        let blocks = grown
            .lines()
            .find_map(|line| line.strip_prefix("Block count:"));
        let size = grown
            .lines()
            .find_map(|line| line.strip_prefix("Block size:"));
        let number = |text: Option<&str>| text.unwrap().trim().parse::<u64>().unwrap();
        assert_eq!(number(blocks) * number(size), 40 << 20, "{grown}");
        let boot = sh(dir, "mdir -/ -b -i disk.img@@8M ::");
        assert!(boot.contains("overlays/firmware.bin"), "{boot}");
        let script = sh(dir, "mtype -i disk.img@@8M ::EFI/BOOT/grub.cfg");
        assert!(
            script.contains("if initrd /initrd.img; then boot; fi"),
            "{script}"
        );
    }
}

#[test]
fn what_cannot_be_a_root_file_system_says_why() {
    if !can_run() {
        return;
    }
    let dir = workshop();
    let dir = dir.path();
    old_disk(dir, "dos");
    sh(
        dir,
        "mkfs.vfat -C empty.img 8192 > /dev/null
         truncate -s 16M none.img && printf 'label: dos\\n2048,,c\\n' | sfdisk -q none.img
         head -c 3000 old.img.xz > broken.img.xz
         head -c 5000000 /dev/zero > zeros.bin",
    );
    for (source, more, words) in [
        (
            "none.img",
            vec![],
            "no partition of the disk image has a root file system",
        ),
        (
            "old.img",
            vec!["--root-partition", "1"],
            "partition 1 has no ext4",
        ),
        (
            "old.img",
            vec!["--root-partition", "7"],
            "there is no partition 7",
        ),
        ("old.img", vec!["--root-size", "1"], "--root-size"),
        ("tree", vec!["--keep-boot-files"], "--keep-boot-files"),
        ("broken.img.xz", vec![], "broken.img.xz"),
        ("zeros.bin", vec![], "is empty"),
        (
            "missing",
            vec![],
            "cannot open the root file system missing",
        ),
        (
            "tree",
            vec!["--initrd-path", "/initrd.img"],
            "--initrd-path",
        ),
    ] {
        let made = make(dir, source, &more);
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(!made.status.success(), "{source}");
        assert!(said.contains(words), "{source}: {said}");
        assert!(!dir.join("disk.img").exists(), "{source}");
    }
}
