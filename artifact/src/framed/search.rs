//! Looking for the blocks of an image on a device. Pure: it is told what the device has.

use super::bits::Bits;
use super::block::Fingerprint;
use super::plan::{Place, Plan};
use super::section::{Blocks, Frame, Section};
use super::wanted::Wanted;

/// What has been found of a section.
///
/// With the section and the plan, twenty bytes for each block that is not zero.
pub struct Search<'a> {
    frames: &'a [Frame],
    blocks: &'a Blocks,
    /// The blocks that are not zero, in the order of their fingerprints.
    order: Vec<u32>,
    /// Where the content of each group of equal blocks is; only that of a group's first in `order` is used.
    found: Vec<Place>,
    /// The blocks of the section that stand in the passive slot as they must.
    right: Bits,
}

impl<'a> Search<'a> {
    /// Nothing found yet of `section`, which consists of `blocks`.
    #[must_use]
    pub fn new(section: &'a Section, blocks: &'a Blocks) -> Self {
        let mut order: Vec<u32> = (0_u32..).take(blocks.prints.len()).collect();
        order.sort_unstable_by_key(|number| (print(blocks, *number), *number));
        Self {
            frames: section.frames(),
            blocks,
            found: vec![Place::NOWHERE; order.len()],
            order,
            right: Bits::new(blocks.data.len()),
        }
    }

    /// The running slot has at `block` what `print` tells.
    pub fn running(&mut self, block: u32, print: Fingerprint) {
        let print = self.blocks.cut(print);
        if let Some(found) = self.group(print).and_then(|at| self.found.get_mut(at)) {
            *found = Place::running(block);
        }
    }

    /// The passive slot has at `block` what `print` tells, or zeros. To be told in ascending order.
    pub fn passive(&mut self, block: u32, print: Option<Fingerprint>) {
        let blocks = self.blocks;
        let print = print.map(|print| blocks.cut(print));
        if blocks.range().contains(&block.into()) && blocks.print(block.into()) == print {
            let place = u64::from(block).saturating_sub(blocks.first);
            self.right
                .insert(usize::try_from(place).unwrap_or(usize::MAX));
        }
        let Some(at) = print.and_then(|print| self.group(print)) else {
            return;
        };
        let stays = |place: Place| match place {
            Place::NOWHERE => false,
            place => match place.passive_block() {
                // What is already where it belongs is not overwritten; what stands later is overwritten later.
                Some(before) => blocks.print(before.into()) == print,
                None => true,
            },
        };
        if let Some(found) = self.found.get_mut(at).filter(|found| !stays(**found)) {
            *found = Place::passive(block);
        }
    }

    /// What to do, as all has been looked at.
    #[must_use]
    pub fn plan(mut self) -> Plan {
        let blocks = self.blocks;
        let mut from = Vec::with_capacity(blocks.prints.len());
        let mut wanted = Bits::new(self.frames.len());
        let mut block = blocks.first;
        for (number, frame) in self.frames.iter().enumerate() {
            for _ in 0..frame.units {
                if let Some(print) = blocks.print(block) {
                    let place = self.place(block, print);
                    if place == Place::NOWHERE {
                        wanted.insert(number);
                    }
                    from.push(place);
                }
                block = block.saturating_add(1);
            }
        }
        Plan::new(from, Wanted::new(wanted), self.right)
    }

    /// Where `block` is to be had from, all before it being in place.
    fn place(&mut self, block: u64, print: Fingerprint) -> Place {
        let offset = block.saturating_sub(self.blocks.first);
        let right = self
            .right
            .contains(usize::try_from(offset).unwrap_or(usize::MAX));
        let Some(here) = u32::try_from(block).ok().map(Place::passive) else {
            return Place::NOWHERE;
        };
        let blocks = self.blocks;
        let Some(found) = self.group(print).and_then(|at| self.found.get_mut(at)) else {
            return Place::NOWHERE;
        };
        let place = match found.passive_block().map(u64::from) {
            _ if right => here,
            // It has been overwritten, unless with what it had.
            Some(other)
                if other < block
                    && blocks.range().contains(&other)
                    && blocks.print(other) != Some(print) =>
            {
                Place::NOWHERE
            }
            Some(_) | None => *found,
        };
        if found.passive_block().is_some() || *found == Place::NOWHERE {
            // From now on it stands here for good.
            *found = here;
        }
        place
    }

    /// The first place in `order` of the blocks with this fingerprint.
    fn group(&self, wanted: Fingerprint) -> Option<usize> {
        let at = self
            .order
            .partition_point(|number| print(self.blocks, *number) < Some(wanted));
        let number = self.order.get(at)?;
        (print(self.blocks, *number) == Some(wanted)).then_some(at)
    }
}

fn print(blocks: &Blocks, number: u32) -> Option<Fingerprint> {
    blocks.prints.get(usize::try_from(number).ok()?)
}
