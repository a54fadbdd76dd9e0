//! The few fields of ext4 that hold a time, and the checksums over them. Bytes in, bytes out.
//!
//! Offsets as in the kernel's `fs/ext4/ext4.h`; all numbers are little-endian.

use std::fmt;

/// Where the first superblock is, bytes, and how long one is.
pub(crate) const SUPERBLOCK_AT: u64 = 1024;
pub(crate) const SUPERBLOCK_SIZE: usize = 1024;

const MAGIC: u16 = 0xef53;
const META_BG: u32 = 0x10;
const WIDE: u32 = 0x80;
const CHECKSUM_SEED: u32 = 0x2000;
const METADATA_CHECKSUMS: u32 = 0x400;

/// What the superblock says about the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Bytes.
    pub(crate) block_size: u64,
    /// How many groups of blocks there are.
    pub(crate) groups: u64,
    pub(crate) blocks_per_group: u64,
    pub(crate) first_block: u64,
    pub(crate) inodes_per_group: u32,
    /// Bytes.
    pub(crate) inode_size: usize,
    /// How long the description of a group is, bytes.
    pub(crate) descriptor_size: usize,
    uuid: [u8; 16],
    /// What checksums begin with; `None` if there are none.
    seed: Option<u32>,
}

/// Why something is not an ext4 file system that can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotExt4(&'static str);

impl fmt::Display for NotExt4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NotExt4 {}

impl Geometry {
    /// Reads the first superblock.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, NotExt4> {
        let read = || -> Option<Self> {
            let [incompatible, read_only] = [u32_at(bytes, 96)?, u32_at(bytes, 100)?];
            let wide = incompatible & WIDE != 0;
            let high = if wide { u32_at(bytes, 336)? } else { 0 };
            let blocks = u64::from(high) << 32 | u64::from(u32_at(bytes, 4)?);
            let block_size = 1024_u64.checked_shl(u32_at(bytes, 24)?)?;
            let blocks_per_group = u64::from(u32_at(bytes, 32)?);
            let first_block = u64::from(u32_at(bytes, 20)?);
            let uuid = *bytes.get(104..)?.first_chunk()?;
            let seed = if read_only & METADATA_CHECKSUMS == 0 {
                None
            } else if incompatible & CHECKSUM_SEED != 0 {
                Some(u32_at(bytes, 0x270)?)
            } else {
                Some(crc32c(!0, &uuid))
            };
            Some(Self {
                block_size,
                groups: blocks
                    .checked_sub(first_block)?
                    .div_ceil(blocks_per_group.max(1)),
                blocks_per_group,
                first_block,
                inodes_per_group: u32_at(bytes, 40)?,
                inode_size: u16_at(bytes, 88)?.into(),
                descriptor_size: if wide { u16_at(bytes, 254)?.into() } else { 32 },
                uuid,
                seed,
            })
        };
        if u16_at(bytes, 56) != Some(MAGIC) {
            return Err(NotExt4("it is not an ext4 file system"));
        }
        if u32_at(bytes, 96).is_none_or(|incompatible| incompatible & META_BG != 0) {
            return Err(NotExt4("its feature meta_bg is not supported"));
        }
        let geometry = read().ok_or(NotExt4("its superblock is damaged"))?;
        let sane = (1024..=65536).contains(&geometry.block_size)
            && (1..=1 << 20).contains(&geometry.groups)
            && (1..=65536 * 8).contains(&geometry.blocks_per_group)
            && (1..=65536 * 8).contains(&geometry.inodes_per_group)
            && (128..=4096).contains(&geometry.inode_size)
            && (32..=1024).contains(&geometry.descriptor_size);
        if sane {
            Ok(geometry)
        } else {
            Err(NotExt4("its superblock is damaged"))
        }
    }

    /// How long the inodes of a group are, bytes.
    pub(crate) fn table_size(&self) -> usize {
        usize::try_from(self.inodes_per_group)
            .unwrap_or(usize::MAX)
            .saturating_mul(self.inode_size)
    }

    /// The block where the inodes of a group begin.
    pub(crate) fn table(&self, descriptor: &[u8]) -> Option<u64> {
        let low = u32_at(descriptor, 8)?;
        let high = if descriptor.len() >= 64 {
            u32_at(descriptor, 40)?
        } else {
            0
        };
        Some(u64::from(high) << 32 | u64::from(low))
    }

    /// Whether `bytes` are the superblock of this file system as group `group` has it.
    pub(crate) fn is_superblock(&self, bytes: &[u8], group: u64) -> bool {
        u16_at(bytes, 56) == Some(MAGIC)
            && bytes.get(104..120) == Some(&self.uuid)
            && u16_at(bytes, 90).map(u64::from) == Some(group)
    }

    /// Sets every time in a superblock.
    pub(crate) fn set_superblock_times(&self, bytes: &mut [u8], time: u32) {
        // Mounted, written, checked, made; and the fifth bytes of these.
        for at in [44, 48, 64, 264] {
            put_u32(bytes, at, time);
        }
        put_u32(bytes, 0x274, 0);
        if self.seed.is_some() {
            let sum = crc32c(!0, bytes.get(..0x3fc).unwrap_or_default());
            put_u32(bytes, 0x3fc, sum);
        }
    }

    /// Sets the times of the inode with this number.
    pub(crate) fn set_inode_times(&self, inode: &mut [u8], number: u32, time: u32) {
        if inode.iter().all(|byte| *byte == 0) {
            return;
        }
        // Read, changed; what was modified earlier was.
        put_u32(inode, 8, time);
        put_u32(inode, 12, time);
        let modified = u32_at(inode, 16).unwrap_or_default();
        put_u32(inode, 16, modified.min(time));
        let extra = u16_at(inode, 128).unwrap_or_default();
        if inode.len() > 128 {
            // The finer parts of the three, when it was made, and the finer part of that.
            for (at, needed) in [(132, 8), (136, 12), (140, 16), (144, 20), (148, 24)] {
                if extra >= needed {
                    put_u32(inode, at, 0);
                }
            }
        }
        match self.seed {
            // Checksums of its directory and extent blocks begin with it, so it stays where there are any.
            None => put_u32(inode, 100, 0),
            Some(seed) => set_inode_sum(inode, seed, number, extra),
        }
    }
}

