//! The running root part, as a place to find blocks of the next one. It is only ever read, and may
//! change while it is: who takes something from it checks what came.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::fcntl::OFlag;

use crate::block::Block;
use crate::read_ahead::read_ahead;

/// The running root part.
#[derive(Debug)]
pub(crate) struct Seed {
    file: File,
    size: u64,
}

impl Seed {
    /// Opens it, past the page cache where that is possible: reading all of it must not push
    /// everything else out of memory.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open(path: &Path) -> Result<Seed> {
        let open = |flags: OFlag| {
            OpenOptions::new()
                .read(true)
                .custom_flags(flags.bits())
                .open(path)
        };
        let opened = match open(OFlag::O_DIRECT) {
            Err(err) if err.kind() == io::ErrorKind::InvalidInput => open(OFlag::empty()),
            opened => opened,
        };
        let attempt = || format!("cannot read the running rootfs part ({})", path.display());
        let mut file = opened.with_context(attempt)?;
        let size = file.seek(SeekFrom::End(0)).with_context(attempt)?;
        Ok(Seed { file, size })
    }

    /// Gives its first `len` bytes, or all if they are fewer, to `look`.
    ///
    /// # Errors
    /// When it cannot be read, and those of `look`.
    pub(crate) fn scan(&self, len: u64, look: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        read_ahead(&self.file, len.min(self.size), look)
            .context("cannot read the running rootfs part")
    }

    /// Appends `len` bytes from `offset` on to `block`, or as many as there are.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn read_into(&self, block: &mut Block, offset: u64, len: usize) -> Result<()> {
        block
            .read_at(&self.file, offset, len)
            .context("cannot read the running rootfs part")
    }
}
