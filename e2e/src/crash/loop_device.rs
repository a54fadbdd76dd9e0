//! A file as a block device.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::tool::run;

/// A loop device. The kernel takes it down when the last who has it open is gone, and that is this
/// value at the latest, also when the program is killed.
#[derive(Debug)]
pub(crate) struct LoopDevice {
    path: PathBuf,
    _file: File,
}

impl LoopDevice {
    /// Makes `backing` a block device.
    pub(crate) fn attach(backing: &Path) -> Result<LoopDevice> {
        let found = run(Command::new("losetup")
            .args(["--find", "--show"])
            .arg(backing))?;
        let path = PathBuf::from(found.trim_end());
        let opened = File::options().read(true).write(true).open(&path);
        // Of a device that is open this says: as soon as it is not.
        run(Command::new("losetup").arg("--detach").arg(&path))?;
        let file = opened.with_context(|| format!("cannot open {}", path.display()))?;
        Ok(LoopDevice { path, _file: file })
    }

    /// `/dev/loopN`
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
