//! What we write: the same each time, right, and never something that we would not read.

use std::cell::Cell;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

use tandem_artifact::{
    Artifact, Compression, Compressor, Content, Draft, Error, FileName, Kind, Script, ScriptName,
    Verification, Writer,
};

use crate::forge::judge;

fn content(name: &str, bytes: &[u8]) -> Content<Cursor<Vec<u8>>> {
    Content::measure(FileName::parse(name).unwrap(), Cursor::new(bytes.to_vec())).unwrap()
}

fn script(name: &str) -> Script {
    Script {
        name: ScriptName::parse(name).unwrap(),
        content: b"#!/bin/sh\n".to_vec(),
    }
}

fn module() -> Draft {
    Draft {
        name: "r1".to_owned(),
        device_types: vec!["qemu".to_owned()],
        payload_type: Some("module".to_owned()),
        meta_data: Some(br#"{"n":12345678901234567890}"#.to_vec()),
        scripts: vec![
            script("ArtifactReboot_Enter_02"),
            script("ArtifactInstall_Enter_01"),
        ],
        ..Draft::default()
    }
}

fn write(
    draft: &Draft,
    files: Vec<Content<Cursor<Vec<u8>>>>,
    compressor: Compressor,
) -> Result<Vec<u8>, Error> {
    let mut out = Cursor::new(Vec::new());
    Writer::new(draft, files, compressor, None)?.write(&mut out)?;
    Ok(out.into_inner())
}

/// Noise that compresses a little.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 60) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

#[test]
fn what_is_written_is_read_back_in_every_compression_and_size() {
    for compressor in Compressor::ALL {
        for size in [0, 1, 511, 512, 513, 1_000_000] {
            let bytes = noise(size);
            let artifact = write(
                &module(),
                vec![content("a", &bytes), content("b", b"b")],
                compressor,
            )
            .unwrap();
            let facts = judge(&*artifact, &Verification::off()).unwrap();
            assert_eq!(
                facts.files,
                [("a".to_owned(), bytes), ("b".to_owned(), b"b".to_vec())]
            );
            assert_eq!(facts.header, module().header().unwrap());
            let names: Vec<_> = facts
                .header
                .scripts()
                .iter()
                .map(|script| script.name.as_str())
                .collect();
            assert_eq!(
                names,
                ["ArtifactInstall_Enter_01", "ArtifactReboot_Enter_02"]
            );
            assert_eq!(
                facts.header.meta_data(),
                Some(&br#"{"n":12345678901234567890}"#[..])
            );
            let summary = Artifact::open(&*artifact, &Verification::off())
                .unwrap()
                .finish()
                .unwrap();
            assert_eq!(summary.size, artifact.len() as u64);
            assert_eq!(summary.header_compression, compressor.compression());
            assert_eq!(summary.payload_compression, Some(compressor.compression()));
        }
    }
    assert_eq!(
        Compressor::ALL
            .map(Compressor::compression)
            .iter()
            .filter(|c| **c == Compression::Zstd)
            .count(),
        4
    );
}

#[test]
fn the_same_input_gives_the_same_bytes_to_files_and_to_pipes() {
    for compressor in Compressor::ALL {
        let files = || vec![content("a", &noise(300_000)), content("b", b"")];
        let first = write(&module(), files(), compressor).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| assert_eq!(write(&module(), files(), compressor).unwrap(), first));
            }
        });
        let mut piped = Vec::new();
        Writer::new(&module(), files(), compressor, None)
            .unwrap()
            .write_stream(&mut piped)
            .unwrap();
        assert_eq!(piped, first, "{compressor}");
        // Somewhere in a larger file.
        let mut out = Cursor::new(b"in front".to_vec());
        out.seek(SeekFrom::End(0)).unwrap();
        Writer::new(&module(), files(), compressor, None)
            .unwrap()
            .write(&mut out)
            .unwrap();
        assert_eq!(out.into_inner()[8..], first);
    }
}

#[test]
fn an_artifact_says_nothing_about_the_machine_that_built_it() {
    let artifact = write(&module(), vec![content("a", b"x")], Compressor::None).unwrap();
    let tar = |bytes: &[u8]| {
        let mut archive = ::tar::Archive::new(Cursor::new(bytes.to_vec()));
        let mut members = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert!(header.as_ustar().is_some());
            assert_eq!(
                (
                    header.uid().unwrap(),
                    header.gid().unwrap(),
                    header.mtime().unwrap()
                ),
                (0, 0, 0)
            );
            assert_eq!(
                (header.username(), header.groupname()),
                (Ok(Some("")), Ok(Some("")))
            );
            let name = entry.path().unwrap().display().to_string();
            let mode = entry.header().mode().unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            members.push((name, mode, content));
        }
        members
    };
    let outer = tar(&artifact);
    let names: Vec<_> = outer
        .iter()
        .map(|(name, mode, _)| (name.as_str(), *mode))
        .collect();
    assert_eq!(
        names,
        [
            ("version", 0o600),
            ("manifest", 0o600),
            ("header.tar", 0o600),
            ("data/0000.tar", 0o600)
        ]
    );
    let header: Vec<_> = tar(&outer[2].2)
        .into_iter()
        .map(|(name, mode, _)| (name, mode))
        .collect();
    assert_eq!(header[0], ("header-info".to_owned(), 0o600));
    assert_eq!(
        header[1],
        ("scripts/ArtifactInstall_Enter_01".to_owned(), 0o755)
    );
    tar(&outer[3].2);
}

