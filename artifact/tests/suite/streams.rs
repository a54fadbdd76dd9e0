//! Compressed members: to their real end, whatever the stream is made of, and nothing behind it.

use crate::forge::{Entry, Forge, check, pack, tar};

/// Checks an artifact whose payload is packed by `packed`.
#[track_caller]
fn check_payload(
    what: &str,
    suffix: &'static str,
    packed: impl Fn(&[u8]) -> Vec<u8>,
    fault: Option<&str>,
) {
    let honest = Forge::new(suffix);
    let packed_payload = Some(packed(&tar(&honest.payload)));
    check(
        &format!("{what}, payload{suffix}"),
        &Forge {
            packed_payload,
            ..honest.clone()
        }
        .bytes(),
        fault,
    );
    let packed_header = Some(packed(&tar(&honest.header)));
    check(
        &format!("{what}, header{suffix}"),
        &Forge {
            packed_header,
            ..honest
        }
        .bytes(),
        fault,
    );
}

const SUFFIXES: [&str; 3] = [".gz", ".xz", ".zst"];

/// A zstd skippable frame.
fn skippable(content: &[u8]) -> Vec<u8> {
    [
        &0x184D_2A5D_u32.to_le_bytes(),
        &u32::try_from(content.len()).unwrap().to_le_bytes()[..],
        content,
    ]
    .concat()
}

#[test]
fn several_compressed_streams_are_one_content() {
    for suffix in SUFFIXES {
        for size in [37, 511, 512, 513, 1000] {
            let packed = |bytes: &[u8]| {
                bytes
                    .chunks(size)
                    .flat_map(|chunk| pack(chunk, suffix))
                    .collect()
            };
            check_payload(&format!("streams of {size}"), suffix, packed, None);
        }
        let with_empty =
            |bytes: &[u8]| [pack(b"", suffix), pack(bytes, suffix), pack(b"", suffix)].concat();
        check_payload("empty streams around", suffix, with_empty, None);
    }
}

#[test]
fn skippable_frames_are_skipped() {
    let half = |bytes: &[u8], n: usize| {
        pack(
            &bytes[n * bytes.len() / 2..(n + 1) * bytes.len() / 2],
            ".zst",
        )
    };
    check_payload(
        "in front",
        ".zst",
        |b| [skippable(b"index"), pack(b, ".zst")].concat(),
        None,
    );
    check_payload(
        "inside",
        ".zst",
        |b| [half(b, 0), skippable(&[9; 70_000]), half(b, 1)].concat(),
        None,
    );
    check_payload(
        "behind",
        ".zst",
        |b| [pack(b, ".zst"), skippable(b"")].concat(),
        None,
    );
    check_payload("alone", ".zst", |_| skippable(b"index"), Some(""));
    let cut = |b: &[u8]| {
        let mut cut = [pack(b, ".zst"), skippable(b"index")].concat();
        cut.pop();
        cut
    };
    check_payload("behind, cut", ".zst", cut, Some("does not decompress"));
    let all_kinds = |b: &[u8]| {
        (0..16)
            .flat_map(|kind| {
                let mut frame = skippable(b"x");
                frame[0] = 0x50 | kind;
                frame
            })
            .chain(pack(b, ".zst"))
            .collect()
    };
    check_payload("every magic number", ".zst", all_kinds, None);
}

#[test]
fn nothing_may_stand_behind_a_compressed_stream() {
    for suffix in SUFFIXES {
        for (what, tail) in [
            ("a byte", &b"x"[..]),
            ("a few zeros", &[0; 3]),
            (
                "text",
                b"something else entirely, longer than any magic number",
            ),
            ("half a magic number", &pack(b"", suffix)[..2]),
        ] {
            check_payload(
                what,
                suffix,
                |bytes| [&pack(bytes, suffix)[..], tail].concat(),
                Some(""),
            );
        }
    }
    // xz itself allows padding in steps of four zeros.
    check_payload(
        "four zeros",
        ".xz",
        |bytes| [&pack(bytes, ".xz")[..], &[0; 4]].concat(),
        None,
    );
    check_payload(
        "512 zeros",
        ".gz",
        |bytes| [&pack(bytes, ".gz")[..], &[0; 512]].concat(),
        Some("does not decompress"),
    );
    check_payload(
        "512 zeros",
        ".zst",
        |bytes| [&pack(bytes, ".zst")[..], &[0; 512]].concat(),
        Some("does not decompress"),
    );
    let honest = Forge::new(".gz");
    let hidden = [tar(&honest.payload), tar(&[Entry::new("hidden", "hidden")])].concat();
    let packed_payload = Some(pack(&hidden, ".gz"));
    check(
        "a second archive",
        &Forge {
            packed_payload,
            ..honest
        }
        .bytes(),
        Some("something after its end"),
    );
}

#[test]
fn no_truncated_stream_is_accepted() {
    for suffix in SUFFIXES {
        let honest = Forge::new(suffix);
        let whole = pack(&tar(&honest.payload), suffix);
        for length in 0..whole.len() {
            let packed_payload = Some(whole[..length].to_vec());
            check(
                &format!("{suffix} cut after {length}"),
                &Forge {
                    packed_payload,
                    ..honest.clone()
                }
                .bytes(),
                Some(""),
            );
        }
    }
}

#[test]
fn no_wrong_checksum_of_a_stream_is_accepted() {
    // The sums of the content stand at the end: CRC-32 and size, CRC-64 before index and footer, XXH64.
    for (suffix, from_end) in [(".gz", 8), (".gz", 1), (".xz", 12), (".xz", 1)] {
        let packed = |bytes: &[u8]| {
            let mut packed = pack(bytes, suffix);
            let at = packed.len() - from_end;
            packed[at] ^= 1;
            packed
        };
        check_payload("sum", suffix, packed, Some("does not decompress"));
    }
    let packed = |bytes: &[u8]| {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.include_checksum(true).unwrap();
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        let mut packed = encoder.finish().unwrap();
        *packed.last_mut().unwrap() ^= 1;
        packed
    };
    check_payload("sum", ".zst", packed, Some("does not decompress"));
}

#[test]
fn the_suffix_is_believed() {
    for suffix in SUFFIXES {
        for other in ["", ".gz", ".xz", ".zst"] {
            if other != suffix {
                check_payload(
                    &format!("{other} as"),
                    suffix,
                    |bytes| pack(bytes, other),
                    Some(""),
                );
            }
        }
    }
    check_payload("gzip as", "", |bytes| pack(bytes, ".gz"), Some(""));
    for suffix in [".bz2", ".lzma", ".zstd", ".GZ", ".tar", ".gz.gz", " "] {
        let forge = Forge {
            packed_payload: Some(Vec::new()),
            packed_header: Some(Vec::new()),
            suffix,
            ..Forge::new("")
        };
        check(suffix, &forge.bytes(), Some("unknown member \"header.tar"));
        let mut outer = Forge::new("").outer();
        outer[3].name.push_str(suffix);
        check(
            suffix,
            &tar(&outer),
            Some("where data/0000.tar[.gz|.xz|.zst] must be"),
        );
    }
}

#[test]
fn header_and_payload_may_be_compressed_differently() {
    let suffixes = ["", ".gz", ".xz", ".zst"];
    for header in suffixes {
        for payload in suffixes {
            let mut outer = Forge::new(header).outer();
            outer[3] = Forge::new(payload).outer()[3].clone();
            check(
                &format!("header{header} and payload{payload}"),
                &tar(&outer),
                None,
            );
        }
    }
}
