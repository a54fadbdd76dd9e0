//! Framed payloads: ordinary to everybody else, and cheap for who knows them.

mod tool;

use std::fs::{self, File};
use std::io::{Cursor, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use tandem_artifact::framed::{
    BLOCK, Built, Cost, Division, FramedWriter, Hint, HintUse, Image, Index, Layout, Section,
    Unpacker, reframe, sections,
};
use tandem_artifact::{
    Artifact, Compressor, Content, Draft, Error, FileName, PublicKey, Verification, Writer,
};

use crate::forge::ed25519_public;
use crate::peers::{self, have, run};

/// An image of which each letter is a block: `.` zeros, others text that compresses.
fn image(text: &str) -> Vec<u8> {
    text.chars()
        .flat_map(|letter| {
            let mut state = u64::from(u32::from(letter));
            let next = move || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                if letter == '.' {
                    0
                } else {
                    b'a' + (state >> 61) as u8
                }
            };
            std::iter::repeat_with(next).take(BLOCK)
        })
        .collect()
}

/// `count` different letters from `first` on.
fn letters(first: u32, count: u32) -> String {
    (first..first + count).filter_map(char::from_u32).collect()
}

fn draft() -> Draft {
    Draft {
        name: "release-2".to_owned(),
        device_types: vec!["board".to_owned()],
        payload_type: Some("rootfs-image".to_owned()),
        ..Draft::default()
    }
}

fn build(image: &[u8], hint: Option<&[u8]>) -> Built<Cursor<Vec<u8>>> {
    build_as(Index::Auto, image, hint)
}

fn build_as(index: Index, image: &[u8], hint: Option<&[u8]>) -> Built<Cursor<Vec<u8>>> {
    let name = FileName::parse("rootfs.ext4").unwrap();
    let image = Image::survey(name, Cursor::new(image)).unwrap();
    let hint = hint.map(|hint| Hint::read(hint).unwrap());
    let layout = Layout {
        hint: hint.as_ref(),
        index,
        ..Layout::default()
    };
    layout.build(image, Cursor::new(Vec::new())).unwrap()
}

fn write(image: &[u8], hint: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    let writer = FramedWriter::new(&draft(), build(image, hint), None).unwrap();
    writer.write(&mut out).unwrap();
    out
}

/// The image in an artifact, read from front to back.
#[track_caller]
fn read(artifact: &[u8], look_first: bool) -> Result<Vec<u8>, Error> {
    let mut artifact = Artifact::open(artifact, &Verification::off())?;
    if look_first {
        artifact.framed()?;
    }
    let mut content = Vec::new();
    let mut file = artifact.next_file()?.unwrap();
    file.read_to_end(&mut content).map_err(Error::from_read)?;
    artifact.finish()?;
    Ok(content)
}

fn index(artifact: &[u8]) -> Result<Vec<Section>, Error> {
    let framed = Artifact::open(artifact, &Verification::off())?.framed()?;
    sections(Cursor::new(artifact), &framed.unwrap())
}

#[test]
fn a_framed_artifact_reads_as_any_other() {
    for text in ["a", "....", "abc.", &letters(200, 300), &"a.".repeat(1000)] {
        let image = image(text);
        let artifact = write(&image, None);
        assert!(read(&artifact, false).unwrap() == image, "{text}");
        assert!(read(&artifact, true).unwrap() == image, "{text}");
    }
}

#[test]
fn what_is_not_framed_is_not_taken_for_it() {
    let image = image("abc");
    for compressor in Compressor::ALL {
        let name = FileName::parse("rootfs.ext4").unwrap();
        let content = Content::measure(name, Cursor::new(image.clone())).unwrap();
        let mut out = Cursor::new(Vec::new());
        let writer = Writer::new(&draft(), vec![content], compressor, None).unwrap();
        writer.write(&mut out).unwrap();
        let artifact = out.into_inner();
        let mut reader = Artifact::open(&*artifact, &Verification::off()).unwrap();
        assert!(reader.framed().unwrap().is_none(), "{compressor}");
        assert!(read(&artifact, true).unwrap() == image, "{compressor}");
    }
}

