//! A file as a block device.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// A loop device. The kernel takes it down when the last who has it open is gone, and that is this
/// value at the latest, also when the program is killed.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    file: File,
}

impl LoopDevice {
    /// Makes `backing` a block device, with commands that `run` runs: it answers with what they wrote, if all
    /// went well.
    ///
    /// # Errors
    /// Those of `run`; a device that cannot be opened (this needs root).
    pub fn attach(
        backing: &Path,
        mut run: impl FnMut(&mut Command) -> Result<Vec<u8>>,
    ) -> Result<LoopDevice> {
        let found = run(Command::new("losetup")
            .args(["--find", "--show"])
            .arg(backing))?;
        let path = PathBuf::from(String::from_utf8(found)?.trim_end());
        // The device remembers what whoever had it before made of it.
        run(Command::new("blockdev").arg("--setrw").arg(&path))?;
        let opened = File::options().read(true).write(true).open(&path);
        // Of a device that is open this says: as soon as it is not.
        run(Command::new("losetup").arg("--detach").arg(&path))?;
        let file = opened.with_context(|| format!("cannot open {}", path.display()))?;
        Ok(LoopDevice { path, file })
    }

    /// `/dev/loopN`
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The device, open for reading and writing.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The number at the end of its name, by which a boot loader would know it.
    ///
    /// # Errors
    /// If it has none.
    pub fn number(&self) -> Result<u32> {
        let name = self.path.to_string_lossy();
        let number = name.strip_prefix("/dev/loop");
        Ok(number
            .with_context(|| format!("{name} is no loop device"))?
            .parse()?)
    }

    /// What has gone to and from the device so far (Documentation/block/stat.rst of the kernel).
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn traffic(&self) -> Result<Traffic> {
        /// The unit of the kernel's figures, whatever the device's is.
        const SECTOR: u64 = 512;
        let stat = fs::read_to_string(format!("/sys/block/loop{}/stat", self.number()?))?;
        let figure = |number: usize| -> Result<u64> {
            let figure = stat.split_whitespace().nth(number);
            Ok(figure
                .context("this kernel does not count what goes to a device")?
                .parse()?)
        };
        Ok(Traffic {
            read: figure(2)?.saturating_mul(SECTOR),
            written: figure(6)?.saturating_mul(SECTOR),
            flushes: figure(15)?,
        })
    }
}

/// What has gone to and from a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes read from it.
    pub read: u64,
    /// Bytes written to it.
    pub written: u64,
    /// How often it was told to make durable what it has in its cache.
    pub flushes: u64,
}

impl Traffic {
    /// What has come since `before`.
    #[must_use]
    pub fn since(self, before: Traffic) -> Traffic {
        Traffic {
            read: self.read.saturating_sub(before.read),
            written: self.written.saturating_sub(before.written),
            flushes: self.flushes.saturating_sub(before.flushes),
        }
    }
}
