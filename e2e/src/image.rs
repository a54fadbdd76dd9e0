//! Real ext4 images from real files, without root.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Makes an ext4 image of `size` bytes at `image` with the files in `tree`. The same tree gives
/// the same image, but for the times in it.
///
/// # Errors
/// When `mke2fs` (Debian: `e2fsprogs`) is missing or fails.
pub fn make_image(image: &Path, tree: &Path, size: u64) -> Result<()> {
    let attempt = || format!("cannot make the image {}", image.display());
    // mke2fs takes the size in units of 1 KiB.
    let made = Command::new("mke2fs")
        .args([
            "-q",
            "-F",
            "-t",
            "ext4",
            "-O",
            "^has_journal",
            "-E",
            "root_owner=0:0",
            "-d",
        ])
        .arg(tree)
        .arg(image)
        .arg((size >> 10).to_string())
        .output()
        .with_context(attempt)?;
    ensure!(
        made.status.success(),
        "{}: {}",
        attempt(),
        String::from_utf8_lossy(&made.stderr)
    );
    Ok(())
}

/// Copies the files of an ext4 image into the directory `tree`, which must exist.
///
/// # Errors
/// When the image is not a whole ext4 file system, or `debugfs` or `e2fsck` is missing.
pub(crate) fn extract(image: &Path, tree: &Path) -> Result<()> {
    let attempt = || format!("cannot read the file system in {}", image.display());
    let checked = Command::new("e2fsck")
        .arg("-fn")
        .arg(image)
        .output()
        .with_context(attempt)?;
    ensure!(checked.status.success(), "{}: it is damaged", attempt());
    let request = format!("rdump / \"{}\"", tree.display());
    let read = Command::new("debugfs")
        .arg("-R")
        .arg(request)
        .arg(image)
        .output()
        .with_context(attempt)?;
    ensure!(read.status.success(), "{}", attempt());
    Ok(())
}
