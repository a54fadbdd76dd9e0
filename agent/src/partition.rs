//! Writing a root part, and reading it back. The only code that touches one.
//!
//! Writes go past the page cache where the device allows it (`O_DIRECT`), in large aligned blocks:
//! that is fastest, and an update does not push everything else out of memory. Where it is refused
//! they go through the cache, and write-back starts early. Blocks that are already right are not
//! written again. There is exactly one flush, in [`Partition::flush`], after the last byte.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use nix::fcntl::{FcntlArg, OFlag, PosixFadviseAdvice, fcntl, posix_fadvise};
use tandem_artifact::{Digest, Sha256};

use crate::slots::Passive;
use crate::watchdog;

/// The unit of reading, comparing and writing. Below 256 KiB the system calls show; above 512 KiB
/// nothing is gained but memory lost.
pub(crate) const BLOCK: usize = 512 << 10;

/// What `O_DIRECT` asks of addresses, offsets and lengths, on every device in use.
const ALIGNMENT: usize = 4096;

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
}

/// One aligned piece of the payload.
#[derive(Debug)]
pub(crate) struct Block {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Block {
    /// Room for [`BLOCK`] bytes.
    pub(crate) fn new() -> Block {
        let memory = vec![0; BLOCK.saturating_add(ALIGNMENT)];
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Block {
            memory,
            start,
            len: 0,
        }
    }

    /// The bytes that it holds.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory
            .get(self.start..self.start.saturating_add(self.len))
            .unwrap_or_default()
    }

    /// Fills it from `source`, to the brim unless the source ends.
    ///
    /// # Errors
    /// Those of the source.
    pub(crate) fn fill(&mut self, source: &mut impl Read) -> io::Result<()> {
        self.len = 0;
        let end = self.start.saturating_add(BLOCK);
        let mut room = self.memory.get_mut(self.start..end).unwrap_or_default();
        while !room.is_empty() {
            match source.read(room) {
                Ok(0) => break,
                Ok(count) => {
                    self.len = self.len.saturating_add(count);
                    room = room.get_mut(count..).unwrap_or_default();
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }

    /// Reads `len` bytes at `offset`, or as many as there are.
    fn read_at(&mut self, file: &File, offset: u64, len: usize) -> io::Result<()> {
        self.len = 0;
        let end = self.start.saturating_add(len.min(BLOCK));
        let mut room = self.memory.get_mut(self.start..end).unwrap_or_default();
        while !room.is_empty() {
            match file.read_at(room, offset.saturating_add(self.len as u64)) {
                Ok(0) => break,
                Ok(count) => {
                    self.len = self.len.saturating_add(count);
                    room = room.get_mut(count..).unwrap_or_default();
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }
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
        })
    }

    /// Writes one block at `offset`, unless the device has it already.
    ///
    /// # Errors
    /// When the device does not take it, or it would reach over the end.
    pub(crate) fn write(&mut self, block: &Block, offset: u64) -> Result<()> {
        let bytes = block.bytes();
        let end = offset.saturating_add(bytes.len() as u64);
        ensure!(
            end <= self.size,
            "the payload is larger than rootfs part {}",
            self.passive.slot()
        );
        if self.luck.worth_a_look() {
            let equal = self.old.read_at(&self.file, offset, bytes.len()).is_ok()
                && self.old.bytes() == bytes;
            self.luck.found(equal);
            if equal {
                self.equal = self.equal.saturating_add(bytes.len() as u64);
                return Ok(());
            }
        }
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

    /// Makes everything that was written durable.
    ///
    /// # Errors
    /// When the device reports that some of it is lost.
    pub(crate) fn flush(&self) -> Result<()> {
        watchdog::allow(FLUSH_LIMIT);
        self.file.sync_all().with_context(|| {
            format!(
                "cannot make rootfs part {} ({}) durable",
                self.passive.slot(),
                self.passive.path().display()
            )
        })
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
        let attempt = || {
            format!(
                "cannot read rootfs part {} ({}) back",
                self.passive.slot(),
                self.passive.path().display()
            )
        };
        if !self.direct {
            // Pages that are clean, and after the flush all are, leave the cache at this advice.
            let _ = posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
        let file = &self.file;
        let (free, blocks) = sync_channel::<Block>(2);
        let (full, filled) = sync_channel::<Block>(2);
        thread::scope(|scope| {
            let hasher = scope.spawn(move || {
                let mut sum = Sha256::new();
                let mut left = len;
                for block in filled {
                    let bytes = block.bytes();
                    let count =
                        usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    sum.update(bytes.get(..count).unwrap_or_default());
                    left = left.saturating_sub(count as u64);
                    // The reader is gone when it has read everything.
                    let _ = free.send(block);
                }
                (sum.finish(), left)
            });
            let mut spare = vec![Block::new(), Block::new()];
            let mut offset = 0;
            while offset < len {
                watchdog::alive();
                let mut block = match spare.pop() {
                    Some(block) => block,
                    None => blocks
                        .recv()
                        .map_err(|_| anyhow!("the hash was not finished"))?,
                };
                block.read_at(file, offset, BLOCK).with_context(attempt)?;
                ensure!(
                    !block.bytes().is_empty(),
                    "rootfs part {} ends early",
                    self.passive.slot()
                );
                offset = offset.saturating_add(block.bytes().len() as u64);
                if full.send(block).is_err() {
                    break;
                }
            }
            drop(full);
            let (sum, left) = hasher
                .join()
                .map_err(|_| anyhow!("the hash was not finished"))?;
            ensure!(left == 0, "rootfs part {} ends early", self.passive.slot());
            Ok(sum)
        })
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
