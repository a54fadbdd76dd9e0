//! The index of a framed payload.
//!
//! Content of the skippable frame, numbers little-endian, `varint` being LEB128 of at most five bytes:
//!
//! ```text
//! offset size
//!      0    8  "TandemIX"
//!      8    1  version of this layout, 2
//!      9    1  how the image is divided: 1 = blocks of one size, 2 = chunks that end where their content says
//!     10    1  binary logarithm of that size, 12, or of the length of the longest chunk, 16
//!     11    1  bytes of a fingerprint, 4 to 8
//!     12    8  size of the image, bytes
//!     20   32  SHA-256 of the image
//!     52    8  the first block that this section describes; with chunks, the first byte
//!     60    4  how many blocks or chunks it describes
//!     64    4  how many of them have a fingerprint: blocks that are not zero, all chunks
//!     68    4  how many frames hold them
//!     72   32  SHA-256 of the content of the next section; zeros in the last
//!    104       for each frame:  varint blocks or chunks, varint compressed length
//!              the blocks:      varint not zero, varint zero, and again, until all are said
//!              or the chunks:   varint length, for each
//!              fingerprints:    the first bytes of the SHA-256 of each; zeros for a chunk of zeros
//! ```
//!
//! Version 1 is the same with 0 at 11, fingerprints of eight bytes, and only blocks.

mod blocks;
mod chunks;
mod input;

use std::io::Read;
use std::ops::Range;

pub use blocks::Blocks;
pub use chunks::Chunks;

use super::block::{BLOCK, Fingerprint};
use super::cut::{MAX_FRAME, MAX_FRAME_UNITS};
use super::prints::{Prints, Width};
use crate::digest::Digest;
use crate::error::Error;
use input::{Input, NAME, fault, varint};

/// What the content begins with.
pub(crate) const MAGIC: &[u8; 8] = b"TandemIX";

const VERSION: u8 = 2;
const FIXED_BLOCKS: u8 = 1;
const BLOCK_LOG2: u8 = 12;
const CHUNKS: u8 = 2;
const CHUNK_LOG2: u8 = 16;

/// The most blocks that are not zero, and the most frames, in one section. It is what bounds the memory of a device,
/// whatever the size of the image: about 6 MiB with [`Search`](super::Search) and [`Plan`](super::Plan).
pub(crate) const MAX_DATA: usize = 1 << 18;

/// The most blocks in one section, most of them zero.
pub(crate) const MAX_BLOCKS: usize = 1 << 22;

/// The most chunks in one section: they take a little more memory each.
pub(crate) const MAX_CHUNKS: usize = 1 << 17;

/// The most blocks of an image: what a number of 31 bits can name.
const MAX_IMAGE_BLOCKS: u64 = (1 << 31) - 1;

/// The longest content that can be right, bytes: a header, and for each frame and each block the most it can take.
pub(crate) const MAX_LENGTH: u32 = 8 << 20;

/// A part of the index: what is in a part of the image, and in which frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub(super) image_size: u64,
    pub(super) image_sha256: Digest,
    pub(super) frames: Vec<Frame>,
    pub(super) division: Division,
    pub(super) next: Option<Digest>,
}

/// How the image is divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Division {
    /// Into blocks of one size: file systems whose files begin at such a block.
    Blocks(Blocks),
    /// Where the content says: file systems that pack their files.
    Chunks(Chunks),
}

/// A frame of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// How many blocks or chunks it holds; at least one.
    pub units: u16,
    /// How long it is in the artifact, bytes.
    pub length: u32,
}

/// What a section must say to be the one that is wanted.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The size of the image, bytes, from the header of the payload archive.
    pub image_size: u64,
    /// Its sum, from the manifest.
    pub image_sha256: Digest,
    /// The first byte of the image.
    pub first: u64,
    /// The sum of the section, where somebody vouches for it.
    pub sha256: Option<Digest>,
}

impl Section {
    /// The longest content that is read, bytes.
    pub const MAX_LENGTH: u32 = MAX_LENGTH;

    /// Reads a section whose content has `length` bytes; not one byte more is read.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::TooLarge`] or [`Error::Mismatch`] if it is not right in every respect, and those
    /// of reading.
    pub fn read(source: impl Read, length: u32, expected: &Expected) -> Result<Self, Error> {
        if length > MAX_LENGTH {
            return Err(Error::too_large(NAME, MAX_LENGTH.into()));
        }
        let mut input = Input::new(source, length);
        let section = Self::parse(&mut input, expected)?;
        let actual = input.end()?;
        match expected.sha256 {
            Some(expected) if expected != actual => Err(Error::Mismatch {
                name: NAME.to_owned(),
                expected,
                actual,
            }),
            _ => Ok(section),
        }
    }

