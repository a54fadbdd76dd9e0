//! Makes artifacts, honest and hostile ones, without the writer of the crate: what both get wrong would not be seen.

use std::io::{Read, Write};

use base64::Engine as _;
use tandem_artifact::{Artifact, Digest, Error, Verification};

/// A member of a tar archive.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
    /// Changes its header, before the checksum is made.
    pub(crate) tweak: fn(&mut [u8; 512]),
    /// Stands before its header.
    pub(crate) before: Vec<u8>,
}

impl Entry {
    pub(crate) fn new(name: &str, content: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.to_owned(),
            content: content.as_ref().to_vec(),
            tweak: |_| {},
            before: Vec::new(),
        }
    }

    pub(crate) fn tweaked(mut self, tweak: fn(&mut [u8; 512])) -> Self {
        self.tweak = tweak;
        self
    }

    pub(crate) fn after(mut self, before: Vec<u8>) -> Self {
        self.before = before;
        self
    }
}

/// A POSIX ustar header block.
pub(crate) fn block(name: &str, size: usize, tweak: fn(&mut [u8; 512])) -> [u8; 512] {
    let mut block = [0; 512];
    let cut = name.len().min(100);
    block[..cut].copy_from_slice(&name.as_bytes()[..cut]);
    block[100..108].copy_from_slice(b"0000600\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    tweak(&mut block);
    seal(&mut block);
    block
}

/// Makes the checksum of a header right.
pub(crate) fn seal(block: &mut [u8; 512]) {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

pub(crate) fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(512), 0);
}

/// A PAX extended header with `records`.
pub(crate) fn pax(records: &[u8]) -> Vec<u8> {
    let mut bytes = block("PaxHeaders.0/x", records.len(), |block| block[156] = b'x').to_vec();
    bytes.extend_from_slice(records);
    pad(&mut bytes);
    bytes
}

/// An archive without end blocks.
pub(crate) fn open_tar(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend_from_slice(&entry.before);
        bytes.extend_from_slice(&block(&entry.name, entry.content.len(), entry.tweak));
        bytes.extend_from_slice(&entry.content);
        pad(&mut bytes);
    }
    bytes
}

pub(crate) fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = open_tar(entries);
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

/// Compresses as the suffix says.
pub(crate) fn pack(bytes: &[u8], suffix: &str) -> Vec<u8> {
    match suffix {
        "" => bytes.to_vec(),
        ".gz" => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        ".xz" => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        ".zst" => zstd::encode_all(bytes, 3).unwrap(),
        other => panic!("{other}"),
    }
}

pub(crate) const VERSION: &str = r#"{"format":"mender","version":3}"#;
pub(crate) const HEADER_INFO: &str = r#"{"payloads":[{"type":"module"}],"artifact_provides":{"artifact_name":"r1"},"artifact_depends":{"device_type":["qemu"]}}"#;
pub(crate) const TYPE_INFO: &str =
    r#"{"type":"module","artifact_provides":{"k":"v"},"clears_artifact_provides":["k*"]}"#;

/// Makes a signature of a manifest.
type Sign = fn(&[u8]) -> Vec<u8>;

/// An artifact in its parts. Change what should be wrong; sums and signature follow, unless they are given.
#[derive(Clone)]
pub(crate) struct Forge {
    pub(crate) version: String,
    pub(crate) header: Vec<Entry>,
    pub(crate) payload: Vec<Entry>,
    pub(crate) suffix: &'static str,
    /// Replaces the packed header.
    pub(crate) packed_header: Option<Vec<u8>>,
    /// Replaces the packed payload.
    pub(crate) packed_payload: Option<Vec<u8>>,
    /// Replaces the manifest.
    pub(crate) manifest: Option<String>,
    /// The content of `manifest.sig`, made from the manifest.
    pub(crate) sign: Option<Sign>,
}

