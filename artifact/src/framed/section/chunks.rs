//! A section of an image that is divided where its content says.

use std::io::Read;
use std::ops::Range;

use super::input::{Input, fault, varint};
use crate::digest::Digest;
use crate::error::Error;
use crate::framed::block::Fingerprint;
use crate::framed::chunk::MAX_CHUNK;
use crate::framed::prints::Prints;

/// The chunks of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunks {
    /// Where the first begins in the image, bytes.
    first: u64,
    /// Where each ends, bytes from the beginning of the section.
    ends: Vec<u32>,
    prints: Prints,
}

impl Chunks {
    /// Chunks of these lengths from byte `first` of the image on, together less than 4 GiB.
    pub(in crate::framed) fn new(
        first: u64,
        lengths: impl IntoIterator<Item = u32>,
        prints: Prints,
    ) -> Self {
        let mut end = 0_u32;
        let ends = lengths.into_iter().map(|length| {
            end = end.saturating_add(length);
            end
        });
        Self {
            first,
            ends: ends.collect(),
            prints,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of the image that they are.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        let length = self.ends.last().copied().unwrap_or_default();
        self.first..self.first.saturating_add(length.into())
    }

    /// The bytes of the image that chunk `number` is.
    #[must_use]
    pub fn place(&self, number: usize) -> Option<Range<u64>> {
        let end = self.ends.get(number)?;
        let before = number
            .checked_sub(1)
            .and_then(|before| self.ends.get(before));
        let at = |end: u32| self.first.saturating_add(end.into());
        Some(at(before.copied().unwrap_or_default())..at(*end))
    }

    /// How many bytes these have.
    pub(super) fn size(&self, chunks: Range<usize>) -> u64 {
        let end = |count: usize| {
            let last = count.checked_sub(1).and_then(|last| self.ends.get(last));
            last.copied().unwrap_or_default()
        };
        end(chunks.end).saturating_sub(end(chunks.start)).into()
    }

    /// The chunk that begins at byte `at` of the image.
    pub(in crate::framed) fn at(&self, at: u64) -> Option<usize> {
        let at = u32::try_from(at.checked_sub(self.first)?).ok()?;
        match at {
            0 => Some(0),
            _ => Some(self.ends.binary_search(&at).ok()?.saturating_add(1)),
        }
        .filter(|number| *number < self.ends.len())
    }

    /// What chunk `number` must have; `None` if that is zeros, or there is none.
    #[must_use]
    pub fn print(&self, number: usize) -> Option<Fingerprint> {
        self.prints
            .get(number)
            .filter(|print| *print != Fingerprint::ZEROS)
    }

    /// Whether `content` is what chunk `number` must have, and not zeros.
    #[must_use]
    pub fn is(&self, number: usize, content: &[u8]) -> bool {
        self.print(number) == Some(self.cut(Fingerprint::of_sum(&Digest::of(content))))
    }

    /// The part of a fingerprint that counts in this section.
    pub(in crate::framed) fn cut(&self, print: Fingerprint) -> Fingerprint {
        self.prints.width().of(print)
    }

    pub(super) fn prints(&self) -> &Prints {
        &self.prints
    }

    pub(super) fn write_lengths(&self, bytes: &mut Vec<u8>) {
        let mut before = 0;
        for end in &self.ends {
            varint(bytes, end.saturating_sub(before));
            before = *end;
        }
    }
}

/// The lengths of so many chunks.
pub(super) fn lengths(input: &mut Input<impl Read>, count: usize) -> Result<Vec<u32>, Error> {
    let mut lengths = Vec::with_capacity(count);
    let mut all = 0_u32;
    for _ in 0..count {
        let length = input.varint()?;
        if length == 0 || length > MAX_CHUNK {
            return Err(fault("has a chunk that is empty or too long"));
        }
        all = all
            .checked_add(length)
            .ok_or_else(|| fault("describes more than it can"))?;
        lengths.push(length);
    }
    Ok(lengths)
}
