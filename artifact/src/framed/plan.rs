//! Where every block of a section is to be had from. Pure.

use super::bits::Bits;
use super::section::Blocks;
use super::wanted::Wanted;

/// Where the content of a block is to be had from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    /// From its frame only.
    pub const NOWHERE: Self = Self(u32::MAX);

    /// The top bit says which slot; no image has so many blocks.
    const PASSIVE: u32 = 1 << 31;

    pub(super) fn running(block: u32) -> Self {
        Self(block & !Self::PASSIVE)
    }

    pub(super) fn passive(block: u32) -> Self {
        Self(block | Self::PASSIVE)
    }

    /// The block of the running slot that has it.
    #[must_use]
    pub fn running_block(self) -> Option<u32> {
        (self.0 & Self::PASSIVE == 0).then_some(self.0)
    }

    /// The block of the passive slot that has it.
    #[must_use]
    pub fn passive_block(self) -> Option<u32> {
        (self.0 & Self::PASSIVE != 0 && self != Self::NOWHERE).then_some(self.0 & !Self::PASSIVE)
    }
}

/// How to get a section of an image together.
#[derive(Debug)]
pub struct Plan {
    /// For each block that is not zero.
    from: Vec<Place>,
    wanted: Wanted,
    /// The blocks that are in place.
    right: Bits,
}

impl Plan {
    pub(super) fn new(from: Vec<Place>, wanted: Wanted, right: Bits) -> Self {
        Self {
            from,
            wanted,
            right,
        }
    }

    /// Whether a block of the image stands in the passive slot already.
    #[must_use]
    pub fn is_right(&self, blocks: &Blocks, block: u64) -> bool {
        let place = block.saturating_sub(blocks.first);
        usize::try_from(place).is_ok_and(|place| self.right.contains(place))
    }

    /// How many blocks of the section do.
    #[must_use]
    pub fn right_blocks(&self) -> usize {
        self.right.count()
    }

    /// Where a block that is not zero is to be had from.
    #[must_use]
    pub fn place(&self, blocks: &Blocks, block: u64) -> Place {
        let place = blocks
            .number(block)
            .and_then(|number| self.from.get(number));
        place.copied().unwrap_or(Place::NOWHERE)
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
#[expect(
    clippy::arithmetic_side_effects,
    clippy::single_range_in_vec_init,
    reason = "a test may panic, and a list of ranges may have one"
)]
mod tests {
    use super::*;
    use crate::Digest;
    use crate::framed::prints::{Prints, Width};
    use crate::framed::search::Search;
    use crate::framed::section::{Division, Frame, Section};
    use crate::framed::{BLOCK, Fingerprint};

    fn print(letter: char) -> Option<Fingerprint> {
        let byte = u8::try_from(letter).unwrap();
        Fingerprint::of(&[byte.wrapping_sub(b'.'); BLOCK])
    }

    /// An image of which each letter is a block, `.` being zeros; from block `first` on, in frames of so many blocks.
    fn section(text: &str, first: u64, frame: u16) -> Section {
        let mut data = Bits::new(text.len());
        for (place, letter) in text.chars().enumerate() {
            if letter != '.' {
                data.insert(place);
            }
        }
        let width = Width::new(4).unwrap();
        let prints = Prints::new(text.chars().filter_map(print), width);
        Section {
            image_size: (first + text.len() as u64) * BLOCK as u64,
            image_sha256: Digest::of(b""),
            frames: (0..text.len())
                .step_by(frame.into())
                .map(|_| Frame {
                    units: frame,
                    length: 100,
                })
                .collect(),
            division: Division::Blocks(Blocks::new(first, data, prints)),
            next: None,
        }
    }

    fn blocks(section: &Section) -> &Blocks {
        match section.division() {
            Division::Blocks(blocks) => blocks,
            Division::Chunks(_) => panic!("these are blocks"),
        }
    }

    /// What is done for each block: `=` nothing, `0` zeros, `r` and `p` copied from the running and the passive slot,
    /// `f` fetched. What is copied is what is wanted, at the time when it is copied.
    #[track_caller]
    fn check(image: &str, running: &str, passive: &str, expected: &str) {
        check_from(0, image, running, passive, expected);
    }

