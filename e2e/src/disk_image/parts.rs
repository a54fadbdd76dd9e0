//! The disk itself: its partition table, its FAT partition, and what is copied where.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::ext4::{Addition, Content};
use super::layout::{Layout, Part, mib};
use super::tool::Tool;
use super::uuid::Uuid;

/// The kind of partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// GUID partition table.
    Gpt,
    /// The old one, which some boards' boot loaders need.
    Dos,
}

/// Writes the partition table to the file `disk`, which has its full size.
///
/// # Errors
/// When `sfdisk` fails.
pub(crate) fn write_table(
    disk: &Path,
    layout: &Layout,
    table: Table,
    seed: &str,
    efi: bool,
    time: u64,
) -> Result<()> {
    let id = |what: &str| Uuid::from_seed(&format!("{seed} {what}"));
    let label = id("disk");
    let mut script = match table {
        Table::Gpt => format!("label: gpt\nlabel-id: {label}\nunit: sectors\n"),
        Table::Dos => format!(
            "label: dos\nlabel-id: {:#010x}\nunit: sectors\n",
            label.short()
        ),
    };
    for (name, part) in layout.partitions() {
        let kind = match (table, name == "boot", efi) {
            (Table::Gpt, true, true) => "U",
            (Table::Gpt, true, false) => "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
            (Table::Dos, true, true) => "ef",
            (Table::Dos, true, false) => "c",
            (_, false, _) => "L",
        };
        script.push_str(&format!(
            "start={}, size={}, type={kind}",
            part.start / 512,
            part.size / 512
        ));
        if table == Table::Gpt {
            script.push_str(&format!(", uuid={}, name={name}", id(name)));
        }
        // Boot loaders look for boot scripts on bootable partitions.
        if name == "boot" {
            script.push_str(match table {
                Table::Gpt => ", attrs=LegacyBIOSBootable",
                Table::Dos => ", bootable",
            });
        }
        script.push('\n');
    }
    partition(disk, &script, time)
}

/// Writes the partition table that `script` describes to the file `disk`.
///
/// # Errors
/// When `sfdisk` fails.
pub(crate) fn partition(disk: &Path, script: &str, time: u64) -> Result<()> {
    let work = tempfile::tempdir()?;
    let file = work.path().join("table");
    #[expect(clippy::disallowed_methods, reason = "a temporary file")]
    fs::write(&file, script)?;
    Tool::new("sfdisk", "fdisk", time)
        .args(["-q", "--no-reread", "--no-tell-kernel"])
        .arg(disk)
        .stdin(&file)?
        .run()
        .context("cannot make the partition table")?;
    Ok(())
}

/// Makes a disk in the file `disk` with one partition, which `script` describes and `image` fills.
///
/// # Errors
/// When it cannot be written, or `sfdisk` fails.
pub(crate) fn single(disk: &Path, image: &Path, part: Part, script: &str, time: u64) -> Result<()> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(disk)
        .with_context(|| format!("cannot write {}", disk.display()))?;
    file.set_len(part.end())?;
    partition(disk, script, time)?;
    copy(image, &mut file, part)
}

