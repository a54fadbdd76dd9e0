//! The index of a framed payload, and what is made of it: it is refused, or what is planned stays within its bounds.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use tandem_artifact::Digest;
use tandem_artifact::framed::{BLOCK, COALESCE, Expected, Fingerprint, Place, Search, Section};

/// An index that is right but for what is said otherwise: few inputs of mere bytes come so far.
#[derive(Arbitrary, Debug)]
struct Parts<'a> {
    first: u32,
    /// Blocks and bytes of each frame.
    frames: Vec<(u16, u32)>,
    /// Lengths of the runs of data and of zeros, in turns.
    runs: Vec<u32>,
    more: bool,
    /// Bytes to put somewhere.
    lies: Vec<(u16, &'a [u8])>,
    behind: &'a [u8],
    /// What is on the device: in which slot, where, and which content.
    found: Vec<(bool, u32, u64)>,
}

fn varint(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(0x80 | (value & 0x7f) as u8);
        value >>= 7;
    }
    bytes.push(value as u8);
}

impl Parts<'_> {
    /// The index, and what it must say.
    fn index(&self) -> (Vec<u8>, Expected) {
        let frames = &self.frames[..self.frames.len().min(200)];
        let blocks: u32 = frames.iter().map(|(blocks, _)| u32::from(*blocks)).sum();
        let data: u32 = self
            .runs
            .iter()
            .step_by(2)
            .fold(0, |sum, run| sum.saturating_add(*run));
        let all = u64::from(self.first) + u64::from(blocks) + u64::from(self.more);
        let expected = Expected {
            image_size: all * BLOCK as u64,
            image_sha256: Digest::from_bytes([7; 32]),
            first: self.first.into(),
            sha256: None,
        };
        let mut bytes = b"TandemIX\x01\x01\x0c\0".to_vec();
        bytes.extend(expected.image_size.to_le_bytes());
        bytes.extend([7; 32]);
        bytes.extend(expected.first.to_le_bytes());
        for count in [blocks, data, frames.len() as u32] {
            bytes.extend(count.to_le_bytes());
        }
        bytes.extend([u8::from(self.more); 32]);
        for (blocks, length) in frames {
            varint(&mut bytes, (*blocks).into());
            varint(&mut bytes, *length);
        }
        for run in &self.runs {
            varint(&mut bytes, *run);
        }
        // Every third block is like one before.
        for block in 0..u64::from(data.min(1 << 10)) {
            bytes.extend((block - block % 3).to_le_bytes());
        }
        for (at, lie) in &self.lies {
            let at = usize::from(*at).min(bytes.len());
            let end = bytes.len().min(at + lie.len());
            bytes[at..end].copy_from_slice(&lie[..end - at]);
        }
        bytes.extend(self.behind);
        (bytes, expected)
    }
}

libfuzzer_sys::fuzz_target!(|parts: Parts<'_>| {
    let (bytes, expected) = parts.index();
    let Ok(section) = Section::read(&*bytes, bytes.len() as u32, &expected) else {
        return;
    };
    let blocks = section.blocks();
    assert!(blocks.start == expected.first && !blocks.is_empty());
    let held: u64 = section
        .frames()
        .iter()
        .map(|frame| u64::from(frame.blocks))
        .sum();
    assert_eq!(held, blocks.end - blocks.start, "frames hold other blocks");

    let mut search = Search::new(&section);
    for (passive, block, which) in &parts.found {
        // What is on the device: one of the section's blocks, or another.
        let wanted = section.print(blocks.start.saturating_add(which % 64));
        let print = wanted.or_else(|| Fingerprint::of(&which.to_le_bytes()));
        match print {
            Some(print) if !passive => search.running(*block, print),
            print => search.passive(*block, print),
        }
    }
    let plan = search.plan();
    let mut end = 0;
    for run in plan.runs(&section, COALESCE) {
        assert!(run.bytes.start >= end && run.bytes.end <= section.length());
        assert!(run.frames.end <= section.frames().len());
        end = run.bytes.end;
    }
    let mut block = blocks.start;
    for (number, frame) in section.frames().iter().enumerate() {
        for _ in 0..frame.blocks {
            let nowhere = plan.place(&section, block) == Place::NOWHERE;
            let is_zero = section.print(block).is_none();
            assert!(
                !nowhere || is_zero || plan.wants(number),
                "block {block} is forgotten"
            );
            block += 1;
        }
    }
});
