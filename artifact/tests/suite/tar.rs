//! The tar layer: everything on which two readers could differ is refused, in the outer archive, header and payload.

use tandem_artifact::Verification;

use crate::forge::{Entry, Forge, check, judge, open_tar, pack, pax, tar};

/// Checks a change to the member that is in the middle of each of the three archives.
#[track_caller]
fn check_everywhere(what: &str, change: impl Fn(Entry) -> Entry, fault: Option<&str>) {
    let honest = Forge::new("");
    let mut outer = honest.outer();
    outer[1] = change(outer[1].clone());
    check(&format!("{what} in the outer archive"), &tar(&outer), fault);
    let mut header = honest.clone();
    header.header[1] = change(header.header[1].clone());
    check(&format!("{what} in the header"), &header.bytes(), fault);
    let mut payload = honest.clone();
    payload.payload[1] = change(payload.payload[1].clone());
    payload.manifest = Some(String::from_utf8(honest.outer()[1].content.clone()).unwrap());
    check(&format!("{what} in the payload"), &payload.bytes(), fault);
}

#[track_caller]
fn check_block(what: &str, tweak: fn(&mut [u8; 512]), fault: Option<&str>) {
    check_everywhere(what, |entry| entry.tweaked(tweak), fault);
}

#[track_caller]
fn check_pax(
    what: &str,
    records: impl Fn(&Entry) -> Vec<u8>,
    tweak: fn(&mut [u8; 512]),
    fault: Option<&str>,
) {
    check_everywhere(
        what,
        |entry| {
            let records = records(&entry);
            entry.after(pax(&records)).tweaked(tweak)
        },
        fault,
    );
}

/// A record with its length.
fn record(key: &str, value: &str) -> Vec<u8> {
    let body = format!(" {key}={value}\n");
    let length = (body.len()..)
        .find(|length| length - length.to_string().len() == body.len())
        .unwrap();
    format!("{length}{body}").into_bytes()
}

fn size(entry: &Entry) -> String {
    entry.content.len().to_string()
}

#[test]
fn only_regular_files_are_members() {
    check_block("type NUL", |block| block[156] = 0, None);
    for (flag, name) in [
        (1, "a hard link"),
        (2, "a symbolic link"),
        (3, "a device"),
        (4, "a device"),
        (5, "a directory"),
        (6, "a fifo"),
        (7, "the unknown type '7'"),
    ] {
        // A function pointer cannot capture, so the flag goes by way of the mode.
        const FLAGS: [fn(&mut [u8; 512]); 8] = [
            |block| block[156] = b'0',
            |block| block[156] = b'1',
            |block| block[156] = b'2',
            |block| block[156] = b'3',
            |block| block[156] = b'4',
            |block| block[156] = b'5',
            |block| block[156] = b'6',
            |block| block[156] = b'7',
        ];
        check_block(name, FLAGS[flag], Some(name));
    }
    check_block(
        "GNU long name",
        |block| block[156] = b'L',
        Some("a GNU long name"),
    );
    check_block(
        "GNU long link",
        |block| block[156] = b'K',
        Some("a GNU long name"),
    );
    check_block(
        "GNU sparse",
        |block| block[156] = b'S',
        Some("a sparse file"),
    );
    check_block(
        "global header",
        |block| block[156] = b'g',
        Some("a global extended header"),
    );
    check_block(
        "Solaris header",
        |block| block[156] = b'X',
        Some("unknown type 'X'"),
    );
    check_block(
        "volume label",
        |block| block[156] = b'V',
        Some("unknown type 'V'"),
    );
    check_block("noise", |block| block[156] = 0xff, Some("unknown type"));
}