    fn parse(input: &mut Input<impl Read>, expected: &Expected) -> Result<Self, Error> {
        if input.bytes::<8>()? != *MAGIC {
            return Err(fault("does not begin as one"));
        }
        let (kind, width) = match input.bytes::<4>()? {
            [1, FIXED_BLOCKS, BLOCK_LOG2, 0] => (FIXED_BLOCKS, Some(Width::FULL)),
            [VERSION, FIXED_BLOCKS, BLOCK_LOG2, width] => (FIXED_BLOCKS, Width::new(width)),
            [VERSION, CHUNKS, CHUNK_LOG2, width] => (CHUNKS, Width::new(width)),
            [version, kind, ..] => {
                return Err(fault(&format!(
                    "is of version {version}, kind {kind}, which this program does not know"
                )));
            }
        };
        let width =
            width.ok_or_else(|| fault("has fingerprints of a length that none can have"))?;
        let image_size = u64::from_le_bytes(input.bytes()?);
        let image_sha256 = Digest::from_bytes(input.bytes()?);
        if image_size != expected.image_size || image_sha256 != expected.image_sha256 {
            return Err(fault("is that of another image"));
        }
        if block_count(image_size).is_none() {
            return Err(fault("is of an image of odd size"));
        }
        let first = u64::from_le_bytes(input.bytes()?);
        let (most_units, most_data, unit) = match kind {
            CHUNKS => (MAX_CHUNKS, MAX_CHUNKS, 1),
            _ => (MAX_BLOCKS, MAX_DATA, BLOCK as u64),
        };
        if first.checked_mul(unit) != Some(expected.first) {
            return Err(fault("does not begin where the one before ends"));
        }
        let units = input.count(most_units)?;
        let data_units = input.count(most_data.min(units))?;
        let frame_count = input.count(most_data.min(units))?;
        let next = Some(Digest::from_bytes(input.bytes()?)).filter(|sum| *sum != NO_NEXT);
        let ends = |end: Option<u64>| match end {
            Some(end) if end <= image_size && (end == image_size) == next.is_none() => Ok(()),
            _ => Err(fault(
                "does not end where the image or the next section says",
            )),
        };
        if units == 0 {
            return Err(fault("describes nothing"));
        }
        if kind == FIXED_BLOCKS {
            ends(first.saturating_add(units as u64).checked_mul(unit))?;
        }
        let frames = frames(input, frame_count, units)?;
        let prints = |count: usize, input: &mut Input<_>| -> Result<Prints, Error> {
            let mut list = Vec::with_capacity(count);
            for _ in 0..count {
                let mut bytes = [0; 8];
                let wanted = bytes.get_mut(..width.bytes().into());
                input.fill(wanted.unwrap_or_default())?;
                list.push(Fingerprint::from_bytes(bytes));
            }
            Ok(Prints::new(list, width))
        };
        let division = match kind {
            CHUNKS => {
                let lengths = chunks::lengths(input, units)?;
                if data_units != units {
                    return Err(fault("counts its chunks in two ways"));
                }
                let prints = prints(units, input)?;
                let chunks = Chunks::new(first, lengths, prints);
                ends(Some(chunks.range().end))?;
                Division::Chunks(chunks)
            }
            _ => {
                let data = blocks::runs(input, units)?;
                if data.count() != data_units {
                    return Err(fault("counts its blocks in two ways"));
                }
                let prints = prints(data_units, input)?;
                Division::Blocks(Blocks::new(first, data, prints))
            }
        };
        let section = Self {
            image_size,
            image_sha256,
            frames,
            division,
            next,
        };
        let mut unit = 0_usize;
        for frame in &section.frames {
            let end = unit.saturating_add(frame.units.into());
            let size = section.size(unit..end);
            if size > MAX_FRAME.into() || frame.length > longest(size) {
                return Err(fault("has a frame that nothing compresses to"));
            }
            unit = end;
        }
        Ok(section)
    }

