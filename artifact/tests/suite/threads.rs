//! Checking a payload file on another thread than the one that reads it.

use std::io::Read as _;
use std::sync::mpsc;
use std::thread;

use tandem_artifact::{Artifact, Check, Error, Kind, Summary, Verification, Verified};

use crate::forge::{Entry, Forge, tar};

fn large() -> Forge {
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    Forge {
        payload: vec![Entry::new("large", content), Entry::new("small", "x")],
        ..Forge::new(".zst")
    }
}

/// Reads with one thread and hashes with another, as an install pipeline does.
fn pipeline(artifact: &[u8]) -> Result<Summary, Error> {
    let mut artifact = Artifact::open(artifact, &Verification::off())?;
    while let Some(file) = artifact.next_file()? {
        let (mut file, mut check) = file.detach_check()?;
        let (blocks, receiver) = mpsc::sync_channel::<Vec<u8>>(2);
        let proof = thread::scope(|scope| {
            let hasher = scope.spawn(move || {
                for block in receiver {
                    check.update(&block);
                }
                check.finish()
            });
            loop {
                let mut block = vec![0; 1 << 20];
                match file.read(&mut block).map_err(Error::from_read)? {
                    0 => break,
                    count => {
                        block.truncate(count);
                        blocks.send(block).unwrap();
                    }
                }
            }
            drop(blocks);
            hasher.join().unwrap()
        })?;
        artifact.accept(proof)?;
    }
    artifact.finish()
}

#[test]
fn hashing_can_move_to_another_thread() {
    let summary = pipeline(&large().bytes()).unwrap();
    let sizes: Vec<_> = summary.files.iter().map(|file| file.size).collect();
    assert_eq!(sizes, [12_000_000, 1]);
}

#[test]
fn a_moved_check_finds_what_a_check_in_place_finds() {
    let honest = large();
    let manifest = Some(String::from_utf8(honest.outer()[1].content.clone()).unwrap());
    let mut forge = Forge { manifest, ..honest };
    *forge.payload[0].content.last_mut().unwrap() ^= 1;
    let err = pipeline(&forge.bytes()).unwrap_err();
    assert!(
        err.to_string()
            .contains("payload file \"large\" does not match the manifest"),
        "{err}"
    );
}

#[test]
fn readers_checks_and_proofs_can_change_threads() {
    fn is_send<T: Send>() {}
    is_send::<Artifact<std::fs::File>>();
    is_send::<Check>();
    is_send::<Verified>();
    is_send::<Error>();
}

/// Opens an artifact with two files, and reads the first with its check detached.
fn detached(forge: &Forge) -> (Artifact<std::io::Cursor<Vec<u8>>>, Check) {
    let mut artifact =
        Artifact::open(std::io::Cursor::new(forge.bytes()), &Verification::off()).unwrap();
    let (mut file, mut check) = artifact
        .next_file()
        .unwrap()
        .unwrap()
        .detach_check()
        .unwrap();
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    check.update(&content);
    (artifact, check)
}

#[track_caller]
fn check_misuse<T>(result: Result<T, Error>) {
    assert_eq!(result.err().map(|err| err.kind()), Some(Kind::Input));
}

#[test]
fn an_artifact_does_not_go_on_without_proof() {
    let forge = Forge::new(".gz");
    let (mut artifact, _check) = detached(&forge);
    let err = artifact.next_file().map(|_| ()).unwrap_err();
    assert!(
        err.to_string()
            .contains("\"one\" was read without its check"),
        "{err}"
    );
    check_misuse(artifact.next_file().map(|_| ()));
    check_misuse(artifact.finish());

    let (artifact, _check) = detached(&forge);
    check_misuse(artifact.finish());
}

#[test]
fn a_proof_is_for_one_file_of_one_reader() {
    let forge = Forge::new(".gz");
    let prove = |check: Check| -> Verified { check.finish().unwrap() };

    let (mut artifact, check) = detached(&forge);
    let (_other, other_check) = detached(&forge);
    check_misuse(artifact.accept(prove(other_check)));
    artifact.accept(prove(check)).unwrap();
    let summary = artifact.finish().unwrap();
    assert_eq!(summary.files.len(), 2);

    // Two files with the same content: the proof for one is not one for the other.
    let mut twins = forge.clone();
    twins.payload = vec![Entry::new("a", "x"), Entry::new("b", "x")];
    let (mut artifact, check) = detached(&twins);
    let first = prove(check);
    let (_again, check) = detached(&twins);
    check_misuse(artifact.accept(prove(check)));
    artifact.accept(first).unwrap();
    let (mut file, check) = artifact
        .next_file()
        .unwrap()
        .unwrap()
        .detach_check()
        .unwrap();
    assert_eq!(file.read(&mut [0; 8]).unwrap(), 1);
    check_misuse(check.finish());
    check_misuse(artifact.finish());
}

#[test]
fn a_check_needs_all_bytes_and_no_more() {
    for bytes in [
        &b""[..],
        b"content of on",
        b"content of one ",
        b"content of one\0\0\0\0",
    ] {
        let mut artifact = Artifact::open(
            std::io::Cursor::new(Forge::new("").bytes()),
            &Verification::off(),
        )
        .unwrap();
        let (_, mut check) = artifact
            .next_file()
            .unwrap()
            .unwrap()
            .detach_check()
            .unwrap();
        check.update(bytes);
        check_misuse(check.finish());
    }
}