#[test]
fn the_index_says_where_every_block_is() {
    let image = image(&format!("{}....{}", letters(200, 37), letters(900, 70)));
    let old = [&image[..20 * BLOCK], &image[60 * BLOCK..]].concat();
    let artifact = write(&image, Some(&old));
    let framed = Artifact::open(&*artifact, &Verification::off())
        .unwrap()
        .framed()
        .unwrap()
        .unwrap();
    let sections = index(&artifact).unwrap();
    let Division::Blocks(blocks) = sections[0].division() else {
        panic!("these are blocks");
    };
    let mut unpacker = Unpacker::new().unwrap();
    let mut at = framed.index.frames_at() as usize;
    let mut block = 0;
    for frame in sections[0].frames() {
        let end = at + frame.length as usize;
        let size = usize::from(frame.units) * BLOCK;
        unpacker.unpack(&artifact[at..end], size as u64).unwrap();
        assert!(unpacker.content(0..size) == &image[block * BLOCK..][..size]);
        for _ in 0..frame.units {
            let expected = &image[block * BLOCK..][..BLOCK];
            if blocks.print(block as u64).is_some() {
                assert!(blocks.is(block as u64, expected), "block {block}");
                assert!(!blocks.is(block as u64, &[7; BLOCK]), "block {block}");
            } else {
                assert!(expected.iter().all(|byte| *byte == 0), "block {block}");
            }
            block += 1;
        }
        // Nothing else unpacks.
        assert!(
            unpacker
                .unpack(&artifact[at..end - 1], size as u64)
                .is_err()
        );
        assert!(
            unpacker
                .unpack(&artifact[at..end], size as u64 - 1)
                .is_err()
        );
        at = end;
    }
    assert_eq!(block * BLOCK, image.len());
}

