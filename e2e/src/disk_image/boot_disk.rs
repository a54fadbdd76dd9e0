//! A disk for boards whose U-Boot does not look for boot scripts where the real one lies. It stands
//! for what a board has compiled into its U-Boot: it starts the script on the NVMe disk.

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
    parts::single(
        disk,
        &fat,
        PARTITION,
        "label: dos\nlabel-id: 0x1\n2048,,c,*\n",
        time,
    )
}