/// Makes a FAT file system in the new file `image`.
///
/// # Errors
/// When the files do not fit, or a tool fails.
pub(crate) fn make_fat(
    image: &Path,
    size: u64,
    files: &[Addition],
    seed: &str,
    time: u64,
) -> Result<()> {
    File::options()
        .write(true)
        .create_new(true)
        .open(image)?
        .set_len(size)?;
    let id = Uuid::from_seed(&format!("{seed} boot")).short();
    Tool::new("mkfs.vfat", "dosfstools", time)
        .args(["--invariant", "-n", "BOOT", "-i", &format!("{id:08x}")])
        .arg(image)
        .run()
        .context("cannot make the boot partition")?;
    let mut made = Vec::new();
    let work = tempfile::tempdir()?;
    for (index, file) in files.iter().enumerate() {
        let path = file.path.strip_prefix("/").unwrap_or(&file.path);
        let attempt = || {
            format!(
                "cannot put {} on the boot partition (if it is full, make it larger: --boot-size)",
                path.display()
            )
        };
        let dirs: Vec<_> = path.ancestors().skip(1).collect();
        for dir in dirs.into_iter().rev() {
            if !dir.as_os_str().is_empty() && !made.contains(&dir.to_owned()) {
                Tool::new("mmd", "mtools", time)
                    .arg("-i")
                    .arg(image)
                    .arg(format!("::{}", dir.display()))
                    .run()
                    .with_context(attempt)?;
                made.push(dir.to_owned());
            }
        }
        let source = match &file.content {
            Content::File(source) => source.clone(),
            Content::Bytes(bytes) => {
                let source = work.path().join(index.to_string());
                #[expect(clippy::disallowed_methods, reason = "a temporary file")]
                fs::write(&source, bytes)?;
                source
            }
            // A FAT has no links, and the directories are there.
            Content::Directory | Content::Link(_) => continue,
        };
        Tool::new("mcopy", "mtools", time)
            .arg("-i")
            .arg(image)
            .arg(source)
            .arg(format!("::{}", path.display()))
            .run()
            .with_context(attempt)?;
    }
    Ok(())
}

/// Copies a file to a part of the disk; what is zero stays a hole.
///
/// # Errors
/// When it does not fit.
pub(crate) fn copy(source: &Path, disk: &mut File, part: Part) -> Result<()> {
    let mut file =
        File::open(source).with_context(|| format!("cannot open {}", source.display()))?;
    let size = file.metadata()?.len();
    ensure!(
        size <= part.size,
        "{} ({}) does not fit into {}",
        source.display(),
        mib(size),
        mib(part.size)
    );
    copy_sparse(&mut file, disk, part.start).map(drop)
}

/// Copies what can be read to `offset`; what is zero stays a hole. How much it was.
///
/// # Errors
/// When it cannot be read or written.
pub(crate) fn copy_sparse(source: &mut dyn Read, file: &mut File, offset: u64) -> Result<u64> {
    let mut block = vec![0; 1 << 16];
    let mut copied = 0_u64;
    loop {
        let count = source.read(&mut block)?;
        let block = block.get(..count).unwrap_or_default();
        if block.is_empty() {
            return Ok(copied);
        }
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, offset.saturating_add(copied))?;
        }
        copied = copied.saturating_add(count as u64);
    }
}

/// Puts a file where no partition is, such as a board's own boot loader.
///
/// # Errors
/// When it would overwrite something.
pub(crate) fn copy_blob(
    source: &Path,
    offset: u64,
    disk: &mut File,
    layout: &Layout,
    table: Table,
) -> Result<()> {
    let size = fs::metadata(source)
        .with_context(|| format!("cannot open {}", source.display()))?
        .len();
    let part = Part {
        start: offset,
        size,
    };
    let taken_by_table = match table {
        Table::Gpt => 34 * 512,
        Table::Dos => 512,
    };
    let table = Part {
        start: 0,
        size: taken_by_table,
    };
    let environment = layout.environment.into_iter().flatten();
    let taken = [("the partition table", table)]
        .into_iter()
        .chain(environment.map(|copy| ("the environment", copy)))
        .chain(layout.partitions());
    for (what, taken) in taken {
        ensure!(
            part.end() <= taken.start || part.start >= taken.end(),
            "{} at {offset:#x} would overwrite {what} ({:#x} to {:#x})",
            source.display(),
            taken.start,
            taken.end()
        );
    }
    let mut bytes = Vec::new();
    File::open(source)?.read_to_end(&mut bytes)?;
    disk.seek(SeekFrom::Start(offset))?;
    disk.write_all(&bytes)?;
    Ok(())
}