#[test]
fn what_a_reader_would_refuse_is_not_written() {
    type Change = fn(&mut Draft);
    let cases: [(Change, &str); 20] = [
        (|draft| draft.name.clear(), "artifact_name: it is empty"),
        (|draft| draft.name = "a b".to_owned(), "white space"),
        (|draft| draft.name = "a\u{a0}b".to_owned(), "white space"),
        (|draft| draft.name = "a\n".to_owned(), "white space"),
        (
            |draft| draft.name = "a\u{7}".to_owned(),
            "control characters",
        ),
        (|draft| draft.name = "x".repeat(257), "longer than 256"),
        (
            |draft| draft.device_types.clear(),
            "missing field `device_type`",
        ),
        (
            |draft| draft.device_types.push(String::new()),
            "device_type: it is empty",
        ),
        (
            |draft| draft.group = Some("x".repeat(300)),
            "longer than 256",
        ),
        (
            |draft| draft.depends_on_groups = vec!["\r".to_owned()],
            "control characters",
        ),
        (
            |draft| draft.payload_type = Some(String::new()),
            "payload type \"\"",
        ),
        (
            |draft| draft.payload_type = Some("../x".to_owned()),
            "payload type \"../x\"",
        ),
        (
            |draft| draft.payload_type = Some("rootfs-image".to_owned()),
            "lists 2 payload files",
        ),
        (
            |draft| draft.payload_type = None,
            "although there is no payload",
        ),
        (
            |draft| draft.meta_data = Some(b"[]".to_vec()),
            "meta-data is not the JSON that it must be: invalid type",
        ),
        (
            |draft| draft.meta_data = Some(vec![b' '; 2 << 20]),
            "meta-data",
        ),
        (
            |draft| {
                drop(
                    draft
                        .provides
                        .insert("artifact_name".to_owned(), "x".to_owned()),
                )
            },
            "which header-info provides too",
        ),
        (
            |draft| {
                drop(
                    draft
                        .depends
                        .insert("device_type".to_owned(), vec!["x".to_owned()]),
                )
            },
            "as header-info does too",
        ),
        (
            |draft| draft.scripts.push(script("ArtifactInstall_Enter_01")),
            "twice",
        ),
        (
            |draft| draft.scripts[0].content = vec![0; 5 << 20],
            "over the limit of 4 MiB",
        ),
    ];
    for (change, fault) in cases {
        let mut draft = module();
        change(&mut draft);
        let err = write(
            &draft,
            vec![content("a", b""), content("b", b"")],
            Compressor::Gzip,
        )
        .unwrap_err();
        assert_eq!(err.kind(), Kind::Input);
        assert!(err.to_string().contains(fault), "{err}, not {fault}");
    }
    let err = write(
        &module(),
        vec![content("a", b""), content("a", b"")],
        Compressor::Gzip,
    )
    .unwrap_err();
    assert!(err.to_string().contains("the same name"), "{err}");
}

/// A source that is not the same when it is read again.
struct Changing {
    bytes: Vec<u8>,
    at: usize,
    readings: Cell<usize>,
    change: fn(&mut Vec<u8>),
}

impl Read for Changing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (&self.bytes[self.at..]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

impl Seek for Changing {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        self.readings.set(self.readings.get() + 1);
        if self.readings.get() == 2 {
            (self.change)(&mut self.bytes);
        }
        self.at = 0;
        Ok(0)
    }
}

#[test]
fn a_payload_file_that_changes_meanwhile_is_noticed() {
    for change in [
        (|bytes| bytes[0] ^= 1) as fn(&mut Vec<u8>),
        |bytes| bytes.push(0),
        |bytes| bytes.truncate(999),
        |bytes| bytes.clear(),
        |bytes| bytes.resize(1_000_000, 7),
    ] {
        let source = Changing {
            bytes: noise(1000),
            at: 0,
            readings: Cell::new(0),
            change,
        };
        let content = Content::measure(FileName::parse("a").unwrap(), source).unwrap();
        let writer = Writer::new(&module(), vec![content], Compressor::Gzip, None).unwrap();
        let err = writer.write(&mut Cursor::new(Vec::new())).unwrap_err();
        assert!(matches!(err, Error::Changed { .. }), "{err}");
    }
}

#[test]
fn a_full_disk_is_an_error_of_the_output() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(bytes.len())
                .ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for compressor in Compressor::ALL {
        for room in [0, 100, 3000, 6000] {
            let writer = Writer::new(
                &module(),
                vec![content("a", &noise(20_000))],
                compressor,
                None,
            )
            .unwrap();
            let err = writer.write_stream(&mut Full(room)).unwrap_err();
            assert_eq!(err.kind(), Kind::Sink, "{compressor} {room}: {err}");
        }
    }
}

#[test]
fn the_usual_rootfs_artifact_needs_three_facts() {
    let image = content("rootfs.ext4", b"image");
    let draft = Draft::rootfs_image("r1", vec!["qemu".to_owned()], &image);
    let facts = judge(
        &*write(&draft, vec![image], Compressor::Gzip).unwrap(),
        &Verification::off(),
    )
    .unwrap();
    let provides: Vec<_> = facts.header.provides().unwrap().keys().collect();
    assert_eq!(provides, ["rootfs-image.checksum", "rootfs-image.version"]);
    assert_eq!(
        facts.header.clears_provides().unwrap(),
        ["artifact_group", "rootfs_image_checksum", "rootfs-image.*"]
    );
}
