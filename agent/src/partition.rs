//! Writing a root part, and reading it back. The only code that touches one.
//!
//! Writes go past the page cache where the device allows it (`O_DIRECT`), in large aligned blocks:
//! that is fastest, and an update does not push everything else out of memory. Where it is refused
//! they go through the cache, and write-back starts early. Blocks that are already right are not
//! written again. There is exactly one flush after the last byte, in
//! [`Partition::flush`].

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::fcntl::{
    FallocateFlags, FcntlArg, OFlag, PosixFadviseAdvice, fallocate, fcntl, posix_fadvise,
};
use tandem_artifact::{Digest, Sha256};

use crate::block::{ALIGNMENT, BLOCK, Block};
use crate::read_ahead::read_ahead;
use crate::slots::Passive;
use crate::watchdog;

/// How long a device may take to write out what it has cached; the slowest cards need minutes.
const FLUSH_LIMIT: Duration = Duration::from_secs(600);

/// A root part that is being written.
#[derive(Debug)]
pub(crate) struct Partition {
    passive: Passive,
    file: File,
    size: u64,
    direct: bool,
    /// What the device has at the place of the block to be written.
    old: Block,
    luck: Luck,
    /// How many bytes were found to be right already.
    equal: u64,
    /// The device can be told that a part of it is zeros.
    punches: bool,
}