#[test]
fn headers_are_ustar_with_a_right_checksum() {
    check_block(
        "GNU magic",
        |block| block[257..265].copy_from_slice(b"ustar  \0"),
        None,
    );
    check_block(
        "no magic (v7)",
        |block| block[257..265].fill(0),
        Some("not a ustar header"),
    );
    check_block(
        "noise magic",
        |block| block[257] = b'x',
        Some("not a ustar header"),
    );
    check_block(
        "setuid mode, owner and time do not matter",
        |block| {
            block[100..108].copy_from_slice(b"0006755\0");
            block[108..116].copy_from_slice(b"0001750\0");
            block[136..148].copy_from_slice(b"14641234567\0");
            block[265..269].copy_from_slice(b"root");
        },
        None,
    );
    let honest = Forge::new("").bytes();
    for (at, byte) in [(148, b'9'), (148, b'7'), (149, b' '), (0, b'V'), (500, 1)] {
        let mut bytes = honest.clone();
        bytes[at] = byte;
        check("checksum", &bytes, Some("wrong checksum"));
    }
}

#[test]
fn sizes_do_not_lie() {
    check_block("leading spaces", |block| block[124..128].fill(b' '), None);
    check_block(
        "base-256",
        |block| {
            let size =
                u64::from_str_radix(std::str::from_utf8(&block[124..135]).unwrap(), 8).unwrap();
            block[124..136].fill(0);
            block[124] = 0x80;
            block[128..136].copy_from_slice(&size.to_be_bytes());
        },
        None,
    );
    check_block(
        "negative base-256",
        |block| block[124..136].fill(0xff),
        Some("unusable size"),
    );
    check_block(
        "huge base-256",
        |block| {
            block[124] = 0x80;
            block[125..136].fill(0xff);
        },
        Some("unusable size"),
    );
    check_block(
        "no digit",
        |block| block[124..136].fill(0),
        Some("unusable size"),
    );
    check_block("decimal", |block| block[134] = b'8', Some("unusable size"));
    check_block(
        "hexadecimal",
        |block| block[124..126].copy_from_slice(b"0x"),
        Some("unusable size"),
    );
    check_block("minus", |block| block[124] = b'-', Some("unusable size"));
    check_block("plus", |block| block[124] = b'+', Some("unusable size"));
    check_block("NUL inside", |block| block[126] = 0, Some("unusable size"));
}

#[test]
fn a_size_that_is_not_that_of_the_content_is_noticed() {
    for (what, tweak) in [
        ("one more", (|block| block[134] += 1) as fn(&mut [u8; 512])),
        ("512 more", |block| block[131] += 1),
        ("8 GiB", |block| block[124..135].fill(b'7')),
        ("0", |block| block[124..135].fill(b'0')),
    ] {
        let honest = Forge::new("");
        for at in 0..honest.outer().len() {
            let mut outer = honest.outer();
            outer[at] = outer[at].clone().tweaked(tweak);
            check_refused_or_same(&format!("{what} in outer member {at}"), &tar(&outer));
        }
        // A header that takes one more zero is another header, with its own sum.
        for at in (0..honest.header.len()).filter(|_| what != "one more") {
            let mut forge = honest.clone();
            forge.header[at].tweak = tweak;
            check_refused_or_same(&format!("{what} in header member {at}"), &forge.bytes());
        }
        for at in 0..honest.payload.len() {
            let mut forge = honest.clone();
            forge.payload[at].tweak = tweak;
            check_refused_or_same(&format!("{what} in payload member {at}"), &forge.bytes());
        }
    }
}

/// A payload archive may take a zero more from the end blocks behind it: nothing changes.
#[track_caller]
fn check_refused_or_same(what: &str, bytes: &[u8]) {
    if let Ok(found) = judge(bytes, &Verification::off()) {
        let honest = judge(&*Forge::new("").bytes(), &Verification::off()).unwrap();
        assert_eq!(found, honest, "{what}");
        assert!(what.ends_with("outer member 3"), "{what} is accepted");
    }
}