/// Bytes that do not get smaller.
fn noise(len: usize, mut state: u64) -> Vec<u8> {
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Two images of the same packed files, but that one file in front has grown.
fn packed() -> (Vec<u8>, Vec<u8>) {
    let (start, rest) = (noise(50_000, 1), noise(1_000_000, 2));
    let image = |more: &[u8]| {
        let mut image = [&b"hsqs"[..], &start, more, &rest].concat();
        image.resize(image.len().next_multiple_of(BLOCK), 0);
        image
    };
    (image(&[]), image(&noise(123, 3)))
}

#[test]
fn an_image_of_packed_files_is_divided_where_its_content_says() {
    let (old, new) = packed();
    let is_content = |built: &Built<_>| {
        let mut sections = built.sections().iter();
        sections.all(|section| matches!(section.division(), Division::Chunks(_)))
    };
    // By the beginning of a squashfs, and by what the hint has of it.
    assert!(is_content(&build(&new, None)));
    let (mut old, mut new) = (old, new);
    (old[0], new[0]) = (b'X', b'X');
    assert!(!is_content(&build(&new, None)));
    let hint = Hint::read(&*old).unwrap();
    let fetched = |built: &Built<_>| Cost::of(built.sections(), &hint).bytes();
    let hinted = build(&new, Some(&old));
    assert!(is_content(&hinted));
    assert_eq!(hinted.hint(), HintUse::Followed);
    let fixed = build_as(Index::Fixed, &new, Some(&old));
    let plain = build_as(Index::Content, &new, None);
    assert!(!is_content(&fixed) && is_content(&plain));
    assert!(fetched(&fixed) > 900_000, "{}", fetched(&fixed));
    assert!(fetched(&plain) < 100_000, "{}", fetched(&plain));
    assert!(fetched(&hinted) <= fetched(&plain), "{}", fetched(&hinted));
    // Where both find the same, blocks.
    let letters = image(&letters(200, 300));
    assert!(!is_content(&build(&letters, Some(&letters[..200 * BLOCK]))));
}

#[test]
fn the_index_says_where_every_chunk_is() {
    let (old, new) = packed();
    let built = build_as(Index::Content, &new, Some(&old));
    let mut artifact = Vec::new();
    let writer = FramedWriter::new(&draft(), built, None).unwrap();
    writer.write(&mut artifact).unwrap();
    assert!(read(&artifact, false).unwrap() == new);
    let framed = Artifact::open(&*artifact, &Verification::off())
        .unwrap()
        .framed();
    let mut at = framed.unwrap().unwrap().index.frames_at() as usize;
    let sections = index(&artifact).unwrap();
    let Division::Chunks(chunks) = sections[0].division() else {
        panic!("these are chunks");
    };
    let mut unpacker = Unpacker::new().unwrap();
    let mut number = 0;
    for frame in sections[0].frames() {
        let end = at + frame.length as usize;
        let units = number..number + usize::from(frame.units);
        let first = chunks.place(number).unwrap().start as usize;
        unpacker
            .unpack(&artifact[at..end], sections[0].size(units.clone()))
            .unwrap();
        for chunk in units {
            let place = chunks.place(chunk).unwrap();
            let place = place.start as usize..place.end as usize;
            assert!(chunks.is(chunk, &new[place.clone()]), "chunk {chunk}");
            let content = unpacker.content(place.start - first..place.end - first);
            assert!(content == &new[place], "chunk {chunk}");
        }
        number += usize::from(frame.units);
        at = end;
    }
    assert_eq!(number, chunks.count());
    assert_eq!(chunks.range().end as usize, new.len());
}

#[test]
fn the_same_input_makes_the_same_bytes() {
    let (old, new) = (image(&letters(200, 300)), image(&letters(250, 300)));
    assert!(write(&new, None) == write(&new, None));
    assert!(write(&new, Some(&old)) == write(&new, Some(&old)));
}

#[test]
fn a_hint_makes_a_device_that_has_it_fetch_less() {
    let all = letters(200, 600);
    let old = image(&all);
    let changed: String = all
        .chars()
        .enumerate()
        .map(|(place, letter)| if place % 20 == 7 { '\u{3000}' } else { letter })
        .collect();
    let changed = changed.replace('\u{3000}', "") + &letters(0x4000, 9);
    let new: String = changed
        .chars()
        .enumerate()
        .map(|(place, letter)| match place % 100 {
            50 => char::from_u32(0x5000 + place as u32).unwrap(),
            _ => letter,
        })
        .collect();
    let new = image(&new);
    let hint = Hint::read(&*old).unwrap();
    let (plain, hinted) = (build(&new, None), build(&new, Some(&old)));
    assert_eq!(
        (plain.hint(), hinted.hint()),
        (HintUse::None, HintUse::Followed)
    );
    let (plain_cost, cost) = (
        Cost::of(plain.sections(), &hint),
        Cost::of(hinted.sections(), &hint),
    );
    assert!(cost.bytes() < plain_cost.bytes(), "{cost:?} {plain_cost:?}");
    assert!(hinted.size() < plain.size());
}

#[test]
fn a_hint_that_is_no_help_is_dropped() {
    let new = image(&letters(200, 300));
    for (old, used) in [
        (image(&letters(1000, 300)), HintUse::TooFar),
        (image(&letters(440, 300)), HintUse::TooFar),
        // Nothing is missing, so nothing is gained.
        (new.clone(), HintUse::NoHelp),
    ] {
        let built = build(&new, Some(&old));
        assert_eq!(built.hint(), used);
        assert_eq!(built.size(), build(&new, None).size());
    }
}

/// A signed artifact of the kind that is given, and how it is verified.
fn signed(folder: &Path, image: &[u8], options: &[&str]) -> (Vec<u8>, Verification) {
    fs::write(folder.join("rootfs.ext4"), image).unwrap();
    let pkcs8 = [
        &[
            0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
        ][..],
        &[7; 32],
    ]
    .concat();
    fs::write(
        folder.join("private.pem"),
        crate::forge::pem("PRIVATE KEY", &pkcs8),
    )
    .unwrap();
    let words = "-q write rootfs-image -t board -n release-2 -f rootfs.ext4 -k private.pem -o signed.mender";
    let args: Vec<&str> = words.split(' ').chain(options.iter().copied()).collect();
    run(folder, peers::ours(), &args);
    let key = PublicKey::from_pem("public", ed25519_public().as_bytes()).unwrap();
    (
        fs::read(folder.join("signed.mender")).unwrap(),
        Verification::by(vec![key]).unwrap(),
    )
}

#[test]
fn the_signature_of_a_framed_artifact_covers_its_index() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(&letters(200, 100));
    let (artifact, verification) = signed(folder.path(), &image, &["--framed"]);
    let framed = Artifact::open(&*artifact, &verification)
        .unwrap()
        .framed()
        .unwrap()
        .unwrap();
    assert!(framed.is_signed());
    // Every bit of the index counts.
    let start = framed.index.at as usize;
    for bit in (0..framed.index.length as usize * 8).step_by(37) {
        let mut changed = artifact.clone();
        changed[start + bit / 8] ^= 1 << (bit % 8);
        assert!(
            sections(Cursor::new(&changed), &framed).is_err(),
            "bit {bit}"
        );
        // And none does to others.
        assert!(read(&changed, true).unwrap() == image, "bit {bit}");
    }
}

