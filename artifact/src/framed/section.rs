//! The index of a framed payload.
//!
//! Content of the skippable frame, numbers little-endian, `varint` being LEB128 of at most five bytes:
//!
//! ```text
//! offset size
//!      0    8  "TandemIX"
//!      8    1  version of this layout, 1
//!      9    1  how the image is divided: 1 = blocks of one size
//!     10    1  binary logarithm of that size, 12
//!     11    1  0
//!     12    8  size of the image, bytes
//!     20   32  SHA-256 of the image
//!     52    8  the first block that this section describes
//!     60    4  how many blocks it describes
//!     64    4  how many of them are not zero
//!     68    4  how many frames hold them
//!     72   32  SHA-256 of the content of the next section; zeros in the last
//!    104       for each frame:  varint blocks, varint compressed length
//!              the blocks:      varint not zero, varint zero, and again, until all are said
//!              fingerprints:    8 bytes for each block that is not zero
//! ```

use std::io::{self, Read};
use std::ops::Range;

use super::bits::{Bits, Ranks};
use super::block::{BLOCK, Fingerprint};
use super::cut::MAX_FRAME_BLOCKS;
use crate::digest::{Digest, Sha256};
use crate::error::Error;

/// What the content begins with.
pub(crate) const MAGIC: &[u8; 8] = b"TandemIX";

const VERSION: u8 = 1;
const FIXED_BLOCKS: u8 = 1;
const BLOCK_LOG2: u8 = 12;

/// The most blocks that are not zero, and the most frames, in one section. It is what bounds the memory of a device,
/// whatever the size of the image: about 6 MiB with [`Search`](super::Search) and [`Plan`](super::Plan).
pub(crate) const MAX_DATA: usize = 1 << 18;

/// The most blocks in one section, most of them zero.
pub(crate) const MAX_BLOCKS: usize = 1 << 22;

/// The most blocks of an image: what a number of 31 bits can name.
const MAX_IMAGE_BLOCKS: u64 = (1 << 31) - 1;

/// The longest content that can be right, bytes: a header, and for each frame and each block the most it can take.
pub(crate) const MAX_LENGTH: u32 = 8 << 20;

/// A part of the index: what is in a part of the image, and in which frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub(super) image_size: u64,
    pub(super) image_sha256: Digest,
    pub(super) first: u64,
    pub(super) frames: Vec<Frame>,
    /// The blocks that are not zero, counted from the first of the section.
    pub(super) data: Bits,
    pub(super) ranks: Ranks,
    /// Of those, in order.
    pub(super) prints: Vec<Fingerprint>,
    pub(super) next: Option<Digest>,
}