/// CVE-2025-62518 and relatives: extended header and header must say the same.
#[test]
fn an_extended_header_does_not_contradict_the_header() {
    let keep: fn(&mut [u8; 512]) = |_| {};
    let zero: fn(&mut [u8; 512]) = |block| block[124..136].copy_from_slice(b"00000000000\0");
    let more: fn(&mut [u8; 512]) = |block| block[134] += 1;
    check_pax(
        "the same size",
        |entry| record("size", &size(entry)),
        keep,
        None,
    );
    check_pax(
        "size only in the extended header",
        |entry| record("size", &size(entry)),
        zero,
        None,
    );
    check_pax(
        "another size",
        |entry| record("size", &size(entry)),
        more,
        Some("contradicts the size"),
    );
    check_pax(
        "size 0",
        |_| record("size", "0"),
        keep,
        Some("contradicts the size"),
    );
    check_pax(
        "negative size",
        |_| record("size", "-1"),
        zero,
        Some("unusable size"),
    );
    check_pax(
        "huge size",
        |_| record("size", "18446744073709551615"),
        zero,
        Some("unusable size"),
    );
    check_pax(
        "size twice",
        |entry| [record("size", "1"), record("size", &size(entry))].concat(),
        zero,
        Some("twice"),
    );
    check_pax(
        "the same path",
        |entry| record("path", &entry.name),
        keep,
        None,
    );
    check_pax(
        "other records",
        |_| {
            [
                record("uid", "3000000"),
                record("mtime", "1.5"),
                record("comment", "a\nb=c"),
            ]
            .concat()
        },
        keep,
        None,
    );
    check_pax("no records", |_| Vec::new(), keep, None);
    check_pax(
        "empty path",
        |_| record("path", ""),
        keep,
        Some("unusable path"),
    );
    check_pax(
        "NUL in path",
        |entry| record("path", &format!("{}\0", entry.name)),
        keep,
        Some("unusable path"),
    );
    check_pax(
        "sparse",
        |_| record("GNU.sparse.major", "1"),
        keep,
        Some("sparse"),
    );
    check_pax(
        "sparse size",
        |_| record("GNU.sparse.realsize", "1"),
        keep,
        Some("sparse"),
    );
    check_pax(
        "garbage",
        |_| b"garbage".to_vec(),
        keep,
        Some("wrong length"),
    );
    check_pax(
        "too large",
        |_| record("comment", &"x".repeat(20_000)),
        keep,
        Some("over the limit of 16 KiB"),
    );
}

#[test]
fn a_path_in_an_extended_header_is_the_name() {
    let elsewhere: fn(&mut [u8; 512]) = |block| block[..100].fill(b'x');
    check_pax(
        "name elsewhere",
        |entry| record("path", &entry.name),
        elsewhere,
        None,
    );
    let honest = Forge::new("");
    let mut outer = honest.outer();
    outer[3] = outer[3]
        .clone()
        .after(pax(&record("path", "../data/0000.tar")));
    check(
        "another name",
        &tar(&outer),
        Some("member \"../data/0000.tar\" where data/0000.tar"),
    );
}

#[test]
fn an_extended_header_belongs_to_one_member() {
    let two = |entry: Entry| {
        let records = [
            pax(&record("mtime", "1")),
            pax(&record("size", &size(&entry))),
        ];
        entry.after(records.concat())
    };
    check_everywhere("two extended headers", two, Some("two extended headers"));
    let global = |entry: Entry| {
        let mut global = pax(&record("size", &size(&entry)));
        global[156] = b'g';
        let head: &mut [u8; 512] = (&mut global[..512]).try_into().unwrap();
        crate::forge::seal(head);
        entry.after(global)
    };
    check_everywhere("a global header", global, Some("a global extended header"));
    let honest = Forge::new("");
    let mut bytes = open_tar(&honest.outer());
    bytes.extend(pax(&record("mtime", "1")));
    check(
        "without member, then nothing",
        &bytes,
        Some("without a member"),
    );
    bytes.extend([0; 1024]);
    check(
        "without member, then the end",
        &bytes,
        Some("without a member"),
    );
}

