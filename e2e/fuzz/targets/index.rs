//! The index of a framed payload, and what is made of it: it is refused, or what is planned stays within its bounds.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use tandem_artifact::Digest;
use tandem_artifact::framed::{
    BLOCK, Blocks, COALESCE, ChunkPlace, ChunkSearch, Chunks, Division, Expected, Fingerprint,
    Place, Search, Section, Wanted,
};

/// An index that is right but for what is said otherwise: few inputs of mere bytes come so far.
#[derive(Arbitrary, Debug)]
struct Parts<'a> {
    first: u32,
    /// The image consists of chunks; of blocks otherwise.
    chunks: bool,
    width: u8,
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
        let (mut first, mut size) = (u64::from(self.first), u64::from(blocks));
        if self.chunks {
            // Each run is a chunk.
            let lengths = self.runs.iter().take(blocks as usize);
            size = lengths.map(|length| u64::from(length % 70_000)).sum();
        } else {
            (first, size) = (first * BLOCK as u64, size * BLOCK as u64);
        }
        let image_size = (first + size + u64::from(self.more)).next_multiple_of(BLOCK as u64);
        let expected = Expected {
            image_size,
            image_sha256: Digest::from_bytes([7; 32]),
            first,
            sha256: None,
        };
        let width = 4 + self.width % 5;
        let mut bytes = b"TandemIX\x02".to_vec();
        bytes.extend(match self.chunks {
            true => [2, 16, width],
            false => [1, 12, width],
        });
        bytes.extend(expected.image_size.to_le_bytes());
        bytes.extend([7; 32]);
        bytes.extend(u64::from(self.first).to_le_bytes());
        let data = if self.chunks { blocks } else { data };
        for count in [blocks, data, frames.len() as u32] {
            bytes.extend(count.to_le_bytes());
        }
        bytes.extend([u8::from(first + size < image_size); 32]);
        for (blocks, length) in frames {
            varint(&mut bytes, (*blocks).into());
            varint(&mut bytes, *length);
        }
        for run in &self.runs {
            varint(&mut bytes, if self.chunks { run % 70_000 } else { *run });
        }
        // Every third block is like one before.
        for block in 0..u64::from(data.min(1 << 10)) {
            bytes.extend(&(block - block % 3).to_le_bytes()[..width.into()]);
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
    let range = section.range();
    assert!(range.start == expected.first && !range.is_empty());
    let held: usize = section
        .frames()
        .iter()
        .map(|frame| usize::from(frame.units))
        .sum();
    assert_eq!(held, section.units(), "frames hold other units");
    assert_eq!(section.size(0..held), range.end - range.start);
    match section.division() {
        Division::Blocks(blocks) => of_blocks(&section, blocks, &parts.found),
        Division::Chunks(chunks) => of_chunks(&section, chunks, &parts.found),
    }
});

fn of_blocks(section: &Section, blocks: &Blocks, found: &[(bool, u32, u64)]) {
    let range = blocks.range();
    let mut search = Search::new(section, blocks);
    for (passive, block, which) in found {
        // What is on the device: one of the section's blocks, or another.
        let wanted = blocks.print(range.start.saturating_add(which % 64));
        let print = wanted.or_else(|| Fingerprint::of(&which.to_le_bytes()));
        match print {
            Some(print) if !passive => search.running(*block, print),
            print => search.passive(*block, print),
        }
    }
    let plan = search.plan();
    let mut block = range.start;
    check(section, plan.wanted(), |_| {
        let nowhere = plan.place(blocks, block) == Place::NOWHERE;
        let is_data = blocks.print(block).is_some();
        block += 1;
        nowhere && is_data
    });
}

fn of_chunks(section: &Section, chunks: &Chunks, found: &[(bool, u32, u64)]) {
    let mut search = ChunkSearch::new(section, chunks);
    for (passive, at, which) in found {
        let number = (which % 64) as usize;
        let print = chunks
            .print(number)
            .or_else(|| Fingerprint::of(&which.to_le_bytes()));
        let place = chunks.place(number).unwrap_or_default();
        // Where it belongs, or elsewhere.
        let at = if at % 2 == 0 {
            place.start
        } else {
            u64::from(*at)
        };
        match print {
            Some(print) if !passive => search.running(at, print),
            print => search.passive(at, (place.end - place.start) as u32, print),
        }
    }
    let plan = search.plan();
    assert!(plan.right_bytes(chunks) <= section.size(0..section.units()));
    check(section, plan.wanted(), |number| {
        plan.place(number) == ChunkPlace::NOWHERE && chunks.print(number).is_some()
    });
}

/// What is fetched is in the section, and nothing that is `needed` is forgotten.
fn check(section: &Section, wanted: &Wanted, mut needed: impl FnMut(usize) -> bool) {
    let mut end = 0;
    for run in wanted.runs(section, COALESCE) {
        assert!(run.bytes.start >= end && run.bytes.end <= section.length());
        assert!(run.frames.end <= section.frames().len());
        end = run.bytes.end;
    }
    let mut unit = 0;
    for (number, frame) in section.frames().iter().enumerate() {
        for _ in 0..frame.units {
            assert!(
                !needed(unit) || wanted.wants(number),
                "unit {unit} is forgotten"
            );
            unit += 1;
        }
    }
}
