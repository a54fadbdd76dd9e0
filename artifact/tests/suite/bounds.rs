//! No artifact can make a reader use much memory, or work without end.

use std::fs;
use std::io::{self, Read, Write};
use std::process::Command;
use std::sync::LazyLock;

use tandem_artifact::{Artifact, Limits, Verification};

use crate::forge::{Entry, Forge, block, chain, check, line, open_tar, pack, tar};
use crate::peers;

/// Judges `bytes` in a process of our program that has `mib` MiB of address space.
#[track_caller]
fn check_in(mib: usize, what: &str, bytes: &[u8], fault: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("artifact");
    fs::write(&file, bytes).unwrap();
    let output = Command::new("sh")
        .args([
            "-c",
            &format!("ulimit -v {}; exec \"$0\" validate \"$1\"", mib * 1024),
        ])
        .args([peers::ours(), file])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(i32::from(fault.is_some())),
        "{what}: {:?} {stderr}",
        output.status
    );
    assert!(
        stderr.contains(fault.unwrap_or_default()),
        "{what}: {stderr}"
    );
}

/// Everything but decoders that were asked for more.
const SMALL: usize = 40;

/// Many zeros, bytes: much more than [`SMALL`].
const MANY: u64 = 100 << 20;

/// So many zeros, compressed.
fn zeros(suffix: &str) -> &'static [u8] {
    static PACKED: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        io::copy(&mut io::repeat(0).take(MANY), &mut gzip).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
        io::copy(&mut io::repeat(0).take(MANY), &mut xz).unwrap();
        let zstd = zstd::encode_all(io::repeat(0).take(MANY), 1).unwrap();
        [gzip.finish().unwrap(), xz.finish().unwrap(), zstd]
    });
    let [gzip, xz, zstd] = &*PACKED;
    match suffix {
        ".gz" => gzip,
        ".xz" => xz,
        ".zst" => zstd,
        other => panic!("{other}"),
    }
}

/// A header block for [`MANY`] bytes, and then so many zeros, compressed.
fn bomb(name: &str, suffix: &str) -> Vec<u8> {
    let head = block(name, usize::try_from(MANY).unwrap(), |_| {});
    // Concatenated streams are one content.
    [&pack(&head, suffix), zeros(suffix)].concat()
}

#[test]
fn a_small_header_that_becomes_large_is_refused() {
    for suffix in [".gz", ".xz", ".zst"] {
        let forge = |packed| Forge {
            packed_header: Some(packed),
            ..Forge::new(suffix)
        };
        let large = forge(bomb("header-info", suffix));
        check_in(
            SMALL,
            &format!("header-info{suffix}"),
            &large.bytes(),
            Some("header-info is over the limit of 1 MiB"),
        );
        let tail = forge(
            [
                pack(&open_tar(&Forge::new("").header), suffix),
                zeros(suffix).to_vec(),
            ]
            .concat(),
        );
        check_in(
            SMALL,
            &format!("tail{suffix}"),
            &tail.bytes(),
            Some("the zero padding of header.tar"),
        );
    }
    let mut forge = Forge::new(".gz");
    forge.header.insert(
        1,
        Entry::new(
            "scripts/ArtifactInstall_Enter_01",
            vec![b'#'; (4 << 20) + 1],
        ),
    );
    check(
        "a large script",
        &forge.bytes(),
        Some("state script \"ArtifactInstall_Enter_01\" is over the limit of 4 MiB"),
    );
    let mut forge = Forge::new(".gz");
    let script = |n: usize| Entry::new(&format!("scripts/ArtifactInstall_Enter_10_{n}"), "x");
    forge.header.splice(1..3, (0..256).map(script));
    check("256 scripts", &forge.bytes(), None);
    forge
        .header
        .insert(1, Entry::new("scripts/ArtifactInstall_Enter_01", "x"));
    check(
        "257 scripts",
        &forge.bytes(),
        Some("over the limit of 256 scripts"),
    );
    let mut forge = Forge::new(".gz");
    let script = |n: usize| {
        Entry::new(
            &format!("scripts/ArtifactInstall_Enter_10_{n}"),
            vec![b'#'; 4 << 20],
        )
    };
    forge.header.splice(1..3, (0..20).map(script));
    check(
        "80 MiB of scripts",
        &forge.bytes(),
        Some("the content of header.tar.gz is over the limit of 64 MiB"),
    );
}