    /// The content of the skippable frame.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let (kind, size_log2, prints) = match &self.division {
            Division::Blocks(blocks) => (FIXED_BLOCKS, BLOCK_LOG2, &blocks.prints),
            Division::Chunks(chunks) => (CHUNKS, CHUNK_LOG2, chunks.prints()),
        };
        let mut bytes = Vec::new();
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[VERSION, kind, size_log2, prints.width().bytes()]);
        bytes.extend_from_slice(&self.image_size.to_le_bytes());
        bytes.extend_from_slice(self.image_sha256.as_bytes());
        let first = match &self.division {
            Division::Blocks(blocks) => blocks.range().start,
            Division::Chunks(chunks) => chunks.range().start,
        };
        bytes.extend_from_slice(&first.to_le_bytes());
        for count in [self.units(), prints.len(), self.frames.len()] {
            bytes.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
        }
        bytes.extend_from_slice(self.next.unwrap_or(NO_NEXT).as_bytes());
        for frame in &self.frames {
            varint(&mut bytes, frame.units.into());
            varint(&mut bytes, frame.length);
        }
        match &self.division {
            Division::Blocks(blocks) => blocks.write_runs(&mut bytes),
            Division::Chunks(chunks) => chunks.write_lengths(&mut bytes),
        }
        bytes.extend_from_slice(&prints.to_bytes());
        bytes
    }

    /// The size of the image, bytes.
    #[must_use]
    pub fn image_size(&self) -> u64 {
        self.image_size
    }

    /// How the image is divided, and what is in it.
    #[must_use]
    pub fn division(&self) -> &Division {
        &self.division
    }

    /// The bytes of the image that this section describes.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        match &self.division {
            Division::Blocks(blocks) => {
                let Range { start, end } = blocks.range();
                let at = |block: u64| block.saturating_mul(BLOCK as u64);
                at(start)..at(end)
            }
            Division::Chunks(chunks) => chunks.range(),
        }
    }

    /// How many blocks or chunks it describes.
    #[must_use]
    pub fn units(&self) -> usize {
        match &self.division {
            Division::Blocks(blocks) => blocks.data.len(),
            Division::Chunks(chunks) => chunks.count(),
        }
    }

    /// How many bytes these of its blocks or chunks have.
    #[must_use]
    pub fn size(&self, units: Range<usize>) -> u64 {
        match &self.division {
            Division::Blocks(_) => (units.len() as u64).saturating_mul(BLOCK as u64),
            Division::Chunks(chunks) => chunks.size(units),
        }
    }

    /// The frames that hold them, in order and without anything between them.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// How long all frames are together, bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        let lengths = self.frames.iter().map(|frame| u64::from(frame.length));
        lengths.fold(0, u64::saturating_add)
    }

    /// What the section after this one must say; `None` after the last.
    #[must_use]
    pub fn next(&self) -> Option<Expected> {
        self.next.map(|sum| Expected {
            image_size: self.image_size,
            image_sha256: self.image_sha256,
            first: self.range().end,
            sha256: Some(sum),
        })
    }
}

/// How many blocks an image has; `None` if they are not whole, or too many.
pub(crate) fn block_count(image_size: u64) -> Option<u64> {
    const SIZE: u64 = BLOCK as u64;
    let count = image_size / SIZE;
    (image_size % SIZE == 0 && count <= MAX_IMAGE_BLOCKS).then_some(count)
}

/// How long a frame of so many bytes can be: zstd's own bound, and some room.
fn longest(size: u64) -> u32 {
    let most = size.saturating_add(size / 128).saturating_add(1024);
    u32::try_from(most).unwrap_or(u32::MAX)
}

/// What is in the place of the sum of the next section when there is none.
const NO_NEXT: Digest = Digest::from_bytes([0; 32]);

fn frames(input: &mut Input<impl Read>, count: usize, units: usize) -> Result<Vec<Frame>, Error> {
    let mut left = units;
    let mut frames = Vec::with_capacity(count);
    for _ in 0..count {
        let units = u16::try_from(input.varint()?)
            .ok()
            .filter(|units| (1..=MAX_FRAME_UNITS).contains(units))
            .ok_or_else(|| fault("has a frame without blocks, or with too many"))?;
        let length = input.varint()?;
        if length == 0 {
            return Err(fault("has a frame that nothing compresses to"));
        }
        left = left
            .checked_sub(units.into())
            .ok_or_else(|| fault("has frames for more blocks than it describes"))?;
        frames.push(Frame { units, length });
    }
    match left {
        0 => Ok(frames),
        _ => Err(fault("has frames for fewer blocks than it describes")),
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests;
