use super::*;
use crate::framed::bits::Bits;
use crate::framed::chunk::MAX_CHUNK;

/// A section of an image of `zeros` blocks of nothing, five of something, one of nothing.
fn section(zeros: usize) -> Section {
    let blocks = zeros + 6;
    let mut data = Bits::new(blocks);
    (zeros..zeros + 5).for_each(|place| data.insert(place));
    let mut frames = vec![Frame {
        units: 6,
        length: 200,
    }];
    if zeros > 0 {
        let units = zeros.try_into().unwrap();
        frames.insert(0, Frame { units, length: 20 });
    }
    let prints = (1..=5).map(|byte| Fingerprint::of(&[byte; BLOCK]).unwrap());
    let prints = Prints::new(prints, Width::new(6).unwrap());
    Section {
        image_size: (blocks * BLOCK) as u64,
        image_sha256: Digest::of(b"image"),
        frames,
        division: Division::Blocks(Blocks::new(0, data, prints)),
        next: None,
    }
}

/// A section of an image of chunks; one is of zeros.
fn chunks() -> Section {
    let prints = [1, 2, 0, 4].map(|byte| match byte {
        0 => Fingerprint::ZEROS,
        byte => Fingerprint::of(&[byte]).unwrap(),
    });
    let lengths = [3000, 7000, MAX_CHUNK, 16384 - 3000 - 7000];
    let prints = Prints::new(prints, Width::new(5).unwrap());
    let chunks = Chunks::new(0, lengths, prints);
    Section {
        image_size: chunks.range().end,
        image_sha256: Digest::of(b"image"),
        frames: vec![
            Frame {
                units: 1,
                length: 3009,
            },
            Frame {
                units: 3,
                length: 900,
            },
        ],
        division: Division::Chunks(chunks),
        next: None,
    }
}

fn expected(section: &Section) -> Expected {
    Expected {
        image_size: section.image_size,
        image_sha256: section.image_sha256,
        first: section.range().start,
        sha256: None,
    }
}

#[track_caller]
fn read(section: &Section, bytes: &[u8]) -> Result<Section, Error> {
    Section::read(bytes, bytes.len().try_into().unwrap(), &expected(section))
}

#[test]
fn a_section_is_read_as_it_is_written() {
    for section in [section(0), section(3), section(200), chunks()] {
        let bytes = section.to_bytes();
        assert_eq!(read(&section, &bytes).unwrap(), section);
        let sum = |sha256| Expected {
            sha256: Some(sha256),
            ..expected(&section)
        };
        let length = bytes.len().try_into().unwrap();
        assert!(Section::read(&*bytes, length, &sum(Digest::of(&bytes))).is_ok());
        assert!(matches!(
            Section::read(&*bytes, length, &sum(Digest::of(b"another"))),
            Err(Error::Mismatch { .. })
        ));
    }
}

#[test]
fn what_was_written_before_is_still_read() {
    // Version 1 has 0 in the place of the width, and whole fingerprints.
    let section = section(3);
    let mut old = section.to_bytes();
    old.truncate(old.len() - 5 * 6);
    (old[8], old[11]) = (1, 0);
    let whole = (1..=5).map(|byte| Fingerprint::of(&[byte; BLOCK]).unwrap());
    whole.for_each(|print| old.extend(print.to_bytes()));
    let found = read(&section, &old).unwrap();
    assert_eq!(found.frames, section.frames);
    let Division::Blocks(blocks) = found.division() else {
        panic!("{found:?}");
    };
    for block in 0..9_u8 {
        let content = [block.wrapping_sub(2); BLOCK];
        assert_eq!(
            blocks.is(block.into(), &content),
            (3..8).contains(&block),
            "{block}"
        );
    }
    // There was nothing but blocks.
    let mut chunks = chunks().to_bytes();
    (chunks[8], chunks[11]) = (1, 0);
    assert!(read(&section, &chunks).is_err());
}

#[test]
fn a_section_that_is_cut_or_goes_on_is_refused() {
    for section in [section(3), chunks()] {
        cut_or_goes_on(&section);
    }
}

