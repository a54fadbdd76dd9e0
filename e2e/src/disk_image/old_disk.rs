//! The image of a disk with one root file system, as distributions deliver their systems.
//!
//! The root file system is taken as it is, so owners, devices and attributes stay, and is given
//! the size of a root part: such images are made to grow at their first start, which there is no
//! room for between two root parts.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::ext4::{self, Addition};
use super::layout::{MIB, Part, mib};
use super::parts::copy_sparse;
use super::source::{Whole, has_ext4_at};
use super::tool::Tool;

/// A disk image, and what of it is of use.
pub(crate) struct OldDisk {
    image: Whole,
    root: Part,
    boot: Option<Part>,
}

/// What `sfdisk --json` says.
#[derive(Deserialize)]
struct Said {
    partitiontable: Table,
}

#[derive(Deserialize)]
struct Table {
    #[serde(default = "usual_sector")]
    sectorsize: u64,
    #[serde(default)]
    partitions: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    node: String,
    start: u64,
    size: u64,
}

fn usual_sector() -> u64 {
    512
}

impl OldDisk {
    /// Finds the root file system: the partition `number`, or else the one that has `/etc`.
    ///
    /// # Errors
    /// When there is none, or more than one could be meant.
    pub(crate) fn open(image: Whole, number: Option<u32>, time: u64) -> Result<OldDisk> {
        let parts = partitions(&image.path, time)?;
        let file = File::open(&image.path)?;
        let list = || {
            let lines = parts.iter().map(|(number, part)| {
                let what = match (has_ext4_at(&file, part.start), is_fat(&file, *part)) {
                    (true, _) => "ext4",
                    (_, true) => "FAT",
                    _ => "something else",
                };
                format!("{number} ({what}, {})", mib(part.size))
            });
            lines.collect::<Vec<_>>().join(", ")
        };
        let root = match number {
            Some(number) => {
                let found = parts.iter().find(|(other, _)| *other == number);
                let (_, part) = found.with_context(|| {
                    format!("there is no partition {number}; there are {}", list())
                })?;
                ensure!(
                    has_ext4_at(&file, part.start),
                    "partition {number} has no ext4 file system; there are {}",
                    list()
                );
                *part
            }
            None => {
                let mut roots = Vec::new();
                for (_, part) in &parts {
                    if has_ext4_at(&file, part.start)
                        && ext4::exists(&at(&image.path, *part), Path::new("/etc"), time)?
                    {
                        roots.push(*part);
                    }
                }
                match roots[..] {
                    [root] => root,
                    [] => bail!(
                        "no partition of the disk image has a root file system in ext4; there are {}",
                        list()
                    ),
                    _ => bail!(
                        "several partitions have a root file system: say which (--root-partition); there are {}",
                        list()
                    ),
                }
            }
        };
        let boot = parts.iter().find(|(_, part)| is_fat(&file, *part));
        let boot = boot.map(|(_, part)| *part);
        Ok(OldDisk { image, root, boot })
    }

    /// The size that a root part should have: a quarter more, since such file systems are often
    /// full to the brim.
    pub(crate) fn room(&self) -> u64 {
        self.root.size.saturating_add(self.root.size / 4)
    }

    /// Writes the root file system to the new file `image`, with this size in bytes.
    ///
    /// # Errors
    /// When it does not fit, or a tool fails.
    pub(crate) fn write_root(&self, image: &Path, size: u64, time: u64) -> Result<()> {
        let mut source = File::open(&self.image.path)?;
        source.seek(SeekFrom::Start(self.root.start))?;
        let mut file = File::options().write(true).create_new(true).open(image)?;
        copy_sparse(&mut source.take(self.root.size), &mut file, 0)
            .context("cannot take the root file system out of the disk image")?;
        file.set_len(self.root.size.max(size))?;
        drop(file);
        // 1 is what it says when it has mended something.
        Tool::new("e2fsck", "e2fsprogs", time)
            .args(["-f", "-p"])
            .arg(image)
            .run_with(&[0, 1])
            .context("the root file system in the disk image is damaged")?;
        Tool::new("resize2fs", "e2fsprogs", time)
            .arg(image)
            .arg(format!("{}K", size / 1024))
            .run()
            .with_context(|| {
                format!(
                    "cannot give the root file system {}: make the root parts larger (--root-size)",
                    mib(size)
                )
            })?;
        File::options().write(true).open(image)?.set_len(size)?;
        Ok(())
    }

    /// The files of its boot partition; they are copied to the directory `work` before.
    ///
    /// # Errors
    /// When it has none, or it cannot be read.
    pub(crate) fn boot_files(&self, work: &Path, time: u64) -> Result<Vec<Addition>> {
        let part = self
            .boot
            .context("the disk image has no boot partition (FAT) whose files could be kept")?;
        let dir = work.join("old-boot");
        fs::create_dir(&dir)?;
        Tool::new("mcopy", "mtools", time)
            .args(["-s", "-n", "-i"])
            .arg(format!("{}@@{}", self.image.path.display(), part.start))
            .arg("::*")
            .arg(&dir)
            .run()
            .context("cannot read the boot partition of the disk image")?;
        let mut files = Vec::new();
        collect(&dir, &dir, &mut files)?;
        Ok(files)
    }
}

