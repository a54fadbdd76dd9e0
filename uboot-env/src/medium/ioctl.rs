//! The kernel's flash interface: `mtd/mtd-abi.h` and `mtd/ubi-user.h`, each call as a safe function.
#![expect(
    unsafe_code,
    reason = "ioctls are the only interface that MTD and UBI have"
)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

use nix::{ioctl_read, ioctl_write_ptr};

/// `struct mtd_info_user`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MtdInfo {
    pub(crate) kind: u8,
    pub(crate) flags: u32,
    pub(crate) size: u32,
    pub(crate) erasesize: u32,
    pub(crate) writesize: u32,
    oobsize: u32,
    padding: u64,
}

/// [`MtdInfo::kind`]: NOR flash.
pub(crate) const MTD_NORFLASH: u8 = 3;
/// [`MtdInfo::kind`]: NAND flash with one bit a cell.
pub(crate) const MTD_NANDFLASH: u8 = 4;

/// `struct erase_info_user`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct EraseInfo {
    start: u32,
    length: u32,
}

/// `struct ubi_attach_req`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct UbiAttach {
    ubi_num: i32,
    mtd_num: i32,
    vid_hdr_offset: i32,
    max_beb_per1024: i16,
    padding: [u8; 10],
}

ioctl_read!(memgetinfo, b'M', 1, MtdInfo);
ioctl_write_ptr!(memerase, b'M', 2, EraseInfo);
ioctl_write_ptr!(memlock, b'M', 5, EraseInfo);
ioctl_write_ptr!(memunlock, b'M', 6, EraseInfo);
ioctl_write_ptr!(memgetbadblock, b'M', 11, i64);
ioctl_read!(memislocked, b'M', 23, EraseInfo);
ioctl_write_ptr!(ubi_iocvolup, b'O', 0, i64);
ioctl_write_ptr!(ubi_iocatt, b'o', 64, UbiAttach);

/// What an MTD device is.
pub(crate) fn mtd_info(file: &File) -> io::Result<MtdInfo> {
    let mut info = MtdInfo::default();
    // SAFETY: the descriptor is open and MEMGETINFO writes one `struct mtd_info_user`.
    unsafe { memgetinfo(file.as_raw_fd(), &raw mut info) }?;
    Ok(info)
}

/// Erases whole erase blocks.
pub(crate) fn mtd_erase(file: &File, range: Range<u64>) -> io::Result<()> {
    let range = erase_info(range)?;
    // SAFETY: the descriptor is open and MEMERASE reads one `struct erase_info_user`.
    unsafe { memerase(file.as_raw_fd(), &raw const range) }?;
    Ok(())
}

/// Locks erase blocks.
pub(crate) fn mtd_lock(file: &File, range: Range<u64>) -> io::Result<()> {
    let range = erase_info(range)?;
    // SAFETY: the descriptor is open and MEMLOCK reads one `struct erase_info_user`.
    unsafe { memlock(file.as_raw_fd(), &raw const range) }?;
    Ok(())
}

/// Unlocks erase blocks.
pub(crate) fn mtd_unlock(file: &File, range: Range<u64>) -> io::Result<()> {
    let range = erase_info(range)?;
    // SAFETY: the descriptor is open and MEMUNLOCK reads one `struct erase_info_user`.
    unsafe { memunlock(file.as_raw_fd(), &raw const range) }?;
    Ok(())
}

/// Whether erase blocks are locked.
pub(crate) fn mtd_is_locked(file: &File, range: Range<u64>) -> io::Result<bool> {
    let mut range = erase_info(range)?;
    // SAFETY: the descriptor is open and MEMISLOCKED touches one `struct erase_info_user`.
    let answer = unsafe { memislocked(file.as_raw_fd(), &raw mut range) }?;
    Ok(answer > 0)
}

/// Whether the erase block at this offset is bad.
pub(crate) fn mtd_is_bad(file: &File, block: u64) -> io::Result<bool> {
    let block = i64::try_from(block).map_err(|_| too_far())?;
    // SAFETY: the descriptor is open and MEMGETBADBLOCK reads one `__kernel_loff_t`.
    let answer = unsafe { memgetbadblock(file.as_raw_fd(), &raw const block) }?;
    Ok(answer > 0)
}

/// Empties a UBI volume; it is whole again when as many bytes have been written.
pub(crate) fn ubi_update(file: &File, length: u64) -> io::Result<()> {
    let length = i64::try_from(length).map_err(|_| too_far())?;
    // SAFETY: the descriptor is open and UBI_IOCVOLUP reads one `__s64`.
    unsafe { ubi_iocvolup(file.as_raw_fd(), &raw const length) }?;
    Ok(())
}

/// Attaches an MTD device to UBI. `control` is `/dev/ubi_ctrl`.
pub(crate) fn ubi_attach(control: &File, mtd: i32) -> io::Result<()> {
    let mut request = UbiAttach {
        ubi_num: UBI_DEV_NUM_AUTO,
        mtd_num: mtd,
        ..UbiAttach::default()
    };
    // SAFETY: the descriptor is open and UBI_IOCATT touches one `struct ubi_attach_req`. The kernel
    // declares it as read only but stores the number that it picked, hence the mutable origin.
    unsafe { ubi_iocatt(control.as_raw_fd(), (&raw mut request).cast_const()) }?;
    Ok(())
}

fn erase_info(range: Range<u64>) -> io::Result<EraseInfo> {
    let length = range
        .end
        .checked_sub(range.start)
        .and_then(|length| length.try_into().ok());
    let start = range.start.try_into().ok();
    match (start, length) {
        (Some(start), Some(length)) => Ok(EraseInfo { start, length }),
        _ => Err(too_far()),
    }
}

/// The interface counts in 32 bits where an environment can lie.
fn too_far() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "the offset is beyond what the flash interface can say",
    )
}

/// The kernel picks the number.
const UBI_DEV_NUM_AUTO: i32 = -1;
