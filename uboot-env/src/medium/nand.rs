//! How a copy lies on NAND flash: in the good ones of the erase blocks that are set aside for it.
//!
//! The blocks begin at the copy's offset. Bad ones are skipped in reading and in writing alike, and
//! U-Boot does the same. Nothing else may lie in these blocks.
//!
//! DIFFERS: libubootenv counts only skipped blocks against the limit, so that a copy of two blocks
//! with a limit of two can end in a third one, which may be the other copy's. We stay within the
//! limit, as U-Boot and its own tool do.

use std::io;
use std::ops::Range;

use super::Medium;

/// The blocks that a copy may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blocks {
    pub(crate) range: Range<u64>,
    /// Bytes of one block.
    pub(crate) size: u64,
}

impl Blocks {
    /// The good ones among them, as far as they are needed for so many bytes.
    fn good(&self, medium: &mut dyn Medium, bytes: usize) -> io::Result<Vec<u64>> {
        let needed = u64::try_from(bytes)
            .unwrap_or(u64::MAX)
            .div_ceil(self.size.max(1));
        let mut good = Vec::new();
        let mut block = self.range.start;
        while u64::try_from(good.len()).is_ok_and(|count| count < needed) {
            let end = block.saturating_add(self.size);
            if end > self.range.end || self.size == 0 {
                return Err(io::Error::other("too many bad blocks for a copy"));
            }
            if !medium.is_bad(block)? {
                good.push(block);
            }
            block = end;
        }
        Ok(good)
    }

    fn chunk(&self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX).max(1)
    }
}

/// Reads a copy.
pub(crate) fn read(medium: &mut dyn Medium, blocks: &Blocks, image: &mut [u8]) -> io::Result<()> {
    let good = blocks.good(medium, image.len())?;
    for (block, piece) in good.iter().zip(image.chunks_mut(blocks.chunk())) {
        medium.read_at(*block, piece)?;
    }
    Ok(())
}

/// Erases and writes a copy, block by block, in whole pages.
pub(crate) fn write(
    medium: &mut dyn Medium,
    blocks: &Blocks,
    page_size: u64,
    image: &[u8],
) -> io::Result<()> {
    let page_size = usize::try_from(page_size).unwrap_or(1).max(1);
    let good = blocks.good(medium, image.len())?;
    for (block, piece) in good.iter().zip(image.chunks(blocks.chunk())) {
        medium.erase(*block..block.saturating_add(blocks.size))?;
        let mut pages = piece.to_vec();
        pages.resize(piece.len().next_multiple_of(page_size), ERASED);
        medium.write_at(*block, &pages)?;
    }
    Ok(())
}

/// What erased flash reads as.
const ERASED: u8 = 0xFF;