/// A frame of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// How many blocks it holds; at least one.
    pub blocks: u16,
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
    /// The first block.
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
        let mut input = Input {
            source: io::BufReader::with_capacity(16 << 10, source.take(length.into())),
            sum: Sha256::new(),
            left: length,
        };
        let section = Self::parse(&mut input, expected)?;
        if input.left != 0 {
            return Err(fault("is longer than what it describes"));
        }
        let actual = input.sum.finish();
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
        match input.bytes::<4>()? {
            [VERSION, FIXED_BLOCKS, BLOCK_LOG2, 0] => {}
            [version, kind, ..] => {
                return Err(fault(&format!(
                    "is of version {version}, kind {kind}, which this program does not know"
                )));
            }
        }
        let image_size = u64::from_le_bytes(input.bytes()?);
        let image_sha256 = Digest::from_bytes(input.bytes()?);
        if image_size != expected.image_size || image_sha256 != expected.image_sha256 {
            return Err(fault("is that of another image"));
        }
        let all = block_count(image_size).ok_or_else(|| fault("is of an image of odd size"))?;
        let first = u64::from_le_bytes(input.bytes()?);
        if first != expected.first {
            return Err(fault("does not begin where the one before ends"));
        }
        let blocks = input.count(MAX_BLOCKS)?;
        let data_blocks = input.count(MAX_DATA.min(blocks))?;
        let frame_count = input.count(MAX_DATA.min(blocks))?;
        let next = Some(Digest::from_bytes(input.bytes()?)).filter(|sum| *sum != NO_NEXT);
        let end = first.saturating_add(blocks as u64);
        if end > all || (end == all) != next.is_none() || blocks == 0 {
            return Err(fault(
                "does not end where the image or the next section says",
            ));
        }
        let frames = frames(input, frame_count, blocks)?;
        let data = runs(input, blocks)?;
        if data.count() != data_blocks {
            return Err(fault("counts its blocks in two ways"));
        }
        let mut prints = Vec::with_capacity(data_blocks);
        for _ in 0..data_blocks {
            prints.push(Fingerprint::from_bytes(input.bytes()?));
        }
        Ok(Self {
            image_size,
            image_sha256,
            first,
            frames,
            ranks: data.ranks(),
            data,
            prints,
            next,
        })
    }

    /// The content of the skippable frame.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[VERSION, FIXED_BLOCKS, BLOCK_LOG2, 0]);
        bytes.extend_from_slice(&self.image_size.to_le_bytes());
        bytes.extend_from_slice(self.image_sha256.as_bytes());
        bytes.extend_from_slice(&self.first.to_le_bytes());
        for count in [self.data.len(), self.prints.len(), self.frames.len()] {
            bytes.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
        }
        bytes.extend_from_slice(self.next.unwrap_or(NO_NEXT).as_bytes());
        for frame in &self.frames {
            varint(&mut bytes, frame.blocks.into());
            varint(&mut bytes, frame.length);
        }
        let (mut value, mut run) = (true, 0_u32);
        for block in 0..self.data.len() {
            if self.data.contains(block) != value {
                varint(&mut bytes, run);
                (value, run) = (!value, 0);
            }
            run = run.saturating_add(1);
        }
        varint(&mut bytes, run);
        for print in &self.prints {
            bytes.extend_from_slice(&print.to_bytes());
        }
        bytes
    }

    /// The size of the image, bytes.
    #[must_use]
    pub fn image_size(&self) -> u64 {
        self.image_size
    }

    /// The blocks of the image that this section describes.
    #[must_use]
    pub fn blocks(&self) -> Range<u64> {
        self.first..self.first.saturating_add(self.data.len() as u64)
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

    /// What a block of the image must have; `None` for one of zeros, or if it is not in this section.
    #[must_use]
    pub fn print(&self, block: u64) -> Option<Fingerprint> {
        self.prints.get(self.number(block)?).copied()
    }

    /// What the section after this one must say; `None` after the last.
    #[must_use]
    pub fn next(&self) -> Option<Expected> {
        self.next.map(|sum| Expected {
            image_size: self.image_size,
            image_sha256: self.image_sha256,
            first: self.blocks().end,
            sha256: Some(sum),
        })
    }

    /// The place of a block among those that are not zero.
    pub(super) fn number(&self, block: u64) -> Option<usize> {
        let place = usize::try_from(block.checked_sub(self.first)?).ok()?;
        let is_data = self.data.contains(place);
        is_data.then(|| self.data.rank(&self.ranks, place))
    }
}

/// How many blocks an image has; `None` if they are not whole, or too many.
pub(crate) fn block_count(image_size: u64) -> Option<u64> {
    const SIZE: u64 = BLOCK as u64;
    let count = image_size / SIZE;
    (image_size % SIZE == 0 && count <= MAX_IMAGE_BLOCKS).then_some(count)
}

/// How long a frame of so many blocks can be: zstd's own bound, and some room.
fn longest(blocks: u16) -> u32 {
    let raw = u32::from(blocks).saturating_mul(BLOCK as u32);
    raw.saturating_add(raw / 128).saturating_add(1024)
}

/// What is in the place of the sum of the next section when there is none.
const NO_NEXT: Digest = Digest::from_bytes([0; 32]);

const NAME: &str = "the index of the payload";

fn fault(rule: &str) -> Error {
    Error::malformed(NAME, rule)
}

