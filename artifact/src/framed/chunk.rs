//! Chunks: pieces of an image that end where their content says, so that they are the same wherever they stand.
//!
//! For file systems that pack their files without gaps, where one byte more shifts everything behind it. FastCDC (Xia and
//! others, 2016): a hash of the last bytes rolls over the content, and a chunk ends where it has zeros in certain bits;
//! fewer of them once the chunk has the usual length, so that most lengths are near it.

use crate::digest::Sha256;

use super::block::{Fingerprint, is_zero};

/// The shortest chunk but the last, bytes.
const MIN_CHUNK: u32 = 1 << 10;

/// The usual length of a chunk, bytes. Twice of it would add a twentieth to what is fetched, and halve the index.
const USUAL_CHUNK: u32 = 4 << 10;

/// The longest chunk, bytes.
pub const MAX_CHUNK: u32 = 64 << 10;

/// Fourteen and ten bits of the hash, spread over it: those that the paper has for chunks of twice the length, less one.
const STRICT: u64 = 0x0003_5907_0352_0000;
const LAX: u64 = 0x0000_d900_0352_0000;

/// A chunk that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// How long it is, bytes.
    pub length: u32,
    /// What it is told by; `None` if it is all zeros.
    pub print: Option<Fingerprint>,
}

/// Finds the chunks of what it is given, in pieces of any size.
pub struct Chunker {
    /// The hash of the last bytes.
    hash: u64,
    /// How much of a chunk has come.
    length: u32,
    sum: Sha256,
    zeros: bool,
}

impl Default for Chunker {
    fn default() -> Self {
        Self {
            hash: 0,
            length: 0,
            sum: Sha256::new(),
            zeros: true,
        }
    }
}

impl Chunker {
    /// At the beginning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes more bytes, and tells `each` the chunks that have ended.
    pub fn take(&mut self, mut bytes: &[u8], mut each: impl FnMut(Chunk)) {
        while !bytes.is_empty() {
            let (mine, ended) = self.cut(bytes);
            let (mine, rest) = bytes.split_at(mine.min(bytes.len()));
            self.sum.update(mine);
            self.zeros = self.zeros && is_zero(mine);
            bytes = rest;
            if ended {
                each(self.chunk());
            }
        }
    }

    /// The last chunk, if anything is left.
    pub fn end(mut self) -> Option<Chunk> {
        (self.length > 0).then(|| self.chunk())
    }

    /// How many of `bytes` belong to the chunk that has begun, and whether it ends there.
    fn cut(&mut self, bytes: &[u8]) -> (usize, bool) {
        // What is before the earliest end need not be looked at, but for what the hash remembers.
        const SKIPPED: u32 = MIN_CHUNK.saturating_sub(64);
        let skipped = SKIPPED.saturating_sub(self.length);
        let skipped = usize::try_from(skipped).unwrap_or(0).min(bytes.len());
        self.length = self
            .length
            .saturating_add(u32::try_from(skipped).unwrap_or(0));
        for (count, byte) in bytes.iter().enumerate().skip(skipped) {
            let gear = GEAR.get(usize::from(*byte)).copied().unwrap_or_default();
            self.hash = (self.hash << 1).wrapping_add(gear);
            self.length = self.length.saturating_add(1);
            let mask = match self.length < USUAL_CHUNK {
                true => STRICT,
                false => LAX,
            };
            let ends = self.length >= MIN_CHUNK && self.hash & mask == 0;
            if ends || self.length >= MAX_CHUNK {
                return (count.saturating_add(1), true);
            }
        }
        (bytes.len(), false)
    }

    fn chunk(&mut self) -> Chunk {
        let done = std::mem::take(self);
        let print = Fingerprint::of_sum(&done.sum.finish());
        Chunk {
            length: done.length,
            print: (!done.zeros).then_some(print),
        }
    }
}

/// A number for each byte. Part of the format: with others, devices would find other chunks than the index has.
static GEAR: [u64; 256] = gear();

/// The first 256 numbers of SplitMix64.
const fn gear() -> [u64; 256] {
    let mut gear = [0; 256];
    let mut state = 0_u64;
    let mut place = 0;
    while place < gear.len() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = state;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        #[expect(clippy::indexing_slicing, reason = "below the length")]
        {
            gear[place] = value ^ (value >> 31);
        }
        place = place.wrapping_add(1);
    }
    gear
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    fn chunks(bytes: &[u8], piece: usize) -> Vec<Chunk> {
        let mut chunker = Chunker::new();
        let mut found = Vec::new();
        for bytes in bytes.chunks(piece) {
            chunker.take(bytes, |chunk| found.push(chunk));
        }
        found.extend(chunker.end());
        found
    }

    #[test]
    fn chunks_do_not_depend_on_the_pieces_and_have_their_lengths() {
        let bytes = noise(1 << 20);
        let whole = chunks(&bytes, bytes.len());
        let lengths: Vec<u32> = whole.iter().map(|chunk| chunk.length).collect();
        assert_eq!(lengths.iter().sum::<u32>(), 1 << 20);
        let (last, others) = lengths.split_last().unwrap();
        assert!(
            others
                .iter()
                .all(|length| (MIN_CHUNK..=MAX_CHUNK).contains(length))
        );
        assert!(*last <= MAX_CHUNK);
        let usual = (1 << 20) / u32::try_from(lengths.len()).unwrap();
        assert!((3 << 10..6 << 10).contains(&usual), "{usual}");
        for piece in [1, 100, 4096, 70_000] {
            assert_eq!(chunks(&bytes, piece), whole, "{piece}");
        }
    }

    #[test]
    fn what_is_put_in_front_changes_only_the_first_chunks() {
        let bytes = noise(1 << 20);
        let shifted = [&[7; 13], &bytes[..]].concat();
        let (before, after) = (chunks(&bytes, 4096), chunks(&shifted, 4096));
        let new = after.iter().filter(|chunk| !before.contains(chunk)).count();
        assert!(new <= 3, "{new} of {}", after.len());
    }

    #[test]
    fn zeros_are_long_chunks_without_a_print() {
        let found = chunks(&[0; 150_000], 4096);
        assert!(found.iter().all(|chunk| chunk.print.is_none()));
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn the_cuts_stay_where_they_are() {
        // Of the format: an index that was written is looked for with them.
        let lengths: Vec<u32> = chunks(&noise(40_000), 4096)
            .iter()
            .map(|chunk| chunk.length)
            .collect();
        let expected = [4842, 3989, 4734, 2540, 4179, 4717, 4422, 3578, 6999];
        assert_eq!(lengths, expected);
    }
}