#[test]
fn reframing_needs_no_key_and_keeps_the_signature() {
    let image = image(&letters(200, 100));
    for compression in ["gzip", "none", "lzma", "zstd_best"] {
        let folder = tempfile::tempdir().unwrap();
        let (artifact, verification) =
            signed(folder.path(), &image, &["--compression", compression]);
        run(
            folder.path(),
            peers::ours(),
            &["-q", "reframe", "signed.mender"],
        );
        let reframed = fs::read(folder.path().join("signed.mender")).unwrap();
        let mut reader = Artifact::open(&*reframed, &verification).unwrap();
        let framed = reader.framed().unwrap().unwrap();
        assert!(!framed.is_signed());
        reader.finish().unwrap();
        // Everything before the payload is the same, byte for byte.
        let payload = |bytes: &[u8]| {
            let mut windows = bytes.windows(14);
            windows
                .position(|window| window == b"data/0000.tar\0" || window == b"data/0000.tar.")
                .unwrap()
        };
        // The manifest names the payload file too, but not so.
        assert!(artifact[..payload(&artifact)] == reframed[..payload(&reframed)]);
        assert_eq!(index(&reframed).unwrap()[0].range(), 0..100 * BLOCK as u64);
    }
}

#[test]
fn what_cannot_be_reframed_is_refused() {
    let reframed = |artifact: &[u8]| {
        let places = (Cursor::new(Vec::new()), Cursor::new(Vec::new()));
        let mut out = Vec::new();
        reframe(
            &mut Cursor::new(artifact),
            &Layout::default(),
            places,
            |_| {},
            &mut out,
        )
        .map(|()| out)
        .map_err(|err| err.to_string())
    };
    let framed = write(&image("abc"), None);
    assert!(reframed(&framed).unwrap_err().contains("write it again"));
    let folder = tempfile::tempdir().unwrap();
    let (odd, _) = signed(folder.path(), b"not a whole block", &[]);
    assert!(reframed(&odd).unwrap_err().contains("pad it"));
    let (good, _) = signed(folder.path(), &image("abc"), &[]);
    assert!(reframed(&good).is_ok());
    let mut broken = good.clone();
    let end = broken.len() - 1500;
    broken[end] ^= 1;
    assert!(reframed(&broken).is_err());
}

#[test]
fn a_payload_that_only_begins_as_a_framed_one_is_read_as_a_whole() {
    let image = image(&letters(200, 20));
    let artifact = write(&image, None);
    let framed = Artifact::open(&*artifact, &Verification::off())
        .unwrap()
        .framed()
        .unwrap()
        .unwrap();
    let at = framed.index.at as usize;
    for (place, value) in [
        // Another magic, another skippable frame, another version.
        (at, b'X'),
        (at - 8, 0x50),
        (at + 8, 3),
    ] {
        let mut changed = artifact.clone();
        changed[place] = value;
        assert!(read(&changed, true).unwrap() == image, "{place}");
    }
    // A frame that is said to end behind the payload.
    let mut far = framed.clone();
    far.end = framed.index.frames_at() + 1;
    assert!(sections(Cursor::new(&artifact), &far).is_err());
}

/// The tools that others read artifacts with.
#[test]
fn zstd_and_libarchive_see_one_stream() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(&format!("{}....{}", letters(200, 300), letters(900, 30)));
    let artifact = write(&image, None);
    fs::write(folder.path().join("a.mender"), &artifact).unwrap();
    run(folder.path(), "tar", &["-xf", "a.mender"]);
    if have("zstd") {
        run(folder.path(), "zstd", &["-q", "-t", "data/0000.tar.zst"]);
        run(
            folder.path(),
            "zstd",
            &["-q", "-d", "data/0000.tar.zst", "-o", "by-zstd.tar"],
        );
        run(folder.path(), "tar", &["-xf", "by-zstd.tar"]);
        assert!(fs::read(folder.path().join("rootfs.ext4")).unwrap() == image);
        fs::remove_file(folder.path().join("rootfs.ext4")).unwrap();
    }
    if have("bsdtar") {
        run(folder.path(), "bsdtar", &["-xf", "data/0000.tar.zst"]);
        assert!(fs::read(folder.path().join("rootfs.ext4")).unwrap() == image);
    }
}