/// The partitions by number. Programs call them by the name of the disk, perhaps a `p`, and the number.
fn partitions(disk: &Path, time: u64) -> Result<Vec<(u32, Part)>> {
    let said = Tool::new("sfdisk", "fdisk", time)
        .arg("--json")
        .arg(disk)
        .run()
        .context("cannot read the partition table of the disk image")?;
    let Said { partitiontable } = serde_json::from_str(&said.answer)
        .context("cannot understand what sfdisk says about the disk image")?;
    let unit = partitiontable.sectorsize;
    let name = disk.display().to_string();
    let parts = partitiontable.partitions.into_iter().map(|entry| {
        let number = entry.node.strip_prefix(&name).unwrap_or_default();
        let number = number.trim_start_matches('p').parse();
        let part = Part {
            start: entry.start.saturating_mul(unit),
            size: entry.size.saturating_mul(unit),
        };
        Ok((
            number.with_context(|| format!("{} is no partition", entry.node))?,
            part,
        ))
    });
    parts.collect()
}

/// A file system inside a file, as the tools of ext4 call it.
fn at(file: &Path, part: Part) -> PathBuf {
    format!("{}?offset={}", file.display(), part.start).into()
}

/// Whether a partition has a FAT file system: its name stands at one of two places.
fn is_fat(disk: &File, part: Part) -> bool {
    use std::os::unix::fs::FileExt;
    [54, 82].into_iter().any(|place: u64| {
        let mut name = [0; 3];
        let read = disk.read_exact_at(&mut name, part.start.saturating_add(place));
        part.size >= MIB && read.is_ok() && &name == b"FAT"
    })
}

/// All files below `dir`, in the order of their names.
fn collect(root: &Path, dir: &Path, files: &mut Vec<Addition>) -> Result<()> {
    let entries = fs::read_dir(dir)?.map(|entry| Ok(entry?.path()));
    let mut paths: Vec<PathBuf> = entries.collect::<Result<_>>()?;
    paths.sort();
    for path in paths {
        match path.is_dir() {
            true => collect(root, &path, files)?,
            false => files.push(Addition::copy(path.strip_prefix(root)?, &path, 0o644)),
        }
    }
    Ok(())
}

/// The file system table of a system that moves to a disk with other partitions: `/` is whatever
/// the boot loader has started, what is below `/boot` is on the partition `boot`, and what was on
/// partitions that are not there any more is not waited for.
pub(crate) fn fstab(before: &str, boot: &str) -> String {
    let mut text = String::new();
    for line in before.lines() {
        let mut words = line.split_whitespace();
        let (device, place, kind) = (words.next(), words.next(), words.next());
        let replaced = |by: &str| line.replacen(device.unwrap_or_default(), by, 1);
        let new = match (device, place, kind) {
            (Some(device), Some(place), Some(kind)) if is_partition(device) => {
                match (place, kind) {
                    ("/", _) => replaced("/dev/root"),
                    (place, "vfat") if place.starts_with("/boot") => replaced(boot),
                    _ => format!("# not on this disk: {line}"),
                }
            }
            _ => line.to_owned(),
        };
        text.push_str(&new);
        text.push('\n');
    }
    text
}

/// Whether the first word of a line of the file system table names a partition.
fn is_partition(device: &str) -> bool {
    ["UUID=", "PARTUUID=", "LABEL=", "PARTLABEL=", "/dev/"]
        .iter()
        .any(|prefix| device.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_on_the_new_disk_is_not_waited_for() {
        for (before, after) in [
            (
                "PARTUUID=4c4e106f-02  /  ext4  defaults,noatime  0  1",
                "/dev/root  /  ext4  defaults,noatime  0  1",
            ),
            ("/dev/sda1 / ext4 rw 0 1", "/dev/root / ext4 rw 0 1"),
            (
                "PARTUUID=4c4e106f-01 /boot/firmware vfat defaults 0 2",
                "/dev/mmcblk0p1 /boot/firmware vfat defaults 0 2",
            ),
            (
                "UUID=1234 none swap sw 0 0",
                "# not on this disk: UUID=1234 none swap sw 0 0",
            ),
            (
                "LABEL=home /home ext4 defaults 0 2",
                "# not on this disk: LABEL=home /home ext4 defaults 0 2",
            ),
            ("tmpfs /tmp tmpfs nosuid 0 0", "tmpfs /tmp tmpfs nosuid 0 0"),
            ("/swapfile none swap sw 0 0", "/swapfile none swap sw 0 0"),
            ("# UNCONFIGURED FSTAB", "# UNCONFIGURED FSTAB"),
            ("", ""),
        ] {
            assert_eq!(fstab(before, "/dev/mmcblk0p1").trim_end(), after);
        }
    }
}
