//! Payloads beyond the sizes at which integers wrap, made while they are read.

use std::io::{self, Read};

use tandem_artifact::{Artifact, Digest, Sha256, Verification};

use crate::forge::{Entry, HEADER_INFO, TYPE_INFO, VERSION, block, line, open_tar, tar};

/// Zeros, but for the last byte.
struct Zeros {
    left: u64,
    last: u8,
}

impl Read for Zeros {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.left.min(buffer.len() as u64);
        self.left -= count;
        let buffer = &mut buffer[..usize::try_from(count).unwrap()];
        buffer.fill(0);
        if let (0, Some(last)) = (self.left, buffer.last_mut()) {
            *last = self.last;
        }
        Ok(buffer.len())
    }
}

/// The sums of so many zeros, and of so many more.
fn sums(size: u64, more: u64) -> [Digest; 2] {
    fn add(sha256: &mut Sha256, size: u64) {
        let zeros = vec![0; 1 << 20];
        (0..size >> 20).for_each(|_| sha256.update(&zeros));
        sha256.update(&zeros[..usize::try_from(size % (1 << 20)).unwrap()]);
    }
    let mut sha256 = Sha256::new();
    add(&mut sha256, size);
    let first = sha256.clone().finish();
    add(&mut sha256, more);
    [first, sha256.finish()]
}

/// An artifact, not compressed, with a payload file of `size` zeros, of which the last may be another byte.
fn artifact(size: u64, sum: Digest, last: u8) -> impl Read {
    let header = tar(&[
        Entry::new("header-info", HEADER_INFO),
        Entry::new("headers/0000/type-info", TYPE_INFO),
    ]);
    let manifest = format!("{sum}  data/0000/big\n")
        + &line(&header, "header.tar")
        + &line(VERSION.as_bytes(), "version");
    let padded = size.next_multiple_of(512);
    let mut front = open_tar(&[
        Entry::new("version", VERSION),
        Entry::new("manifest", manifest),
        Entry::new("header.tar", header),
    ]);
    front.extend(block(
        "data/0000.tar",
        usize::try_from(512 + padded + 1024).unwrap(),
        |_| {},
    ));
    front.extend(block("big", usize::try_from(size).unwrap(), |_| {}));
    let tail = usize::try_from(padded - size).unwrap() + 2048;
    io::Cursor::new(front)
        .chain(Zeros { left: size, last })
        .chain(io::Cursor::new(vec![0; tail]))
}

/// CVE-2026-34155: what lies beyond 2 GiB or 4 GiB is checked like the rest.
#[test]
fn the_last_byte_of_a_file_beyond_4_gib_is_checked() {
    let (two, four) = ((2 << 30) + 1, (4 << 30) + 1);
    let [sum_two, sum_four] = sums(two, four - two);
    let verdict = |size, sum, last| {
        Artifact::open(artifact(size, sum, last), &Verification::off()).and_then(Artifact::finish)
    };
    for (size, sum) in [(two, sum_two), (four, sum_four)] {
        let err = verdict(size, sum, 1).unwrap_err();
        assert!(
            err.to_string()
                .contains("\"big\" does not match the manifest"),
            "{err}"
        );
    }
    assert_eq!(verdict(four, sum_four, 0).unwrap().files[0].size, four);
}

#[test]
fn sizes_beyond_8_gib_are_known_before_the_first_byte() {
    for size in [(8_u64 << 30) - 1, 8 << 30, 1 << 40, i64::MAX as u64 - 4096] {
        let payload_size = (512 + 512 + 512) + size.next_multiple_of(512) + 1024;
        let header = tar(&[
            Entry::new("header-info", HEADER_INFO),
            Entry::new("headers/0000/type-info", TYPE_INFO),
        ]);
        let manifest = line(b"", "data/0000/big")
            + &line(&header, "header.tar")
            + &line(VERSION.as_bytes(), "version");
        let record = |size: u64| {
            let body = format!(" size={size}\n");
            crate::forge::pax(format!("{}{body}", body.len() + 2).as_bytes())
        };
        let mut bytes = open_tar(&[
            Entry::new("version", VERSION),
            Entry::new("manifest", manifest),
            Entry::new("header.tar", header),
        ]);
        bytes.extend(record(payload_size));
        bytes.extend(block("data/0000.tar", 0, |_| {}));
        bytes.extend(record(size));
        bytes.extend(block("big", 0, |_| {}));
        let mut artifact = Artifact::open(&*bytes, &Verification::off()).unwrap();
        assert_eq!(artifact.next_file().unwrap().unwrap().info().size, size);
        assert!(
            artifact
                .finish()
                .unwrap_err()
                .to_string()
                .contains("ends too early")
        );
    }
}
