//! The passive root part, in memory: what is measured is the program, not a disk.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use tandem_e2e::LoopDevice;

use crate::interrupt::Interrupt;
use crate::workplace::Workplace;

/// The passive root part.
#[derive(Debug)]
pub(crate) struct Slot {
    device: LoopDevice,
    size: u64,
}

/// How much is filled or compared at a time.
const PIECE: usize = 1 << 20;

/// What stands in the slot before every run; no block of a file system looks like it.
static OLD: [u8; PIECE] = [0xA5; PIECE];

impl Slot {
    /// Makes one of `size` bytes, a multiple of 1 MiB.
    pub(crate) fn create(workplace: &Workplace, size: u64, interrupt: &Interrupt) -> Result<Slot> {
        // The file system needs a little for itself.
        let options = format!("size={},mode=700", size.saturating_add(16 << 20));
        let memory = workplace.mount("memory", Path::new("tmpfs"), "tmpfs", &options)?;
        let file = memory.join("slot");
        #[expect(clippy::disallowed_methods, reason = "it is memory")]
        File::create(&file)?.set_len(size)?;
        let device = LoopDevice::attach(&file, |command| interrupt.run(command))?;
        Ok(Slot { device, size })
    }

    /// Its device.
    pub(crate) fn device(&self) -> &LoopDevice {
        &self.device
    }

    /// Overwrites everything, and empties the cache.
    pub(crate) fn fill(&self, interrupt: &Interrupt) -> Result<()> {
        let attempt = || format!("cannot fill the slot {}", self.device.path().display());
        for offset in (0..self.size).step_by(PIECE) {
            interrupt.check()?;
            self.device
                .file()
                .write_all_at(&OLD, offset)
                .with_context(attempt)?;
        }
        self.settle().with_context(attempt)
    }

    /// Whether it begins with these bytes, to their end.
    pub(crate) fn holds(&self, image: &Path, interrupt: &Interrupt) -> Result<bool> {
        self.settle()?;
        let mut file = File::open(image)?;
        let (mut wanted, mut found) = (vec![0; PIECE], vec![0; PIECE]);
        let mut offset: u64 = 0;
        loop {
            interrupt.check()?;
            let count = file.read(&mut wanted)?;
            if count == 0 {
                return Ok(true);
            }
            let wanted = wanted.get(..count).unwrap_or_default();
            let found = found.get_mut(..count).unwrap_or_default();
            self.device.file().read_exact_at(found, offset)?;
            if wanted != found {
                return Ok(false);
            }
            offset = offset.saturating_add(count as u64);
        }
    }

    /// Writes out what the cache holds for it, and lets go of it.
    pub(crate) fn settle(&self) -> Result<()> {
        self.device.file().sync_all()?;
        posix_fadvise(
            self.device.file(),
            0,
            0,
            PosixFadviseAdvice::POSIX_FADV_DONTNEED,
        )?;
        Ok(())
    }
}
