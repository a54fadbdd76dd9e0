//! A flash partition by its MTD character device (`/dev/mtd3`).

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::ioctl::{self, MTD_NANDFLASH, MTD_NORFLASH};
use super::{Geometry, Kind, Medium};

pub(crate) struct Mtd {
    file: File,
    geometry: Geometry,
}

impl Mtd {
    pub(crate) fn new(file: File, identity: (u64, u64)) -> io::Result<Self> {
        let info = ioctl::mtd_info(&file)?;
        let erase_size = u64::from(info.erasesize);
        let kind = match info.kind {
            MTD_NORFLASH => Kind::Nor { erase_size },
            MTD_NANDFLASH => Kind::Nand {
                erase_size,
                page_size: u64::from(info.writesize),
            },
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "this flash is neither NOR nor single-level NAND",
                ));
            }
        };
        Ok(Self {
            file,
            geometry: Geometry {
                kind,
                length: u64::from(info.size),
                identity,
            },
        })
    }
}

impl Medium for Mtd {
    fn geometry(&self) -> Geometry {
        self.geometry.clone()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// The driver has written before it returns; there is nothing to wait for.
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn erase(&mut self, range: Range<u64>) -> io::Result<()> {
        ioctl::mtd_erase(&self.file, range)
    }

    fn is_bad(&mut self, block: u64) -> io::Result<bool> {
        match self.geometry.kind {
            Kind::Nand { .. } => ioctl::mtd_is_bad(&self.file, block),
            Kind::File | Kind::Block | Kind::Nor { .. } | Kind::Volume => Ok(false),
        }
    }

    /// Chips that cannot say whether they are locked are unlocked on trial, as libubootenv does, and
    /// locked again if that went well.
    fn set_protected(&mut self, range: Range<u64>, protected: bool) -> io::Result<bool> {
        if protected {
            ioctl::mtd_lock(&self.file, range)?;
            return Ok(false);
        }
        match ioctl::mtd_is_locked(&self.file, range.clone()) {
            Ok(true) => ioctl::mtd_unlock(&self.file, range).map(|()| true),
            Ok(false) => Ok(false),
            Err(_) => Ok(ioctl::mtd_unlock(&self.file, range).is_ok()),
        }
    }
}
