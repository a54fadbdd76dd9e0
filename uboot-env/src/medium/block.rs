//! A block device, and what is special about the hardware boot partitions of an eMMC.
//!
//! Those (`/dev/mmcblk0boot0`) are read-only until `0` is written to their `force_ro` in sysfs. Every
//! MMC disk has that file, so no name has to be guessed: what says `1` is switched for the write and
//! back again afterwards.
//!
//! DIFFERS: libubootenv goes by the name and knows only one-digit ones, and it does not look whether
//! the device was protected before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::{Geometry, Kind, Medium, length_by_seeking};

pub(crate) struct Block {
    file: File,
    geometry: Geometry,
    /// Its directory in sysfs.
    described: PathBuf,
}

impl Block {
    pub(crate) fn new(
        mut file: File,
        identity: (u64, u64),
        described: PathBuf,
    ) -> io::Result<Self> {
        let length = length_by_seeking(&mut file)?;
        Ok(Self {
            file,
            geometry: Geometry {
                kind: Kind::Block,
                length,
                identity,
            },
            described,
        })
    }
}

impl Medium for Block {
    fn geometry(&self) -> Geometry {
        self.geometry.clone()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        // Only advice: if it is not taken the next read checks the page cache instead of the device.
        let _ = posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        Ok(())
    }

    fn set_protected(&mut self, _range: Range<u64>, protected: bool) -> io::Result<bool> {
        let switch = self.described.join("force_ro");
        match fs::read(&switch) {
            Ok(state) if state.first() == Some(&b'1') => {}
            Ok(_) if protected => {}
            Ok(_) => return Ok(false),
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(err) => return Err(err),
        }
        turn(&switch, protected)?;
        Ok(!protected)
    }
}

fn turn(switch: &Path, on: bool) -> io::Result<()> {
    let state: &[u8] = if on { b"1" } else { b"0" };
    OpenOptions::new()
        .write(true)
        .open(switch)?
        .write_all(state)
}
