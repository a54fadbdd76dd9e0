//! Looking for the chunks of an image on a device. Pure: it is told what the device has.

use super::bits::Bits;
use super::block::{BLOCK, Fingerprint};
use super::chunk_plan::{ChunkPlace, ChunkPlan};
use super::section::{Chunks, Frame, Section};
use super::wanted::Wanted;

/// What has been found of a section that consists of chunks.
///
/// With the section and the plan, 32 bytes for each chunk.
pub struct ChunkSearch<'a> {
    frames: &'a [Frame],
    chunks: &'a Chunks,
    /// The chunks in the order of their fingerprints.
    order: Vec<u32>,
    /// Where the content of each group of equal chunks is; only that of a group's first in `order` is used.
    found: Vec<ChunkPlace>,
    /// The chunks that stand in the passive slot as they must.
    right: Bits,
}

impl<'a> ChunkSearch<'a> {
    /// Nothing found yet of `section`, which consists of `chunks`.
    #[must_use]
    pub fn new(section: &'a Section, chunks: &'a Chunks) -> Self {
        let mut order: Vec<u32> = (0_u32..).take(chunks.count()).collect();
        order.sort_unstable_by_key(|number| (print(chunks, *number), *number));
        Self {
            frames: section.frames(),
            chunks,
            found: vec![ChunkPlace::NOWHERE; order.len()],
            order,
            right: Bits::new(chunks.count()),
        }
    }

    /// The running slot has from byte `at` on what `print` tells.
    pub fn running(&mut self, at: u64, print: Fingerprint) {
        let print = self.chunks.cut(print);
        if let Some(found) = self
            .group(print)
            .and_then(|group| self.found.get_mut(group))
        {
            *found = ChunkPlace::running(at);
        }
    }

    /// The passive slot has from byte `at` on what `print` tells, or `length` zeros. To be told in ascending order.
    pub fn passive(&mut self, at: u64, length: u32, print: Option<Fingerprint>) {
        let chunks = self.chunks;
        let print = print.map(|print| chunks.cut(print));
        let here = chunks.at(at).filter(|number| {
            let place = chunks.place(*number);
            let length = at.saturating_add(length.into());
            place.is_some_and(|place| place.end == length) && chunks.print(*number) == print
        });
        if let Some(number) = here {
            self.right.insert(number);
        }
        let Some(group) = print.and_then(|print| self.group(print)) else {
            return;
        };
        if let Some(found) = self.found.get_mut(group) {
            // What is already where it belongs is not overwritten; what stands later is overwritten later.
            match (found.is_overwritten(), here) {
                (_, Some(_)) if !found.is_running() => *found = ChunkPlace::image(at),
                (true, None) => *found = ChunkPlace::passive(at),
                _ => {}
            }
        }
    }

    /// What to do, as all has been looked at.
    #[must_use]
    pub fn plan(mut self) -> ChunkPlan {
        let mut from = Vec::with_capacity(self.chunks.count());
        let mut wanted = Bits::new(self.frames.len());
        let mut chunk = 0_usize;
        for (number, frame) in self.frames.iter().enumerate() {
            for _ in 0..frame.units {
                let place = self.place(chunk);
                if place == ChunkPlace::NOWHERE && self.chunks.print(chunk).is_some() {
                    wanted.insert(number);
                }
                from.push(place);
                chunk = chunk.saturating_add(1);
            }
        }
        ChunkPlan::new(from, Wanted::new(wanted), self.right)
    }

    /// Where a chunk is to be had from, all before it being in place.
    fn place(&mut self, chunk: usize) -> ChunkPlace {
        let (Some(print), Some(here)) = (self.chunks.print(chunk), self.chunks.place(chunk)) else {
            return ChunkPlace::NOWHERE;
        };
        let is_right = self.right.contains(chunk);
        let length = here.end.saturating_sub(here.start);
        let Some(found) = self
            .group(print)
            .and_then(|group| self.found.get_mut(group))
        else {
            return ChunkPlace::NOWHERE;
        };
        let image = ChunkPlace::image(here.start);
        // What has been put together is on the device up to the last whole block; what comes later is still there.
        let written = here.start.saturating_sub(here.start % SECTOR);
        let place = match *found {
            _ if is_right => image,
            place if place.is_running() || place == ChunkPlace::NOWHERE => place,
            place if place.at() >= here.start => place,
            place if place.is_image() && place.at().saturating_add(length) <= written => place,
            _ => ChunkPlace::NOWHERE,
        };
        if !found.is_running() {
            // From now on it stands here for good.
            *found = image;
        }
        place
    }

    /// The first place in `order` of the chunks with this fingerprint.
    fn group(&self, wanted: Fingerprint) -> Option<usize> {
        let wanted = Some(wanted);
        let at = self
            .order
            .partition_point(|number| print(self.chunks, *number) < wanted);
        let number = self.order.get(at)?;
        (print(self.chunks, *number) == wanted).then_some(at)
    }
}

fn print(chunks: &Chunks, number: u32) -> Option<Fingerprint> {
    chunks.print(usize::try_from(number).ok()?)
}

/// What devices are written in, bytes.
const SECTOR: u64 = BLOCK as u64;
