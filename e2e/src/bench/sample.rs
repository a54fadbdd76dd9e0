//! The image that is installed: a file system with this machine's own files, three quarters full.

use std::collections::VecDeque;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tandem_e2e::make_image;

use crate::interrupt::Interrupt;
use crate::workplace::Workplace;

/// An image, and how large it is.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Its file.
    pub(crate) path: PathBuf,
    /// In MiB.
    pub(crate) mib: u64,
}

/// Where the files come from, in this order.
const SOURCES: [&str; 3] = ["/usr/bin", "/usr/lib", "/usr/share"];

/// The bytes of files per 100 bytes of image.
const FULL: u64 = 73;

/// mke2fs makes one inode for every 16 KiB; some are left free.
const BYTES_PER_FILE: u64 = 24 << 10;

impl Image {
    /// Makes an image of `mib` MiB, unless the workplace has it from an earlier time.
    pub(crate) fn make(workplace: &Workplace, mib: u64, interrupt: &Interrupt) -> Result<Image> {
        let size = mib << 20;
        let path = workplace.once(&format!("rootfs-{mib}.ext4"), |image| {
            let tree = workplace.path("tree");
            if tree.exists() {
                fs::remove_dir_all(&tree)?;
            }
            fill(&tree, (size / 100).saturating_mul(FULL), interrupt)?;
            make_image(image, &tree, size)?;
            Ok(fs::remove_dir_all(&tree)?)
        })?;
        Ok(Image { path, mib })
    }
}

/// Copies `bytes` of files into `tree`, the same ones every time.
fn fill(tree: &Path, bytes: u64, interrupt: &Interrupt) -> Result<()> {
    let mut directories: VecDeque<PathBuf> = SOURCES.map(PathBuf::from).into();
    let mut left = bytes;
    let mut files_left = bytes / BYTES_PER_FILE;
    while let Some(directory) = directories.pop_front() {
        let copy = tree.join(directory.strip_prefix("/")?);
        fs::create_dir_all(&copy)?;
        for entry in sorted(&directory)? {
            interrupt.check()?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                directories.push_back(entry.path());
                continue;
            }
            let len = entry.metadata()?.len();
            if !kind.is_file() || len > left || files_left == 0 {
                continue;
            }
            fs::copy(entry.path(), copy.join(entry.file_name()))
                .with_context(|| format!("cannot copy {}", entry.path().display()))?;
            left = left.saturating_sub(len);
            files_left = files_left.saturating_sub(1);
        }
        if left < bytes / 100 || files_left == 0 {
            return Ok(());
        }
    }
    ensure!(
        left < bytes / 10,
        "this machine has too few files for such an image: use a smaller --size-mib"
    );
    Ok(())
}

fn sorted(directory: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}