#[test]
fn ustar_names_have_two_parts() {
    let split: fn(&mut [u8; 512]) = |block| {
        block[..100].fill(0);
        block[..8].copy_from_slice(b"0000.tar");
        block[345..349].copy_from_slice(b"data");
    };
    let mut outer = Forge::new("").outer();
    outer[3] = outer[3].clone().tweaked(split);
    check("data and 0000.tar", &tar(&outer), None);
    let prefixed: fn(&mut [u8; 512]) = |block| block[345] = b'x';
    check_block("a prefix that makes another name", prefixed, Some(""));
    let not_utf8: fn(&mut [u8; 512]) = |block| block[2] = 0xff;
    check_block("not UTF-8", not_utf8, Some("not UTF-8"));
}

#[test]
fn padding_and_tail_are_zeros() {
    let honest = Forge::new("");
    let whole = honest.bytes();
    let open = open_tar(&honest.outer());

    check("no end blocks", &open, None);
    check("one end block", &[&open[..], &[0; 512]].concat(), None);
    check(
        "half an end block",
        &[&open[..], &[0; 100]].concat(),
        Some("ends too early"),
    );
    check(
        "half a second end block",
        &[&open[..], &[0; 700]].concat(),
        Some("ends too early"),
    );
    check("more zeros", &[&whole[..], &[0; 9999]].concat(), None);
    check(
        "very many zeros",
        &[&whole[..], &vec![0; 2 << 20]].concat(),
        Some("over the limit of 1 MiB"),
    );
    check(
        "a byte behind",
        &[&whole[..], &[1]].concat(),
        Some("something after its end"),
    );
    check(
        "a byte far behind",
        &[&whole[..], &[0; 99_999], &[1]].concat(),
        Some("something after its end"),
    );
    check(
        "a member behind",
        &[&whole[..], &whole].concat(),
        Some("something after its end"),
    );
    let single = [&open[..], &[0; 512], &open_tar(&[Entry::new("x", "")])].concat();
    check("a single zero block", &single, Some("single zero block"));

    let at = 512 + honest.version.len();
    let mut padded = whole.clone();
    padded[at] = 1;
    check("padding", &padded, Some("not padded with zeros"));
}

#[test]
fn the_same_holds_inside_header_and_payload() {
    for suffix in ["", ".gz", ".xz", ".zst"] {
        let honest = Forge::new(suffix);
        let (header, payload) = (open_tar(&honest.header), open_tar(&honest.payload));
        for (what, end, fault) in [
            ("no end blocks", vec![], None),
            ("one end block", vec![0; 512], None),
            ("half an end block", vec![0; 100], Some("ends too early")),
            ("zeros", vec![0; 10240], None),
            (
                "many zeros",
                vec![0; 2 << 20],
                Some("over the limit of 1 MiB"),
            ),
            (
                "a byte behind",
                [&[0; 1024][..], &[1]].concat(),
                Some("something after its end"),
            ),
            (
                "a member behind",
                [&[0; 1024][..], &payload].concat(),
                Some("something after its end"),
            ),
            (
                "a single zero block",
                [&[0; 512][..], &payload].concat(),
                Some("single zero block"),
            ),
        ] {
            let packed_header = Some(pack(&[&header[..], &end].concat(), suffix));
            check(
                &format!("{what} in the header{suffix}"),
                &Forge {
                    packed_header,
                    ..honest.clone()
                }
                .bytes(),
                fault,
            );
            let packed_payload = Some(pack(&[&payload[..], &end].concat(), suffix));
            check(
                &format!("{what} in the payload{suffix}"),
                &Forge {
                    packed_payload,
                    ..honest.clone()
                }
                .bytes(),
                fault,
            );
        }
    }
}
