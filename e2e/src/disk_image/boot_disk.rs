//! A disk for boards whose U-Boot does not look for boot scripts where the real one lies. It stands
//! for what a board has compiled into its U-Boot: it starts the script on the NVMe disk.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};

use super::chain::compile;
use super::ext4::{Addition, Content};
use super::layout::{MIB, Part};
use super::parts;

/// The script. The address is one that neither the other script nor a kernel uses.
const SCRIPT: &str = "nvme scan\nload nvme 0:1 6000000 /boot.scr\nsource 6000000\n";

/// Its one partition.
const PARTITION: Part = Part {
    start: MIB,
    size: 7 * MIB,
};

/// Makes such a disk in the file `disk`.
///
/// # Errors
/// When a tool fails.
pub(crate) fn make(disk: &Path, time: u64) -> Result<()> {
    let work = tempfile::tempdir().context("cannot make a temporary directory")?;
    let work = work.path();
    let files = [Addition {
        path: "boot.scr".into(),
        mode: 0o644,
        content: Content::File(compile(SCRIPT, "x86", work, time)?),
    }];
    let fat = work.join("boot.vfat");
    parts::make_fat(&fat, PARTITION.size, &files, "boot disk", time)?;
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(disk)
        .with_context(|| format!("cannot write {}", disk.display()))?;
    file.set_len(PARTITION.end())?;
    parts::partition(disk, "label: dos\nlabel-id: 0x1\n2048,,c,*\n", time)?;
    parts::copy(&fat, &mut file, PARTITION)
}
