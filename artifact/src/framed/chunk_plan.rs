//! Where every chunk of a section is to be had from. Pure.

use super::bits::Bits;
use super::section::Chunks;
use super::wanted::Wanted;

/// Where the content of a chunk is to be had from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkPlace(u64);

impl ChunkPlace {
    /// From its frame only.
    pub const NOWHERE: Self = Self(u64::MAX);

    /// The two top bits say where; no image has so many bytes.
    const PASSIVE: u64 = 1 << 63;
    const IMAGE: u64 = 1 << 62;
    const PLACE: u64 = Self::IMAGE - 1;

    pub(super) fn running(at: u64) -> Self {
        Self(at & Self::PLACE)
    }

    /// In the passive slot, where something else is going to be.
    pub(super) fn passive(at: u64) -> Self {
        Self(at & Self::PLACE | Self::PASSIVE)
    }

    /// In the passive slot, as a part of the image.
    pub(super) fn image(at: u64) -> Self {
        Self(at & Self::PLACE | Self::PASSIVE | Self::IMAGE)
    }

    /// The byte from which on it is there.
    pub(super) fn at(self) -> u64 {
        self.0 & Self::PLACE
    }

    pub(super) fn is_running(self) -> bool {
        self.0 & Self::PASSIVE == 0
    }

    pub(super) fn is_image(self) -> bool {
        self.0 & Self::IMAGE != 0 && self != Self::NOWHERE
    }

    /// It is nowhere, or where something else is going to be.
    pub(super) fn is_overwritten(self) -> bool {
        !self.is_running() && !self.is_image()
    }

    /// From which byte on the running slot has it.
    #[must_use]
    pub fn running_at(self) -> Option<u64> {
        self.is_running().then(|| self.at())
    }

    /// From which byte on the passive slot has it.
    #[must_use]
    pub fn passive_at(self) -> Option<u64> {
        (!self.is_running() && self != Self::NOWHERE).then(|| self.at())
    }
}

/// How to get a section of an image together that consists of chunks.
#[derive(Debug)]
pub struct ChunkPlan {
    /// For each chunk.
    from: Vec<ChunkPlace>,
    wanted: Wanted,
    /// The chunks that are in place.
    right: Bits,
}

impl ChunkPlan {
    pub(super) fn new(from: Vec<ChunkPlace>, wanted: Wanted, right: Bits) -> Self {
        Self {
            from,
            wanted,
            right,
        }
    }

    /// Whether a chunk stands in the passive slot already.
    #[must_use]
    pub fn is_right(&self, chunk: usize) -> bool {
        self.right.contains(chunk)
    }

    /// How many bytes do.
    #[must_use]
    pub fn right_bytes(&self, chunks: &Chunks) -> u64 {
        let right = (0..chunks.count()).filter(|chunk| self.is_right(*chunk));
        let places = right.filter_map(|chunk| chunks.place(chunk));
        let lengths = places.map(|place| place.end.saturating_sub(place.start));
        lengths.fold(0, u64::saturating_add)
    }

    /// Where a chunk that is not zero is to be had from.
    #[must_use]
    pub fn place(&self, chunk: usize) -> ChunkPlace {
        let place = self.from.get(chunk);
        place.copied().unwrap_or(ChunkPlace::NOWHERE)
    }

    /// The frames to fetch.
    #[must_use]
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    pub(super) fn into_wanted(self) -> Wanted {
        self.wanted
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::Digest;
    use crate::framed::block::Fingerprint;
    use crate::framed::chunk_search::ChunkSearch;
    use crate::framed::prints::{Prints, Width};
    use crate::framed::section::{Division, Frame, Section};

    /// Every letter is a chunk of its own length: `a` 3000 bytes, `b` 6000 and so on; `.` is zeros.
    fn length(letter: char) -> u32 {
        match letter {
            '.' => 5000,
            letter => (u32::from(letter) - u32::from('a') + 1) * 3000,
        }
    }

    fn print(letter: char) -> Option<Fingerprint> {
        Fingerprint::of(&[u8::try_from(letter).unwrap()]).filter(|_| letter != '.')
    }

    /// What is done for each chunk of `image`: `=` nothing, `0` zeros, `r` and `p` copied from the running and the
    /// passive slot, `f` fetched. What is copied is what is wanted, and is still there.
    #[track_caller]
    fn check(image: &str, running: &str, passive: &str, expected: &str) {
        let prints = image
            .chars()
            .map(|letter| print(letter).unwrap_or(Fingerprint::ZEROS));
        let prints = Prints::new(prints, Width::new(6).unwrap());
        let chunks = Chunks::new(0, image.chars().map(length), prints);
        let section = Section {
            image_size: chunks.range().end,
            image_sha256: Digest::of(b""),
            frames: vec![
                Frame {
                    units: 1,
                    length: 100
                };
                image.len()
            ],
            division: Division::Chunks(chunks.clone()),
            next: None,
        };
        let place = |slot: &str, number: usize| -> u64 {
            slot.chars()
                .take(number)
                .map(|letter| u64::from(length(letter)))
                .sum()
        };
        let mut search = ChunkSearch::new(&section, &chunks);
        for (number, letter) in running.chars().enumerate() {
            if let Some(print) = print(letter) {
                search.running(place(running, number), print);
            }
        }
        for (number, letter) in passive.chars().enumerate() {
            search.passive(place(passive, number), length(letter), print(letter));
        }
        let plan = search.plan();
        let mut done = String::new();
        for (number, letter) in image.chars().enumerate() {
            let start = place(image, number);
            let from = plan.place(number);
            let what = if plan.is_right(number) {
                assert!(
                    passive
                        .chars()
                        .enumerate()
                        .any(|(other, found)| found == letter && place(passive, other) == start)
                );
                '='
            } else if letter == '.' {
                '0'
            } else if let Some(at) = from.running_at() {
                assert!(
                    running
                        .chars()
                        .enumerate()
                        .any(|(other, found)| found == letter && place(running, other) == at)
                );
                'r'
            } else if let Some(at) = from.passive_at() {
                let end = at + u64::from(length(letter));
                let there = |slot: &str| {
                    slot.chars()
                        .enumerate()
                        .any(|(other, found)| found == letter && place(slot, other) == at)
                };
                // What stands there now: the image up to here, and what was there from here on.
                let written = start / 4096 * 4096;
                assert!(
                    at >= start && (there(passive)) || end <= written && there(image),
                    "{image} {number}"
                );
                'p'
            } else {
                'f'
            };
            assert_eq!(
                plan.wanted().wants(number),
                what == 'f',
                "{image} chunk {number}"
            );
            done.push(what);
        }
        assert_eq!(done, expected, "{image} from {running} and {passive}");
    }

    #[test]
    fn what_the_device_has_is_not_fetched() {
        check("abc", "", "", "fff");
        check("a.c", "", "", "f0f");
        check("a.c", "", "a.x", "==f");
        check("abc", "cab", "", "rrr");
        check("abc", "cab", "abc", "===");
        check("abcd", "b", "xad", "prfp");
    }

    #[test]
    fn what_has_been_overwritten_is_not_read() {
        // Behind what is written it is there, before it is not.
        check("cab", "", "zab", "fpp");
        check("cab", "", "abc", "pff");
        // What has been written can be read again once it is on the device.
        check("aba", "", "", "ffp");
        check("bab", "", "", "ffp");
        check("aa", "", "", "ff");
        check("bb", "", "", "ff");
    }
}