impl Partition {
    /// Opens the passive root part for writing. The kernel refuses if anyone uses it.
    ///
    /// # Errors
    /// When it cannot be opened, or is smaller than `needed` bytes.
    pub(crate) fn open(passive: Passive, needed: u64) -> Result<Partition> {
        let path = passive.path().to_owned();
        let attempt = || {
            format!(
                "cannot open rootfs part {} ({})",
                passive.slot(),
                path.display()
            )
        };
        let is_device = path
            .metadata()
            .with_context(attempt)?
            .file_type()
            .is_block_device();
        // On a block device O_EXCL fails while it is mounted or otherwise claimed, and keeps
        // everyone else from claiming it.
        let exclusive = if is_device {
            OFlag::O_EXCL
        } else {
            OFlag::empty()
        };
        let open = |flags: OFlag| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(flags.bits())
                .open(&path)
        };
        let (mut file, direct) = match open(exclusive | OFlag::O_DIRECT) {
            Ok(file) => (file, true),
            Err(err) if err.kind() == io::ErrorKind::InvalidInput => {
                (open(exclusive).with_context(attempt)?, false)
            }
            Err(err) => return Err(err).with_context(attempt),
        };
        let size = file.seek(SeekFrom::End(0)).with_context(attempt)?;
        ensure!(
            needed <= size,
            "the image has {needed} bytes, but rootfs part {} ({}) only {size}: make a smaller image or larger partitions",
            passive.slot(),
            path.display()
        );
        Ok(Partition {
            passive,
            file,
            size,
            direct,
            old: Block::new(),
            luck: Luck::default(),
            equal: 0,
            punches: true,
        })
    }

    /// Writes one block at `offset`, unless the device has it already.
    ///
    /// # Errors
    /// When the device does not take it, or it would reach over the end.
    pub(crate) fn write(&mut self, block: &Block, offset: u64) -> Result<()> {
        let bytes = block.bytes();
        self.check_end(offset, bytes.len() as u64)?;
        if self.luck.worth_a_look() {
            self.old.clear();
            let equal = self.old.read_at(&self.file, offset, bytes.len()).is_ok()
                && self.old.bytes() == bytes;
            self.luck.found(equal);
            if equal {
                self.leave(bytes.len() as u64);
                return Ok(());
            }
        }
        self.put(block, offset)
    }

    /// Writes one block at `offset`, whatever the device has.
    ///
    /// # Errors
    /// When the device does not take it, or it would reach over the end.
    pub(crate) fn put(&mut self, block: &Block, offset: u64) -> Result<()> {
        let bytes = block.bytes();
        self.check_end(offset, bytes.len() as u64)?;
        let attempt = || {
            let (slot, path) = (self.passive.slot(), self.passive.path().display());
            format!("cannot write rootfs part {slot} ({path}) at offset {offset}")
        };
        if self.direct && bytes.len() % ALIGNMENT != 0 {
            // Only the tail of an odd image: the cache completes the last sector.
            fcntl(&self.file, FcntlArg::F_SETFL(OFlag::empty())).with_context(attempt)?;
            self.direct = false;
        }
        self.file
            .write_all_at(bytes, offset)
            .with_context(attempt)?;
        if !self.direct {
            // Starts write-back now instead of when memory is full of it. Only advice.
            let (from, len) = (
                offset.try_into().unwrap_or(0),
                bytes.len().try_into().unwrap_or(0),
            );
            let _ = posix_fadvise(
                &self.file,
                from,
                len,
                PosixFadviseAdvice::POSIX_FADV_DONTNEED,
            );
        }
        Ok(())
    }

    /// Makes `len` bytes from `offset` on zeros: tells the device to forget them, or, where it does
    /// not know how, writes them.
    ///
    /// # Errors
    /// When the device takes neither, or they would reach over the end.
    pub(crate) fn put_zeros(&mut self, offset: u64, len: u64) -> Result<()> {
        self.check_end(offset, len)?;
        let punched = || {
            let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let (offset, len) = (offset.try_into().ok()?, len.try_into().ok()?);
            fallocate(&self.file, flags, offset, len).ok()
        };
        if self.punches && punched().is_some() {
            return Ok(());
        }
        self.punches = false;
        let mut zeros = Block::new();
        zeros.fill(&mut io::repeat(0))?;
        let mut written: u64 = 0;
        while written < len {
            let left = len.saturating_sub(written);
            zeros.truncate(usize::try_from(left).unwrap_or(BLOCK));
            self.put(&zeros, offset.saturating_add(written))?;
            written = written.saturating_add(zeros.bytes().len() as u64);
        }
        Ok(())
    }

    /// Appends `len` bytes of what the device has at `offset` to `block`.
    ///
    /// # Errors
    /// When it does not give them.
    pub(crate) fn read_into(&self, block: &mut Block, offset: u64, len: usize) -> Result<()> {
        block
            .read_at(&self.file, offset, len)
            .with_context(|| self.cannot("read"))
    }

    /// Gives the first `len` bytes of what the device has to `look`.
    ///
    /// # Errors
    /// When it does not give them, and those of `look`.
    pub(crate) fn scan(&self, len: u64, look: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        read_ahead(&self.file, len, look).with_context(|| self.cannot("read"))
    }

    /// Makes what was written so far durable, so that a power cut does not cost it. Not what the
    /// installation ends with.
    ///
    /// # Errors
    /// When the device reports that some of it is lost.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        watchdog::allow(FLUSH_LIMIT);
        self.file
            .sync_data()
            .with_context(|| self.cannot("make durable"))
    }

    fn check_end(&self, offset: u64, len: u64) -> Result<()> {
        ensure!(
            offset.checked_add(len).is_some_and(|end| end <= self.size),
            "the payload is larger than rootfs part {}",
            self.passive.slot()
        );
        Ok(())
    }

    fn cannot(&self, what: &str) -> String {
        let (slot, path) = (self.passive.slot(), self.passive.path().display());
        format!("cannot {what} rootfs part {slot} ({path})")
    }

    /// Makes everything that was written durable.
    ///
    /// # Errors
    /// When the device reports that some of it is lost.
    pub(crate) fn flush(&self) -> Result<()> {
        watchdog::allow(FLUSH_LIMIT);
        self.file
            .sync_all()
            .with_context(|| self.cannot("make durable"))
    }

    /// Counts `len` bytes that were found to be right already.
    pub(crate) fn leave(&mut self, len: u64) {
        self.equal = self.equal.saturating_add(len);
    }

    /// How many bytes did not have to be written.
    pub(crate) fn equal_bytes(&self) -> u64 {
        self.equal
    }

    /// The SHA-256 of the first `len` bytes as the device, not the cache, has them.
    ///
    /// # Errors
    /// When the device does not give them back.
    pub(crate) fn read_back(&mut self, len: u64) -> Result<Digest> {
        if !self.direct {
            // Pages that are clean, and after the flush all are, leave the cache at this advice.
            let _ = posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
        let mut sum = Sha256::new();
        self.scan(len, |bytes| {
            sum.update(bytes);
            Ok(())
        })?;
        Ok(sum.finish())
    }
}

/// Whether to look at what the device has before a block is written: always while that pays,
/// and now and then while it does not.
#[derive(Debug)]
struct Luck {
    /// How many more blocks are looked at without a hit.
    patience: u32,
    /// How many blocks have been passed over since the last look.
    passed: u32,
}

impl Default for Luck {
    fn default() -> Luck {
        Luck {
            patience: Luck::PATIENCE,
            passed: 0,
        }
    }
}

impl Luck {
    const PATIENCE: u32 = 8;
    const PROBE: u32 = 16;

    fn worth_a_look(&mut self) -> bool {
        self.passed = self.passed.saturating_add(1);
        if self.patience == 0 && self.passed < Luck::PROBE {
            return false;
        }
        self.passed = 0;
        true
    }

    fn found(&mut self, equal: bool) {
        self.patience = match equal {
            true => Luck::PATIENCE,
            false => self.patience.saturating_sub(1),
        };
    }
}
