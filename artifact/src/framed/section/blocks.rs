//! A section of an image that is divided into blocks of one size.

use std::io::Read;
use std::ops::Range;

use super::input::{Input, fault, varint};
use crate::error::Error;
use crate::framed::bits::{Bits, Ranks};
use crate::framed::block::Fingerprint;
use crate::framed::prints::Prints;

/// The blocks of a section. Those of zeros have no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks {
    pub(in crate::framed) first: u64,
    /// The blocks that are not zero, counted from the first of the section.
    pub(in crate::framed) data: Bits,
    ranks: Ranks,
    /// Of those, in order.
    pub(in crate::framed) prints: Prints,
}

impl Blocks {
    pub(in crate::framed) fn new(first: u64, data: Bits, prints: Prints) -> Self {
        Self {
            first,
            ranks: data.ranks(),
            data,
            prints,
        }
    }

    /// Their numbers in the image.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.first..self.first.saturating_add(self.data.len() as u64)
    }

    /// What a block of the image must have; `None` for one of zeros, or if it is not in this section.
    #[must_use]
    pub fn print(&self, block: u64) -> Option<Fingerprint> {
        self.prints.get(self.number(block)?)
    }

    /// Whether `content` is what a block must have, and not zeros.
    #[must_use]
    pub fn is(&self, block: u64, content: &[u8]) -> bool {
        let print = self.print(block);
        print.is_some() && Fingerprint::of(content).map(|print| self.cut(print)) == print
    }

    /// The part of a fingerprint that counts in this section.
    pub(in crate::framed) fn cut(&self, print: Fingerprint) -> Fingerprint {
        self.prints.width().of(print)
    }

    /// The place of a block among those that are not zero.
    pub(in crate::framed) fn number(&self, block: u64) -> Option<usize> {
        let place = usize::try_from(block.checked_sub(self.first)?).ok()?;
        let is_data = self.data.contains(place);
        is_data.then(|| self.data.rank(&self.ranks, place))
    }

    pub(super) fn write_runs(&self, bytes: &mut Vec<u8>) {
        let (mut value, mut run) = (true, 0_u32);
        for block in 0..self.data.len() {
            if self.data.contains(block) != value {
                varint(bytes, run);
                (value, run) = (!value, 0);
            }
            run = run.saturating_add(1);
        }
        varint(bytes, run);
    }
}

/// The blocks that are not zero.
pub(super) fn runs(input: &mut Input<impl Read>, blocks: usize) -> Result<Bits, Error> {
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