impl Forge {
    /// An artifact for an update module, with all kinds of parts.
    pub(crate) fn new(suffix: &'static str) -> Self {
        Self {
            version: VERSION.to_owned(),
            header: vec![
                Entry::new("header-info", HEADER_INFO),
                Entry::new("scripts/ArtifactInstall_Enter_00", "#!/bin/sh\n"),
                Entry::new("scripts/ArtifactCommit_Leave_99_x", "exit 1\n"),
                Entry::new("headers/0000/type-info", TYPE_INFO),
                Entry::new("headers/0000/meta-data", r#"{"a":1}"#),
            ],
            payload: vec![
                Entry::new("one", "content of one"),
                Entry::new("two.bin", vec![7; 600]),
            ],
            suffix,
            packed_header: None,
            packed_payload: None,
            manifest: None,
            sign: None,
        }
    }

    pub(crate) fn signed(suffix: &'static str) -> Self {
        Self {
            sign: Some(ed25519_signature),
            ..Self::new(suffix)
        }
    }

    /// The members of the outer archive.
    pub(crate) fn outer(&self) -> Vec<Entry> {
        let header_name = format!("header.tar{}", self.suffix);
        let header = self
            .packed_header
            .clone()
            .unwrap_or_else(|| pack(&tar(&self.header), self.suffix));
        let payload = self
            .packed_payload
            .clone()
            .unwrap_or_else(|| pack(&tar(&self.payload), self.suffix));
        let manifest = self.manifest.clone().unwrap_or_else(|| {
            let mut names: Vec<&Entry> = Vec::new();
            for entry in &self.payload {
                if !names.iter().any(|known| known.name == entry.name) {
                    names.push(entry);
                }
            }
            let files = names
                .iter()
                .map(|entry| line(&entry.content, &format!("data/0000/{}", entry.name)));
            files.collect::<String>()
                + &line(&header, &header_name)
                + &line(self.version.as_bytes(), "version")
        });
        let mut outer = vec![
            Entry::new("version", &self.version),
            Entry::new("manifest", &manifest),
        ];
        outer.extend(
            self.sign
                .map(|sign| Entry::new("manifest.sig", sign(manifest.as_bytes()))),
        );
        outer.push(Entry::new(&header_name, header));
        outer.push(Entry::new(
            &format!("data/0000.tar{}", self.suffix),
            payload,
        ));
        outer
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        tar(&self.outer())
    }

    pub(crate) fn header_entry(&mut self, name: &str) -> &mut Entry {
        self.header
            .iter_mut()
            .find(|entry| entry.name == name)
            .unwrap()
    }
}

/// A line of a manifest.
pub(crate) fn line(content: &[u8], name: &str) -> String {
    format!("{}  {name}\n", Digest::of(content))
}

/// Everything that a reader gets out of an artifact.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) header: tandem_artifact::Header,
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

/// Reads all of an artifact.
pub(crate) fn judge(source: impl Read, verification: &Verification) -> Result<Facts, Error> {
    let mut artifact = Artifact::open(source, verification)?;
    let header = artifact.header().clone();
    let mut files = Vec::new();
    while let Some(mut file) = artifact.next_file()? {
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(Error::from_read)?;
        assert_eq!(content.len() as u64, file.info().size);
        files.push((file.info().name.to_string(), content));
    }
    let summary = artifact.finish()?;
    assert_eq!(summary.files.len(), files.len());
    Ok(Facts { header, files })
}

/// Demands that `bytes` is refused, with `fault` in the message, or accepted if that is `None`.
#[track_caller]
pub(crate) fn check(what: &str, bytes: &[u8], fault: Option<&str>) {
    check_signed(what, bytes, &Verification::off(), fault);
}

#[track_caller]
pub(crate) fn check_signed(
    what: &str,
    bytes: &[u8],
    verification: &Verification,
    fault: Option<&str>,
) {
    match (judge(bytes, verification), fault) {
        (Ok(_), None) => {}
        (Ok(_), Some(fault)) => panic!("{what}: accepted, although {fault}"),
        (Err(err), Some(fault)) if chain(&err).contains(fault) => {}
        (Err(err), _) => panic!("{what}: {:?}, not {fault:?}", chain(&err)),
    }
}

/// An error with its sources.
pub(crate) fn chain(err: &Error) -> String {
    let mut text = err.to_string();
    let mut cause = std::error::Error::source(err);
    while let Some(err) = cause {
        text.push_str(&format!(": {err}"));
        cause = err.source();
    }
    text
}

/// The Ed25519 key pair of all tests, from a fixed seed.
fn ed25519_pair() -> ring::signature::Ed25519KeyPair {
    ring::signature::Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

pub(crate) fn ed25519_signature(manifest: &[u8]) -> Vec<u8> {
    base64(ed25519_pair().sign(manifest).as_ref()).into_bytes()
}

pub(crate) fn ed25519_public() -> String {
    use ring::signature::KeyPair as _;
    let pair = ed25519_pair();
    let spki = [
        &[
            0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
        ],
        pair.public_key().as_ref(),
    ];
    pem("PUBLIC KEY", &spki.concat())
}

pub(crate) fn ed25519_verification() -> Verification {
    let key = tandem_artifact::PublicKey::from_pem("ed25519", ed25519_public().as_bytes()).unwrap();
    Verification::by(vec![key]).unwrap()
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        base64(der)
    )
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