fn cut_or_goes_on(section: &Section) {
    let bytes = section.to_bytes();
    for length in 0..bytes.len() {
        assert!(read(section, &bytes[..length]).is_err(), "{length}");
        // The length is right, and the bytes do not come.
        let claimed = bytes.len().try_into().unwrap();
        let cut = Section::read(&bytes[..length], claimed, &expected(section));
        assert!(matches!(cut, Err(Error::Truncated { .. })), "{length}");
    }
    assert!(read(section, &[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn a_flipped_bit_is_refused_or_only_changes_a_length_or_a_fingerprint() {
    for (section, units) in [(section(3), 9), (chunks(), 4)] {
        let bytes = section.to_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = read(&section, &changed) {
                assert_eq!(read.range(), section.range(), "bit {bit}");
                assert_eq!(read.units(), units, "bit {bit}");
                let held: u64 = read.frames.iter().map(|frame| u64::from(frame.units)).sum();
                assert_eq!(held, units as u64, "bit {bit}");
                assert_ne!(read, section, "bit {bit}");
            }
        }
    }
}

#[track_caller]
fn refused(change: impl Fn(&mut Vec<u8>), words: &str) {
    refused_of(&section(3), change, words);
}

#[track_caller]
fn refused_of(section: &Section, change: impl Fn(&mut Vec<u8>), words: &str) {
    let mut bytes = section.to_bytes();
    change(&mut bytes);
    let err = read(section, &bytes).unwrap_err().to_string();
    assert!(err.contains(words), "{err}");
}

#[test]
fn every_lie_is_refused() {
    let at = |place: usize, value: u32| {
        move |bytes: &mut Vec<u8>| {
            bytes[place..place + 4].copy_from_slice(&value.to_le_bytes());
        }
    };
    refused(at(8, 0x060c_0103), "version 3");
    refused(at(8, 0x060c_0302), "kind 3");
    refused(at(8, 0x060c_0202), "kind 2");
    refused(at(8, 0x030c_0102), "of a length that none");
    refused(at(8, 0x090c_0102), "of a length that none");
    refused(at(12, 9), "another image");
    refused(at(20, 9), "another image");
    refused(at(52, 1), "does not begin where");
    refused(at(60, 0), "more than can be");
    refused(at(60, 8), "does not end where");
    refused(at(60, 10), "does not end where");
    refused(at(60, u32::MAX), "more than can be");
    refused(at(64, 4), "counts its blocks");
    refused(at(64, u32::MAX), "more than can be");
    refused(at(68, 1), "fewer blocks");
    refused(at(68, u32::MAX), "more than can be");
    // There is said to be another section, and this is the end of the image.
    refused(at(72, 1), "does not end where");
    refused(|bytes| bytes[104] = 0, "without blocks");
    refused(|bytes| bytes[104] = 4, "more blocks");
    refused(|bytes| bytes[105] = 0, "nothing compresses to");
    refused(
        |bytes| drop(bytes.splice(105..106, [0xff, 0xff, 0xff, 0x7f])),
        "compresses to",
    );
    refused(
        |bytes| drop(bytes.splice(105..106, [0x80, 0x00])),
        "not one",
    );
    refused(|bytes| drop(bytes.splice(105..106, [0xff; 5])), "not one");
    // The frames end at 109: 0 data, 3 zero, 5 data, 1 zero.
    refused(|bytes| bytes[110] = 0, "empty or too long");
    refused(|bytes| bytes[111] = 50, "empty or too long");
}

#[test]
fn every_lie_about_chunks_is_refused() {
    let at = |place: usize, value: u32| {
        move |bytes: &mut Vec<u8>| {
            bytes[place..place + 4].copy_from_slice(&value.to_le_bytes());
        }
    };
    let refused = |change: &dyn Fn(&mut Vec<u8>), words| refused_of(&chunks(), change, words);
    refused(&at(8, 0x0510_0302), "kind 3");
    refused(&at(8, 0x050c_0202), "kind 2");
    refused(&at(52, 1), "does not begin where");
    refused(&at(60, u32::MAX), "more than can be");
    refused(&at(64, 3), "in two ways");
    // The frames end at 110, the lengths at 119.
    refused(&|bytes| bytes[107] = 4, "more blocks");
    refused(&|bytes| bytes[110..112].fill(0), "empty or too long");
    refused(&|bytes| bytes[116] = 0x05, "empty or too long");
    refused(&|bytes| bytes[110] += 1, "does not end where");
    refused(&|bytes| bytes[110] -= 1, "does not end where");
    refused(&|bytes| bytes[106] = 0x7f, "nothing compresses to");
}

#[test]
fn a_frame_of_chunks_is_no_larger_than_any_other() {
    let count = 65_u16;
    let prints = (0..count).map(|_| Fingerprint::ZEROS);
    let prints = Prints::new(prints, Width::new(5).unwrap());
    let chunks = Chunks::new(0, (0..count).map(|_| MAX_CHUNK), prints);
    let section = Section {
        image_size: chunks.range().end,
        image_sha256: Digest::of(b"image"),
        frames: vec![Frame {
            units: count,
            length: 100,
        }],
        division: Division::Chunks(chunks),
        next: None,
    };
    refused_of(&section, |_| {}, "nothing compresses to");
}

#[test]
fn an_image_of_another_size_than_whole_blocks_has_no_index() {
    for (size, count) in [
        (0, Some(0)),
        (4096, Some(1)),
        (4097, None),
        (8 << 40, None),
        ((8 << 40) - 4096, Some((1 << 31) - 1)),
    ] {
        assert_eq!(block_count(size), count, "{size}");
    }
}
