//! What a device offers to those who keep an environment on it.
//!
//! [`Medium`] is the seam between deciding and doing: the [`crate::Store`] above it decides what is
//! written where and in which order, an implementation below it carries out single operations. Tests
//! put a recorder there and replay every prefix and every torn piece of what was asked for.

mod block;
mod file;
mod ioctl;
mod mtd;
pub(crate) mod nand;
pub(crate) mod nor;
mod replacement;
mod ubi;

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::{major, minor};

/// An open device, one operation at a time.
pub trait Medium {
    /// What it is.
    fn geometry(&self) -> Geometry;

    /// Fills the buffer from this offset on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the device ends first; what the device says.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of the bytes. They count as stored only after [`Medium::sync`].
    ///
    /// # Errors
    /// What the device says; any part of the bytes may then be written.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was written survive a power cut, and lets the next read see the device itself
    /// rather than a cache where that is possible.
    ///
    /// # Errors
    /// What the device says; nothing is known then about what was written.
    fn sync(&mut self) -> io::Result<()>;

    /// Prepares a range for being written: erases flash, opens a UBI volume for as many bytes.
    ///
    /// # Errors
    /// What the device says.
    fn erase(&mut self, range: Range<u64>) -> io::Result<()> {
        let _ = range;
        Ok(())
    }

    /// Whether the erase block that begins here must not be used (NAND).
    ///
    /// # Errors
    /// What the device says.
    fn is_bad(&mut self, block: u64) -> io::Result<bool> {
        let _ = block;
        Ok(false)
    }

    /// Protects a range against writing, or takes the protection away, and says whether it was
    /// protected before.
    ///
    /// # Errors
    /// What the device says.
    fn set_protected(&mut self, range: Range<u64>, protected: bool) -> io::Result<bool> {
        let _ = (range, protected);
        Ok(false)
    }
}

/// What a device is, as far as the place of a copy on it depends on that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// What is done to write on it.
    pub kind: Kind,
    /// Bytes.
    pub length: u64,
    /// Equal for two paths of one device: device and inode number, or 0 and device number.
    pub identity: (u64, u64),
}

/// The kinds of device that differ in how a copy is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A disk, eMMC, SD card, their partitions and hardware boot partitions.
    Block,
    /// NOR flash: erased by blocks to ones, written bit by bit to zeros.
    Nor {
        /// Bytes that are erased together.
        erase_size: u64,
    },
    /// NAND flash: erased by blocks, written by pages, with bad blocks to skip.
    Nand {
        /// Bytes that are erased together.
        erase_size: u64,
        /// Bytes that are written together.
        page_size: u64,
    },
    /// A UBI volume, written as a whole.
    Volume,
}

/// What a device is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Writing in place.
    Write,
    /// A regular file is written beside itself and then renamed over, so that a power cut leaves the
    /// old one or the new one; all of it is replaced. Where its directory does not allow that, and
    /// for anything but a file, this is [`Access::Write`].
    Replace,
}

/// Opens what the kernel has. The roots of its two trees are `/dev` and `/sys`, except in tests.
#[derive(Clone, Debug)]
pub struct Devices {
    /// Where UBI volumes are found by number.
    pub dev: PathBuf,
    /// Where devices are described.
    pub sys: PathBuf,
}

impl Default for Devices {
    fn default() -> Self {
        Self {
            dev: PathBuf::from("/dev"),
            sys: PathBuf::from("/sys"),
        }
    }
}

impl Devices {
    /// Opens a device or file.
    ///
    /// # Errors
    /// What the kernel says; [`io::ErrorKind::Unsupported`] for what no environment can lie on.
    pub fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn Medium>> {
        match self.open_existing(path, access) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => match ubi::resolve(self, path)? {
                Some(volume) => self.open_existing(&volume, access),
                None => Err(err),
            },
            other => other,
        }
    }

    fn open_existing(&self, path: &Path, access: Access) -> io::Result<Box<dyn Medium>> {
        let file = OpenOptions::new()
            .read(true)
            .write(access == Access::Write)
            // A FIFO in the place of a device must not hold us up before we see what it is.
            .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
            .open(path)?;
        let metadata = file.metadata()?;
        let file_type = metadata.file_type();
        if file_type.is_file() {
            let identity = (metadata.dev(), metadata.ino());
            let geometry = Geometry {
                kind: Kind::File,
                length: metadata.len(),
                identity,
            };
            return file::open(path, file, &metadata, geometry, access);
        }
        let file = match access {
            Access::Replace => return self.open_existing(path, Access::Write),
            Access::Read | Access::Write => file,
        };
        let device = metadata.rdev();
        let identity = (0, device);
        if file_type.is_block_device() {
            Ok(Box::new(block::Block::new(
                file,
                identity,
                self.described("block", device),
            )?))
        } else if file_type.is_char_device() && major(device) == MTD_MAJOR {
            Ok(Box::new(mtd::Mtd::new(file, identity)?))
        } else if file_type.is_char_device() && self.is_ubi(device) {
            Ok(Box::new(ubi::Volume::new(file, identity)?))
        } else {
            Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "it is neither a file nor a block device, flash partition or UBI volume",
            ))
        }
    }

    fn is_ubi(&self, device: u64) -> bool {
        let subsystem = self.described("char", device).join("subsystem").read_link();
        subsystem.is_ok_and(|target| target.ends_with("ubi"))
    }

    /// The directory that describes a device.
    fn described(&self, class: &str, device: u64) -> PathBuf {
        self.sys
            .join(format!("dev/{class}/{}:{}", major(device), minor(device)))
    }
}

/// The end of a device, for kinds that know it only by seeking there.
fn length_by_seeking(file: &mut File) -> io::Result<u64> {
    io::Seek::seek(file, io::SeekFrom::End(0))
}

/// The kernel's fixed number for MTD character devices.
const MTD_MAJOR: u64 = 90;