fn frames(input: &mut Input<impl Read>, count: usize, blocks: usize) -> Result<Vec<Frame>, Error> {
    let mut left = blocks;
    let mut frames = Vec::with_capacity(count);
    for _ in 0..count {
        let blocks = u16::try_from(input.varint()?)
            .ok()
            .filter(|blocks| (1..=MAX_FRAME_BLOCKS).contains(blocks))
            .ok_or_else(|| fault("has a frame without blocks, or with too many"))?;
        let length = input.varint()?;
        if length == 0 || length > longest(blocks) {
            return Err(fault("has a frame that no blocks compress to"));
        }
        left = left
            .checked_sub(blocks.into())
            .ok_or_else(|| fault("has frames for more blocks than it describes"))?;
        frames.push(Frame { blocks, length });
    }
    match left {
        0 => Ok(frames),
        _ => Err(fault("has frames for fewer blocks than it describes")),
    }
}

fn runs(input: &mut Input<impl Read>, blocks: usize) -> Result<Bits, Error> {
    let mut data = Bits::new(blocks);
    let mut place = 0_usize;
    let mut value = true;
    while place < blocks {
        let run = usize::try_from(input.varint()?).unwrap_or(usize::MAX);
        let end = place.saturating_add(run);
        // Only the first may be empty: where the section begins with zeros.
        if end > blocks || (run == 0 && !(value && place == 0)) {
            return Err(fault("has a run of blocks that is empty or too long"));
        }
        if value {
            (place..end).for_each(|block| data.insert(block));
        }
        (place, value) = (end, !value);
    }
    Ok(data)
}

fn varint(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(0x80 | low_bits(value));
        value >>= 7;
    }
    bytes.push(low_bits(value));
}

fn low_bits(value: u32) -> u8 {
    u8::try_from(value & 0x7f).unwrap_or_default()
}

/// The content of a section, summed up while it is read.
struct Input<R: Read> {
    source: io::BufReader<io::Take<R>>,
    sum: Sha256,
    left: u32,
}