fn set_inode_sum(inode: &mut [u8], seed: u32, number: u32, extra: u16) {
    let high = inode.len() > 128 && extra >= 4;
    put_u16(inode, 124, 0);
    if high {
        put_u16(inode, 130, 0);
    }
    let generation = u32_at(inode, 100).unwrap_or_default();
    let mut sum = crc32c(seed, &number.to_le_bytes());
    sum = crc32c(sum, &generation.to_le_bytes());
    sum = crc32c(sum, inode);
    let [b0, b1, b2, b3] = sum.to_le_bytes();
    put_u16(inode, 124, u16::from_le_bytes([b0, b1]));
    if high {
        put_u16(inode, 130, u16::from_le_bytes([b2, b3]));
    }
}

/// CRC-32C as ext4 uses it: not inverted at the end.
fn crc32c(sum: u32, bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    bytes.iter().fold(sum, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (POLYNOMIAL & 0_u32.wrapping_sub(sum & 1))
        })
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = value.to_le_bytes();
    }
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = value.to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32c() {
        // RFC 3720 section B.4, which inverts at the end.
        assert_eq!(!crc32c(!0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
    }

    #[test]
    fn what_is_no_file_system_is_refused() {
        for bytes in [&[][..], &[0; 1024], &[0xff; 1024], &[0x53, 0xef]] {
            assert!(Geometry::read(bytes).is_err());
        }
        let mut bytes = [0; 1024];
        bytes[56..58].copy_from_slice(&MAGIC.to_le_bytes());
        let err = Geometry::read(&bytes).unwrap_err();
        assert_eq!(err.to_string(), "its superblock is damaged");
    }
}
