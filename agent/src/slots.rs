//! The two root parts: which one runs, and which one may be written.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::boot::contract::Facts;
use crate::config::RootfsParts;

/// One of the two root parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Slot {
    /// The one that `rootfs_part_a` names.
    A,
    /// The one that `rootfs_part_b` names.
    B,
}

impl Slot {
    /// The other one.
    pub(crate) const fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Slot::A => "A",
            Slot::B => "B",
        })
    }
}

/// The root part that may be overwritten. Only [`Slots::passive`] makes one, so that whoever holds
/// it can write without looking again.
#[derive(Debug)]
pub(crate) struct Passive {
    slot: Slot,
    path: PathBuf,
}

impl Passive {
    /// Which one it is.
    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    /// Its device.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The two root parts of this device.
#[derive(Debug)]
pub(crate) struct Slots<'a> {
    parts: &'a RootfsParts,
}

impl<'a> Slots<'a> {
    /// The root parts as configured.
    pub(crate) fn new(parts: &'a RootfsParts) -> Slots<'a> {
        Slots { parts }
    }

    /// The device of a root part, with the names that the boot environment's numbers do not
    /// belong to resolved: `/dev/root` and `/dev/disk/by-...`. `ubi0_1` is `/dev/ubi0_1`.
    pub(crate) fn path(&self, slot: Slot) -> Result<PathBuf> {
        let path = match slot {
            Slot::A => &self.parts.a,
            Slot::B => &self.parts.b,
        };
        if path == Path::new("/dev/root") || path.starts_with("/dev/disk") {
            return fs::canonicalize(path).with_context(|| {
                format!("cannot resolve rootfs part {slot} ({})", path.display())
            });
        }
        Ok(match path.to_str() {
            Some(name) if name.starts_with("ubi") => Path::new("/dev").join(name),
            _ => path.clone(),
        })
    }

    /// The number by which the boot loader knows a root part: the digits at the end of its path.
    ///
    /// # Errors
    /// When there are none.
    pub(crate) fn number(&self, slot: Slot) -> Result<u32> {
        let path = self.path(slot)?;
        let name = path.to_string_lossy();
        let digits = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        name.get(digits..)
            .and_then(|number| number.parse().ok())
            .with_context(|| {
                format!("rootfs part {slot} ({name}) has no partition number at its end")
            })
    }

    /// The root part with this number.
    ///
    /// # Errors
    /// When neither has it, or the numbers cannot be told.
    pub(crate) fn by_number(&self, number: u32) -> Result<Slot> {
        let (a, b) = (self.number(Slot::A)?, self.number(Slot::B)?);
        ensure!(
            a != b,
            "rootfs_part_a and rootfs_part_b both have the number {a}"
        );
        match number {
            number if number == a => Ok(Slot::A),
            number if number == b => Ok(Slot::B),
            _ => bail!(
                "the boot environment selects partition {number}, which is neither rootfs part A ({a}) nor B ({b})"
            ),
        }
    }

    /// The root part that `/` runs from, by the word of the kernel; `None` if it is neither.
    ///
    /// # Errors
    /// When a root part cannot be looked at.
    pub(crate) fn running(&self) -> Result<Option<Slot>> {
        for slot in [Slot::A, Slot::B] {
            let path = self.path(slot)?;
            let running = match &self.parts.root_device {
                Some(root) => same_device(root, &path).with_context(|| {
                    format!(
                        "cannot compare root_device {} with {}",
                        root.display(),
                        path.display()
                    )
                })?,
                None => is_root(&path).with_context(|| {
                    format!(
                        "cannot tell whether / runs from rootfs part {slot} ({})",
                        path.display()
                    )
                })?,
            };
            if running {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    /// The root part that may be overwritten.
    ///
    /// # Errors
    /// When the boot environment does not allow it, or the passive root part is in use.
    pub(crate) fn passive(&self, facts: Facts) -> Result<Passive> {
        let slot = facts.writable()?;
        let path = self.path(slot)?;
        let other = self.path(slot.other())?;
        ensure!(
            !same_device(&path, &other)?,
            "rootfs_part_a and rootfs_part_b are the same device ({} and {})",
            path.display(),
            other.display()
        );
        if let Some(place) = mounted_on(&path)? {
            bail!(
                "the passive rootfs part {slot} ({}) is mounted on {place}: unmount it first",
                path.display()
            );
        }
        Ok(Passive { slot, path })
    }
}

/// Whether two paths lead to the same file or device.
fn same_device(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok(
        match one.file_type().is_block_device() && other.file_type().is_block_device() {
            true => one.rdev() == other.rdev(),
            false => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        },
    )
}

/// Whether `/` runs from this device: by its number, or, where `/` has another (UBI, overlays),
/// by what is mounted or was given to the kernel.
fn is_root(device: &Path) -> io::Result<bool> {
    let metadata = device.metadata()?;
    if metadata.file_type().is_block_device() && metadata.rdev() == fs::metadata("/")?.dev() {
        return Ok(true);
    }
    if device.to_string_lossy().starts_with("/dev/ubi") {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let root = Mount::all(&mounts).find(|mount| mount.place == "/");
        let source = root.map(|mount| mount.source.trim_start_matches("/dev/").to_owned());
        return Ok(source.as_deref() == device.to_string_lossy().strip_prefix("/dev/"));
    }
    let command_line = fs::read_to_string("/proc/cmdline")?;
    match root_argument(&command_line) {
        Some(root) if root.exists() => same_device(&root, device),
        _ => Ok(false),
    }
}

/// The device that `root=` on the kernel's command line names.
fn root_argument(command_line: &str) -> Option<PathBuf> {
    let root = command_line
        .split_whitespace()
        .rev()
        .find_map(|word| word.strip_prefix("root="))?;
    let by = |kind: &str, value: &str| Path::new("/dev/disk").join(kind).join(value);
    Some(match root.split_once('=') {
        Some(("PARTUUID", value)) => by("by-partuuid", &value.to_ascii_lowercase()),
        Some(("PARTLABEL", value)) => by("by-partlabel", value),
        Some(("UUID", value)) => by("by-uuid", value),
        Some(("LABEL", value)) => by("by-label", value),
        _ => PathBuf::from(root),
    })
}

/// Where a device, or a file behind a loop device, is mounted.
fn mounted_on(device: &Path) -> Result<Option<String>> {
    let attempt = || format!("cannot tell whether {} is mounted", device.display());
    let metadata = device.metadata().with_context(attempt)?;
    let numbers: Vec<String> = match metadata.file_type().is_block_device() {
        true => {
            let device = metadata.rdev();
            vec![format!(
                "{}:{}",
                nix::sys::stat::major(device),
                nix::sys::stat::minor(device)
            )]
        }
        false => loop_devices(device),
    };
    if numbers.is_empty() {
        return Ok(None);
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").with_context(attempt)?;
    let mount = Mount::all(&mounts).find(|mount| numbers.iter().any(|n| n == mount.number));
    Ok(mount.map(|mount| mount.place.to_owned()))
}

/// The numbers of the loop devices that this file is behind.
fn loop_devices(file: &Path) -> Vec<String> {
    let Ok(file) = fs::canonicalize(file) else {
        return Vec::new();
    };
    let Ok(devices) = fs::read_dir("/sys/block") else {
        return Vec::new();
    };
    let mut numbers = Vec::new();
    for device in devices.flatten() {
        let backing = fs::read_to_string(device.path().join("loop/backing_file"));
        if backing.is_ok_and(|backing| Path::new(backing.trim_end()) == file) {
            if let Ok(number) = fs::read_to_string(device.path().join("dev")) {
                numbers.push(number.trim_end().to_owned());
            }
        }
    }
    numbers
}

/// One line of `/proc/self/mountinfo` (proc(5)).
struct Mount<'a> {
    number: &'a str,
    place: &'a str,
    source: &'a str,
}

impl<'a> Mount<'a> {
    fn all(mounts: &'a str) -> impl Iterator<Item = Mount<'a>> {
        mounts.lines().filter_map(|line| {
            let mut fields = line.split(' ');
            let number = fields.nth(2)?;
            let place = fields.nth(1)?;
            let source = line.split(" - ").nth(1)?.split(' ').nth(1)?;
            Some(Mount {
                number,
                place,
                source,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_part_has_the_number_at_the_end_of_its_path() {
        for (path, number) in [
            ("/dev/mmcblk0p2", Some(2)),
            ("/dev/sda13", Some(13)),
            ("/dev/nvme0n1p3", Some(3)),
            ("ubi0_1", Some(1)),
            ("/srv/device/root2", Some(2)),
            ("/dev/sda", None),
        ] {
            let parts = RootfsParts {
                a: path.into(),
                b: "/dev/null9".into(),
                root_device: None,
            };
            assert_eq!(Slots::new(&parts).number(Slot::A).ok(), number, "{path}");
        }
    }

    #[test]
    fn the_kernels_root_argument_names_a_device() {
        for (line, device) in [
            ("quiet root=/dev/sda2 rw", Some("/dev/sda2")),
            ("root=PARTUUID=AB-02", Some("/dev/disk/by-partuuid/ab-02")),
            ("root=LABEL=root", Some("/dev/disk/by-label/root")),
            ("root=/dev/sda1 root=/dev/sda2", Some("/dev/sda2")),
            ("quiet", None),
        ] {
            assert_eq!(root_argument(line), device.map(PathBuf::from), "{line}");
        }
    }

    #[test]
    fn mounts_are_read_as_the_kernel_writes_them() {
        let line = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let mount = Mount::all(line).next().unwrap();
        assert_eq!(
            (mount.number, mount.place, mount.source),
            ("98:0", "/mnt2", "/dev/root")
        );
    }

    #[test]
    fn what_is_running_is_told_by_identity_not_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["root2", "root3"] {
            crate::durable::replace(&path(name), b"").unwrap();
        }
        std::os::unix::fs::symlink("root3", path("root")).unwrap();
        let parts = RootfsParts {
            a: path("root2"),
            b: path("root3"),
            root_device: Some(path("root")),
        };
        assert_eq!(Slots::new(&parts).running().unwrap(), Some(Slot::B));
    }
}