impl<R: Read> Input<R> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.left = u32::try_from(N)
            .ok()
            .and_then(|count| self.left.checked_sub(count))
            .ok_or_else(|| fault("is shorter than what it describes"))?;
        self.source.read_exact(&mut bytes).map_err(|err| {
            if err.kind() == io::ErrorKind::UnexpectedEof {
                Error::Truncated {
                    within: NAME.to_owned(),
                }
            } else {
                Error::from_read(err)
            }
        })?;
        self.sum.update(&bytes);
        Ok(bytes)
    }

    /// A number of 32 bits that is at most `most`.
    fn count(&mut self, most: usize) -> Result<usize, Error> {
        usize::try_from(u32::from_le_bytes(self.bytes()?))
            .ok()
            .filter(|count| *count <= most)
            .ok_or_else(|| fault("says that there is more than can be"))
    }

    fn varint(&mut self) -> Result<u32, Error> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.bytes()?;
            let bits = u32::from(byte & 0x7f);
            let shifted = bits << shift;
            // Nothing lost at the top, and no form longer than needed.
            if shifted >> shift != bits || (byte == 0 && shift != 0) {
                break;
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(fault("has a number that is not one"))
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;

    /// A section of an image of `zeros` blocks of nothing, five of something, one of nothing.
    fn section(zeros: usize) -> Section {
        let blocks = zeros + 6;
        let mut data = Bits::new(blocks);
        (zeros..zeros + 5).for_each(|place| data.insert(place));
        let mut frames = vec![Frame {
            blocks: 6,
            length: 200,
        }];
        if zeros > 0 {
            let blocks = zeros.try_into().unwrap();
            frames.insert(0, Frame { blocks, length: 20 });
        }
        Section {
            image_size: (blocks * BLOCK) as u64,
            image_sha256: Digest::of(b"image"),
            first: 0,
            frames,
            ranks: data.ranks(),
            data,
            prints: (1..=5)
                .map(|byte| Fingerprint::of(&[byte; BLOCK]).unwrap())
                .collect(),
            next: None,
        }
    }

    fn expected(section: &Section) -> Expected {
        Expected {
            image_size: section.image_size,
            image_sha256: section.image_sha256,
            first: section.first,
            sha256: None,
        }
    }

    #[track_caller]
    fn read(section: &Section, bytes: &[u8]) -> Result<Section, Error> {
        Section::read(bytes, bytes.len().try_into().unwrap(), &expected(section))
    }

    #[test]
    fn a_section_is_read_as_it_is_written() {
        for zeros in [0, 3, 200] {
            let section = section(zeros);
            let bytes = section.to_bytes();
            assert_eq!(read(&section, &bytes).unwrap(), section);
            let sum = |sha256| Expected {
                sha256: Some(sha256),
                ..expected(&section)
            };
            let length = bytes.len().try_into().unwrap();
            assert!(Section::read(&*bytes, length, &sum(Digest::of(&bytes))).is_ok());
            assert!(matches!(
                Section::read(&*bytes, length, &sum(Digest::of(b"another"))),
                Err(Error::Mismatch { .. })
            ));
        }
    }

    #[test]
    fn a_section_that_is_cut_or_goes_on_is_refused() {
        let section = section(3);
        let bytes = section.to_bytes();
        for length in 0..bytes.len() {
            assert!(read(&section, &bytes[..length]).is_err(), "{length}");
            // The length is right, and the bytes do not come.
            let claimed = bytes.len().try_into().unwrap();
            let cut = Section::read(&bytes[..length], claimed, &expected(&section));
            assert!(matches!(cut, Err(Error::Truncated { .. })), "{length}");
        }
        assert!(read(&section, &[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn a_flipped_bit_is_refused_or_only_changes_a_length_or_a_fingerprint() {
        let section = section(3);
        let bytes = section.to_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = read(&section, &changed) {
                assert_eq!(read.data, section.data, "bit {bit}");
                let blocks: u64 = read
                    .frames
                    .iter()
                    .map(|frame| u64::from(frame.blocks))
                    .sum();
                assert_eq!(blocks, 9, "bit {bit}");
                assert_ne!(read, section, "bit {bit}");
            }
        }
    }

    #[track_caller]
    fn refused(change: impl Fn(&mut Vec<u8>), words: &str) {
        let section = section(3);
        let mut bytes = section.to_bytes();
        change(&mut bytes);
        let err = read(&section, &bytes).unwrap_err().to_string();
        assert!(err.contains(words), "{err}");
    }

    #[test]
    fn every_lie_is_refused() {
        let at = |place: usize, value: u32| {
            move |bytes: &mut Vec<u8>| {
                bytes[place..place + 4].copy_from_slice(&value.to_le_bytes());
            }
        };
        refused(at(8, 0x000c_0102), "version 2");
        refused(at(8, 0x000c_0201), "kind 2");
        refused(at(12, 9), "another image");
        refused(at(20, 9), "another image");
        refused(at(52, 1), "does not begin where");
        refused(at(60, 0), "more than can be");
        refused(at(60, 8), "does not end where");
        refused(at(60, 10), "does not end where");
        refused(at(60, u32::MAX), "more than can be");
        refused(at(64, 4), "counts its blocks");
        refused(at(64, u32::MAX), "more than can be");
        refused(at(68, 1), "fewer blocks");
        refused(at(68, u32::MAX), "more than can be");
        // There is said to be another section, and this is the end of the image.
        refused(at(72, 1), "does not end where");
        refused(|bytes| bytes[104] = 0, "without blocks");
        refused(|bytes| bytes[104] = 4, "more blocks");
        refused(|bytes| bytes[105] = 0, "no blocks compress to");
        refused(
            |bytes| drop(bytes.splice(105..106, [0xff, 0xff, 0xff, 0x7f])),
            "compress to",
        );
        refused(
            |bytes| drop(bytes.splice(105..106, [0x80, 0x00])),
            "not one",
        );
        refused(|bytes| drop(bytes.splice(105..106, [0xff; 5])), "not one");
        // The frames end at 109: 0 data, 3 zero, 5 data, 1 zero.
        refused(|bytes| bytes[110] = 0, "empty or too long");
        refused(|bytes| bytes[111] = 50, "empty or too long");
    }

    #[test]
    fn an_image_of_another_size_than_whole_blocks_has_no_index() {
        for (size, count) in [
            (0, Some(0)),
            (4096, Some(1)),
            (4097, None),
            (8 << 40, None),
            ((8 << 40) - 4096, Some((1 << 31) - 1)),
        ] {
            assert_eq!(block_count(size), count, "{size}");
        }
    }
}