#[test]
fn a_large_payload_needs_no_memory() {
    for suffix in [".gz", ".xz", ".zst"] {
        let manifest = {
            let mut sha256 = tandem_artifact::Sha256::new();
            (0..MANY >> 20).for_each(|_| sha256.update(&[0; 1 << 20]));
            let header = pack(&tar(&Forge::new("").header), suffix);
            format!("{}  data/0000/big\n", sha256.finish())
                + &line(&header, &format!("header.tar{suffix}"))
                + &line(crate::forge::VERSION.as_bytes(), "version")
        };
        let packed_header = Some(pack(&tar(&Forge::new("").header), suffix));
        let packed_payload = Some(bomb("big", suffix));
        let forge = Forge {
            manifest: Some(manifest),
            packed_header,
            packed_payload,
            ..Forge::new(suffix)
        };
        assert!(forge.bytes().len() < 1 << 20);
        check_in(SMALL, suffix, &forge.bytes(), None);
    }
}

#[test]
fn zeros_behind_the_payload_do_not_go_on_for_ever() {
    for suffix in [".gz", ".xz", ".zst"] {
        let honest = Forge::new(suffix);
        let packed_payload =
            Some([pack(&tar(&honest.payload), suffix), zeros(suffix).to_vec()].concat());
        let forge = Forge {
            packed_payload,
            ..honest
        };
        check_in(
            SMALL,
            suffix,
            &forge.bytes(),
            Some("the zero padding of data/0000.tar"),
        );
    }
}

#[test]
fn what_a_header_claims_is_not_allocated() {
    for (at, fault) in [
        (0, "version is over the limit of 4 KiB"),
        (1, "manifest is over the limit of 1 MiB"),
        (2, "manifest.sig is over the limit of 16 KiB"),
        (3, "header.tar.gz is over the limit of 16 MiB"),
    ] {
        let mut outer = Forge::signed(".gz").outer();
        outer[at].tweak = |block| block[124..135].copy_from_slice(b"77777777777");
        check_in(SMALL, &outer[at].name, &tar(&outer), Some(fault));
    }
    let mut outer = Forge::signed(".gz").outer();
    outer[3].tweak = |block| block[124..135].copy_from_slice(b"00077777777");
    check_in(
        SMALL,
        "within the limit, but not there",
        &tar(&outer),
        Some("ends too early"),
    );
}

#[test]
fn small_members_with_large_content_are_refused() {
    let large = |at: usize, size: usize| {
        let mut outer = Forge::signed(".gz").outer();
        outer[at].content = vec![b'a'; size];
        tar(&outer)
    };
    check_in(
        SMALL,
        "version",
        &large(0, 5 << 10),
        Some("version is over the limit"),
    );
    check_in(
        SMALL,
        "manifest",
        &large(1, 2 << 20),
        Some("manifest is over the limit"),
    );
    check_in(
        SMALL,
        "manifest.sig",
        &large(2, 17 << 10),
        Some("manifest.sig is over the limit"),
    );
    check_in(
        SMALL,
        "header",
        &large(3, 17 << 20),
        Some("header.tar.gz is over the limit"),
    );
    check_in(
        SMALL,
        "manifest without a line",
        &large(1, 1 << 20),
        Some("manifest does not end"),
    );
    let lines: String = (0..12_000)
        .map(|n| line(b"", &format!("data/0000/{n:04}")))
        .collect();
    let forge = Forge {
        manifest: Some(lines),
        ..Forge::new("")
    };
    check_in(
        SMALL,
        "12000 files",
        &forge.bytes(),
        Some("does not list version"),
    );
}

#[test]
fn hostile_json_needs_little_memory() {
    let limit = 1 << 20;
    let filled = |unit: &str| unit.repeat((limit - 4000) / unit.len());
    let mut keys = String::new();
    for n in 0..(limit - 4000) / 10 {
        keys.push_str(&format!("\"{n:05x}\":0,"));
    }
    for (what, content, fault) in [
        (
            "many numbers",
            format!("{{\"x\":[{}0]}}", filled("0,")),
            None,
        ),
        (
            "many arrays",
            format!("{{\"x\":[{}[]]}}", filled("[],")),
            None,
        ),
        ("many keys", format!("{{{keys}\"x\":0}}"), None),
        ("a long key", format!("{{\"{}\":0}}", filled("x")), None),
        (
            "a long string",
            format!("{{\"x\":\"{}\"}}", filled("\\u0041")),
            None,
        ),
        (
            "a long number",
            format!("{{\"x\":{}}}", filled("1")),
            Some("not the JSON"),
        ),
        (
            "deep",
            format!("{{\"x\":{}", filled("[")),
            Some("not the JSON"),
        ),
        (
            "deep objects",
            format!("{{\"x\":{}", filled("{\"x\":")),
            Some("not the JSON"),
        ),
    ] {
        let mut forge = Forge::new("");
        forge.header_entry("headers/0000/meta-data").content = content.into_bytes();
        check_in(SMALL, what, &forge.bytes(), fault);
    }
}

