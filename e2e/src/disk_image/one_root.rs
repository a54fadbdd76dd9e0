//! A disk with one root file system, as systems without updates have it: what the first release of
//! the virtual machines is converted from.

use std::path::Path;

use anyhow::{Context, Result};

use super::ext4::{self, Format};
use super::layout::{MIB, Part};
use super::parts;
use super::tree::Tree;

/// Makes such a disk in the new file `disk` of the files in `archive`, with a root file system of
/// `size` bytes.
///
/// # Errors
/// When the files do not fit, or a tool fails.
pub(crate) fn make(archive: &Path, disk: &Path, size: u64, time: u64) -> Result<()> {
    let work = tempfile::tempdir().context("cannot make a temporary directory")?;
    let tree = Tree::archive(archive, time)?;
    let image = work.path().join("root.ext4");
    let format = Format {
        size,
        label: "root",
        seed: "one root",
        journal: false,
        time,
    };
    ext4::make(&image, tree.path(), tree.facts(), &format)?;
    let root = Part { start: MIB, size };
    parts::single(
        disk,
        &image,
        root,
        "label: dos\nlabel-id: 0x2\n2048,,L\n",
        time,
    )
}