#[test]
fn a_proof_before_the_file_was_read_is_not_taken() {
    let mut artifact = Artifact::open(
        std::io::Cursor::new(Forge::new("").bytes()),
        &Verification::off(),
    )
    .unwrap();
    let (_, mut check) = artifact
        .next_file()
        .unwrap()
        .unwrap()
        .detach_check()
        .unwrap();
    check.update(b"content of one");
    check_misuse(artifact.accept(check.finish().unwrap()));
}

#[test]
fn half_a_file_can_be_read_before_its_check_moves() {
    let mut artifact = Artifact::open(
        std::io::Cursor::new(Forge::new("").bytes()),
        &Verification::off(),
    )
    .unwrap();
    let mut file = artifact.next_file().unwrap().unwrap();
    file.read_exact(&mut [0; 5]).unwrap();
    let (mut file, mut check) = file.detach_check().unwrap();
    let mut rest = Vec::new();
    file.read_to_end(&mut rest).unwrap();
    check.update(&rest);
    artifact.accept(check.finish().unwrap()).unwrap();
    artifact.finish().unwrap();

    let mut artifact = Artifact::open(
        std::io::Cursor::new(Forge::new("").bytes()),
        &Verification::off(),
    )
    .unwrap();
    let mut file = artifact.next_file().unwrap().unwrap();
    file.read_to_end(&mut Vec::new()).unwrap();
    check_misuse(file.detach_check().map(|_| ()));
}

#[test]
fn what_is_not_read_is_checked_all_the_same() {
    let honest = Forge::new(".gz");
    let manifest = Some(String::from_utf8(honest.outer()[1].content.clone()).unwrap());
    for at in [0, 1] {
        let mut forge = Forge {
            manifest: manifest.clone(),
            ..honest.clone()
        };
        forge.payload[at].content[3] ^= 1;
        let bytes = forge.bytes();
        assert!(
            Artifact::open(&*bytes, &Verification::off())
                .unwrap()
                .finish()
                .is_err()
        );
        let mut artifact = Artifact::open(&*bytes, &Verification::off()).unwrap();
        let mut verdicts = Vec::new();
        while let Ok(Some(mut file)) = artifact.next_file() {
            verdicts.push(file.read(&mut [0; 3]).is_ok());
        }
        assert!(artifact.finish().is_err());
        assert_eq!(verdicts.len(), at + 1);
    }
}

#[test]
fn the_last_byte_comes_with_the_verdict_and_never_as_a_short_success() {
    let honest = Forge::new("");
    let manifest = Some(String::from_utf8(honest.outer()[1].content.clone()).unwrap());
    let mut forge = Forge { manifest, ..honest };
    forge.payload[0].content[3] ^= 1;
    let mut artifact =
        Artifact::open(std::io::Cursor::new(forge.bytes()), &Verification::off()).unwrap();
    let mut file = artifact.next_file().unwrap().unwrap();
    let size = usize::try_from(file.info().size).unwrap();
    file.read_exact(&mut vec![0; size - 1]).unwrap();
    assert!(file.read(&mut [0; 1]).is_err());
    for _ in 0..3 {
        assert!(file.read(&mut [0; 1]).is_err());
    }
    assert!(artifact.next_file().is_err());

    // The source ends in the middle of the file.
    let bytes = Forge::new("").bytes();
    let start = tar(&Forge::new("").outer()[..3]).len() - 1024 + 512 + 512;
    let mut artifact = Artifact::open(
        std::io::Cursor::new(bytes[..start + 7].to_vec()),
        &Verification::off(),
    )
    .unwrap();
    let mut file = artifact.next_file().unwrap().unwrap();
    let mut content = Vec::new();
    let err = file.read_to_end(&mut content).unwrap_err();
    assert_eq!(
        (content.as_slice(), err.kind()),
        (&b"content"[..], std::io::ErrorKind::UnexpectedEof)
    );
    assert!(file.read(&mut [0; 1]).is_err());
}

#[test]
fn an_empty_file_is_checked_too() {
    let mut forge = Forge {
        payload: vec![Entry::new("empty", "")],
        ..Forge::new(".gz")
    };
    let mut artifact =
        Artifact::open(std::io::Cursor::new(forge.bytes()), &Verification::off()).unwrap();
    assert_eq!(
        artifact
            .next_file()
            .unwrap()
            .unwrap()
            .read(&mut [0; 9])
            .unwrap(),
        0
    );
    artifact.finish().unwrap();

    let manifest = String::from_utf8(forge.outer()[1].content.clone()).unwrap();
    forge.manifest = Some(manifest.replacen(['e', 'b'], "0", 1));
    let mut artifact =
        Artifact::open(std::io::Cursor::new(forge.bytes()), &Verification::off()).unwrap();
    assert!(
        artifact
            .next_file()
            .unwrap()
            .unwrap()
            .read(&mut [0; 9])
            .is_err()
    );
    assert!(artifact.finish().is_err());
}

#[test]
fn an_error_of_the_source_stays_what_it_is() {
    struct Breaks<'a>(&'a [u8]);
    impl std::io::Read for Breaks<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(std::io::Error::new(
                    std::io::ErrorKind::ConnectionReset,
                    "gone",
                )),
                count => Ok(count),
            }
        }
    }
    for suffix in ["", ".gz", ".xz", ".zst"] {
        let bytes = Forge::new(suffix).bytes();
        for length in (0..bytes.len()).step_by(50) {
            let verdict = Artifact::open(Breaks(&bytes[..length]), &Verification::off())
                .and_then(Artifact::finish);
            let err = verdict.unwrap_err();
            assert_eq!(err.kind(), Kind::Source, "{suffix} {length}: {err}");
            let Error::Source(source) = err else {
                panic!("{err}")
            };
            assert_eq!(source.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
}