/// A zstd frame that asks for a window of 2^`log` bytes and holds `content` in raw blocks.
fn zstd_frame(log: u8, content: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, (log - 10) << 3];
    // A block is not larger than the window.
    let blocks: Vec<&[u8]> = content.chunks(1 << log.min(16)).collect();
    for (n, block) in blocks.iter().enumerate() {
        let last = u32::from(n + 1 == blocks.len());
        let head = (u32::try_from(block.len()).unwrap() << 3) | last;
        frame.extend_from_slice(&head.to_le_bytes()[..3]);
        frame.extend_from_slice(block);
    }
    frame
}

#[test]
fn a_zstd_window_is_limited() {
    let honest = Forge::new(".zst");
    let with_window = |log| {
        let packed_payload = Some(zstd_frame(log, &tar(&honest.payload)));
        Forge {
            packed_payload,
            ..honest.clone()
        }
        .bytes()
    };
    for log in 10..=23 {
        check_in(SMALL, &format!("2^{log}"), &with_window(log), None);
    }
    for log in [24, 25, 27, 31, 41] {
        check_in(
            SMALL,
            &format!("2^{log}"),
            &with_window(log),
            Some("the zstd window of data/0000.tar.zst is over the limit of 8 MiB"),
        );
    }
    let packed_header = Some(zstd_frame(27, &tar(&honest.header)));
    check(
        "header",
        &Forge {
            packed_header,
            ..honest.clone()
        }
        .bytes(),
        Some("the zstd window of header.tar.zst"),
    );

    let open = |log, window| {
        let limits = Limits {
            zstd_window: window,
            ..Limits::default()
        };
        let bytes = with_window(log);
        Artifact::open_with(&*bytes, &Verification::off(), limits)
            .and_then(Artifact::finish)
            .is_ok()
    };
    assert!(open(27, 128 << 20));
    assert!(!open(28, 128 << 20));
    assert!(!open(28, u64::MAX), "128 MiB is the most");
    assert!(open(24, 20 << 20), "rounded down to 16 MiB");
    assert!(!open(25, 20 << 20));
}

/// The same content in an xz stream that asks for a dictionary of `size` bytes.
fn xz_stream(size: u32, content: &[u8]) -> Vec<u8> {
    let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
    options.dict_size(size);
    let mut filters = liblzma::stream::Filters::new();
    filters.lzma2(&options);
    let stream =
        liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc64)
            .unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn an_xz_dictionary_is_limited() {
    let honest = Forge::new(".xz");
    let with_dictionary = |mib: u32| {
        let packed_payload = Some(xz_stream(mib << 20, &tar(&honest.payload)));
        Forge {
            packed_payload,
            ..honest.clone()
        }
        .bytes()
    };
    check_in(
        SMALL + 66,
        "64 MiB, what mender-artifact asks for",
        &with_dictionary(64),
        None,
    );
    check_in(
        SMALL,
        "96 MiB",
        &with_dictionary(96),
        Some("the xz dictionary of data/0000.tar.xz is over the limit of 64 MiB"),
    );
    let limits = Limits {
        xz_dictionary: 8 << 20,
        ..Limits::default()
    };
    let verdict = |mib| {
        let bytes = with_dictionary(mib);
        Artifact::open_with(&*bytes, &Verification::off(), limits.clone())
            .and_then(Artifact::finish)
    };
    assert!(verdict(8).is_ok());
    assert!(chain(&verdict(12).unwrap_err()).contains("over the limit of 8 MiB"));
}

#[test]
fn endless_headers_and_streams_without_content_end_with_the_source() {
    // A megabyte of empty gzip members, and of skippable frames: no content, no memory, and an end.
    let honest = Forge::new(".gz");
    let empty = pack(b"", ".gz").repeat(50_000);
    let packed_payload = Some([empty, pack(&tar(&honest.payload), ".gz")].concat());
    check_in(
        SMALL,
        "empty members",
        &Forge {
            packed_payload,
            ..honest
        }
        .bytes(),
        None,
    );
    let honest = Forge::new(".zst");
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0].repeat(200_000);
    let packed_payload = Some([skippable, pack(&tar(&honest.payload), ".zst")].concat());
    check_in(
        SMALL,
        "skippable frames",
        &Forge {
            packed_payload,
            ..honest
        }
        .bytes(),
        None,
    );
    let huge = [
        &[0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff][..],
        &[0; 1000],
    ]
    .concat();
    let packed_payload = Some(huge);
    check_in(
        SMALL,
        "a huge skippable frame",
        &Forge {
            packed_payload,
            ..Forge::new(".zst")
        }
        .bytes(),
        Some(""),
    );
    // A gzip header with a name without end.
    let name = [
        &[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0xff][..],
        &vec![b'x'; 10 << 20],
    ]
    .concat();
    let packed_payload = Some(name);
    check_in(
        SMALL,
        "a long gzip name",
        &Forge {
            packed_payload,
            ..Forge::new(".gz")
        }
        .bytes(),
        Some("does not decompress"),
    );
}
