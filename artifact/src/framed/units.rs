//! What an image consists of, in blocks or in chunks.

use std::ops::Range;

use super::bits::{Bits, Ranks};
use super::block::{BLOCK, Fingerprint};
use super::chunk::Chunk;

/// The blocks or the chunks of an image.
#[derive(Debug)]
pub(super) struct Units {
    /// Where each ends, bytes; without it all are blocks.
    ends: Option<Vec<u64>>,
    /// Those that are not zero.
    pub(super) data: Bits,
    ranks: Ranks,
    /// Of those, in order.
    pub(super) prints: Vec<Fingerprint>,
}

impl Units {
    pub(super) fn of_blocks(prints: Vec<Option<Fingerprint>>) -> Self {
        Self::new(None, prints)
    }

    pub(super) fn of_chunks(chunks: &[Chunk]) -> Self {
        let mut end = 0_u64;
        let ends = chunks.iter().map(|chunk| {
            end = end.saturating_add(chunk.length.into());
            end
        });
        let ends = ends.collect();
        let prints = chunks.iter().map(|chunk| chunk.print).collect();
        Self::new(Some(ends), prints)
    }

    fn new(ends: Option<Vec<u64>>, prints: Vec<Option<Fingerprint>>) -> Self {
        let mut data = Bits::new(prints.len());
        for (place, print) in prints.iter().enumerate() {
            if print.is_some() {
                data.insert(place);
            }
        }
        Self {
            ends,
            ranks: data.ranks(),
            data,
            prints: prints.into_iter().flatten().collect(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.data.len()
    }

    pub(super) fn are_chunks(&self) -> bool {
        self.ends.is_some()
    }

    /// How long unit `number` is, bytes.
    pub(super) fn length(&self, number: usize) -> u32 {
        let length = self.size(number..number.saturating_add(1));
        u32::try_from(length).unwrap_or(u32::MAX)
    }

    /// How long these are, bytes.
    pub(super) fn size(&self, units: Range<usize>) -> u64 {
        let Some(ends) = &self.ends else {
            return (units.len() as u64).saturating_mul(BLOCK as u64);
        };
        let end = |count: usize| {
            let last = count.checked_sub(1).and_then(|last| ends.get(last));
            last.copied().unwrap_or_default()
        };
        end(units.end).saturating_sub(end(units.start))
    }

    /// How many of those before `number` are not zero.
    pub(super) fn rank(&self, number: usize) -> usize {
        self.data.rank(&self.ranks, number)
    }

    /// Those that are neither zero nor in `known`, which is in ascending order.
    pub(super) fn missing(&self, known: &[Fingerprint]) -> Bits {
        let mut missing = Bits::new(self.count());
        let places = (0..self.count()).filter(|place| self.data.contains(*place));
        for (place, print) in places.zip(&self.prints) {
            if known.binary_search(print).is_err() {
                missing.insert(place);
            }
        }
        missing
    }

    /// How many bytes the units in `set` have.
    pub(super) fn size_of(&self, set: &Bits) -> u64 {
        let members = (0..self.count()).filter(|place| set.contains(*place));
        let lengths = members.map(|place| u64::from(self.length(place)));
        lengths.fold(0, u64::saturating_add)
    }
}