    #[track_caller]
    fn check_from(first: usize, image: &str, running: &str, passive: &str, expected: &str) {
        let section = section(image, first as u64, 1);
        let mut search = Search::new(&section, blocks(&section));
        for (block, letter) in running.chars().enumerate() {
            if let Some(print) = print(letter) {
                search.running(block.try_into().unwrap(), print);
            }
        }
        for (block, letter) in passive.chars().enumerate() {
            search.passive(block.try_into().unwrap(), print(letter));
        }
        let plan = search.plan();
        let running: Vec<char> = running.chars().collect();
        let mut slot: Vec<char> = passive.chars().collect();
        slot.resize(slot.len().max(first + image.len()), '?');
        let mut done = String::new();
        for (place, letter) in image.chars().enumerate() {
            let block = (first + place) as u64;
            let from = plan.place(blocks(&section), block);
            let (found, what) = if plan.is_right(blocks(&section), block) {
                (slot[first + place], '=')
            } else if letter == '.' {
                ('.', '0')
            } else if let Some(other) = from.running_block() {
                (running[other as usize], 'r')
            } else if let Some(other) = from.passive_block() {
                (slot[other as usize], 'p')
            } else {
                (letter, 'f')
            };
            assert_eq!(found, letter, "{image} block {place}");
            assert_eq!(
                plan.wanted().wants(place),
                what == 'f',
                "{image} block {place}"
            );
            slot[first + place] = letter;
            done.push(what);
        }
        assert_eq!(done, expected, "{image} from {running:?} and {passive}");
    }

    #[test]
    fn what_the_device_has_is_not_fetched() {
        check("abc", "", "", "fff");
        check("a.c", "", "", "f0f");
        check("a.c", "", "...", "f=f");
        check("abc", "cab", "", "rrr");
        check("abc", "b", "abx", "==f");
        check("a.b", "a.b", "a.b", "===");
        check("aab", "b", "...", "fpr");
    }

    #[test]
    fn what_has_been_overwritten_is_not_read() {
        // Each must be read before it is overwritten.
        check("abc", "", "bca", "pff");
        check("ab", "", "ba", "pf");
        check("xab", "", "aba", "fpf");
        // It stays where it is, and so can be read at any time.
        check("axa", "", "ayy", "=fp");
        check("ba", "", "aa", "f=");
        check("cba", "", "a.a", "ff=");
        // What was found is gone, but what took its place is the same.
        check("aaa", "", "..a", "pp=");
        check("abab", "", "....", "ffpp");
    }

    #[test]
    fn what_stands_outside_the_section_can_be_read() {
        check_from(2, "ab", "", "ab", "pp");
        check_from(2, "ab", "", "..xxba", "pp");
    }

    #[test]
    fn runs_go_over_small_gaps_and_not_over_large_ones() {
        for (passive, gap, expected) in [
            ("........", 0, vec![0..8]),
            ("abcdefgh", 0, vec![]),
            ("a.cdefgh", 0, vec![1..2]),
            ("a.c.efg.", 0, vec![1..2, 3..4, 7..8]),
            ("a.c.efg.", 99, vec![1..2, 3..4, 7..8]),
            ("a.c.efg.", 100, vec![1..4, 7..8]),
            ("a.c.efg.", 300, vec![1..8]),
            (".bcdefgh", 1000, vec![0..1]),
        ] {
            let section = section("abcdefgh", 0, 1);
            let mut search = Search::new(&section, blocks(&section));
            for (block, letter) in passive.chars().enumerate() {
                search.passive(block.try_into().unwrap(), print(letter));
            }
            let plan = search.plan();
            let runs: Vec<_> = plan.wanted().runs(&section, gap).collect();
            let frames: Vec<_> = runs.iter().map(|run| run.frames.clone()).collect();
            assert_eq!(frames, expected, "{passive} {gap}");
            for run in runs {
                let bytes = run.frames.start as u64 * 100..run.frames.end as u64 * 100;
                assert_eq!(run.bytes, bytes);
            }
        }
    }
}
