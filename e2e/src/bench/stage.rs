//! The stages of an installation, each alone: no pipeline can be faster than the slowest of them.
//!
//! They are the agent's own code (the same decoders, the same SHA-256), in this process.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::fcntl::OFlag;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tandem_artifact::{Artifact, Sha256, Verification};

use crate::case::{Case, Source};
use crate::compression::Compression;
use crate::lab::Lab;
use crate::sample::Image;
use crate::web::Web;

/// A stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Reading the artifact from the cache.
    Read(Compression),
    /// Reading the artifact from nginx, over TLS.
    Receive(Compression),
    /// Reading and decompressing the payload of the artifact.
    Decode(Compression),
    /// SHA-256 of the image.
    Hash,
    /// Writing the image to the slot, past the cache, with one flush.
    Write,
}

/// What a stage took alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alone {
    /// Which.
    pub(crate) stage: Stage,
    /// In which round.
    pub(crate) round: usize,
    /// Seconds.
    pub(crate) wall: f64,
}

/// How much is read, hashed or written at a time, as in the agent; a multiple of what O_DIRECT
/// asks for.
const PIECE: usize = 512 << 10;
/// What O_DIRECT asks of addresses.
const ALIGNMENT: usize = 4096;

impl Stage {
    /// Whether an installation has this stage.
    pub(crate) fn belongs_to(self, case: Case) -> bool {
        match self {
            Stage::Read(of) => case.source == Source::File && of == case.compression,
            Stage::Receive(of) => case.source == Source::Tls && of == case.compression,
            Stage::Decode(of) => of == case.compression,
            Stage::Hash | Stage::Write => true,
        }
    }

    /// Those that any of `cases` has.
    pub(crate) fn all(cases: &[Case]) -> Vec<Stage> {
        let mut all = vec![Stage::Hash, Stage::Write];
        for case in cases {
            let fetch = match case.source {
                Source::File => Stage::Read(case.compression),
                Source::Tls => Stage::Receive(case.compression),
            };
            for stage in [fetch, Stage::Decode(case.compression)] {
                if !all.contains(&stage) {
                    all.push(stage);
                }
            }
        }
        all
    }

    /// Does it once. The artifact is in the cache.
    pub(crate) fn alone(
        self,
        lab: &Lab,
        image: &Image,
        artifact: &Path,
        round: usize,
    ) -> Result<Alone> {
        if self == Stage::Write {
            lab.slot.fill(lab.interrupt)?;
        }
        let begun = Instant::now();
        match self {
            Stage::Read(_) => drain(&mut File::open(artifact)?, |_| {}),
            Stage::Receive(_) => receive(&lab.web, artifact),
            Stage::Decode(_) => decode(artifact),
            Stage::Hash => hash(&image.path),
            Stage::Write => write(&image.path, lab.slot.device().path()),
        }
        .with_context(|| format!("cannot measure a stage alone: {self:?}"))?;
        let wall = begun.elapsed().as_secs_f64();
        lab.interrupt.check()?;
        Ok(Alone {
            stage: self,
            round,
            wall,
        })
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stage::Read(compression) => write!(f, "read the artifact ({compression})"),
            Stage::Receive(compression) => {
                write!(f, "receive the artifact over TLS ({compression})")
            }
            Stage::Decode(compression) => write!(f, "read and decode ({compression})"),
            Stage::Hash => write!(f, "SHA-256 of the image"),
            Stage::Write => write!(f, "write the image past the cache, one flush"),
        }
    }
}

/// Reads `source` to its end, in pieces.
fn drain(source: &mut impl Read, mut look: impl FnMut(&[u8])) -> Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match source.read(&mut piece)? {
            0 => return Ok(()),
            count => look(piece.get(..count).unwrap_or_default()),
        }
    }
}

fn hash(image: &Path) -> Result<()> {
    let mut sum = Sha256::new();
    drain(&mut File::open(image)?, |bytes| sum.update(bytes))?;
    // So that it cannot be left out.
    std::hint::black_box(sum.finish());
    Ok(())
}

fn decode(artifact: &Path) -> Result<()> {
    let source = io::BufReader::with_capacity(64 << 10, File::open(artifact)?);
    let mut artifact = Artifact::open(source, &Verification::off())?;
    let payload = artifact.next_file()?.context("it has no payload")?;
    // What is checked is the caller's business, and here nobody's.
    let (mut bytes, _) = payload.detach_check()?;
    drain(&mut bytes, |_| {})
}

fn write(image: &Path, slot: &Path) -> Result<()> {
    let mut memory = vec![0; PIECE.saturating_add(ALIGNMENT)];
    let start = memory.as_ptr().align_offset(ALIGNMENT);
    let end = start.saturating_add(PIECE);
    let piece = memory.get_mut(start..end).context("no room")?;
    let mut image = File::open(image)?;
    let slot = OpenOptions::new()
        .write(true)
        .custom_flags(OFlag::O_DIRECT.bits())
        .open(slot)?;
    let mut offset: u64 = 0;
    loop {
        // An image has whole pieces.
        let count = image.read(piece)?;
        if count == 0 {
            slot.sync_all()?;
            return Ok(());
        }
        slot.write_all_at(piece.get(..count).unwrap_or_default(), offset)?;
        offset = offset.saturating_add(count as u64);
    }
}

/// One request, by hand.
fn receive(web: &Web, artifact: &Path) -> Result<()> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(&web.certificate)?;
    roots.add(certificate)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost")?;
    let connection = ClientConnection::new(Arc::new(client), name)?;
    let socket = TcpStream::connect(("127.0.0.1", web.port()))?;
    let mut stream = StreamOwned::new(connection, socket);
    let file = artifact.file_name().context("an artifact has a name")?;
    let file = file.to_string_lossy();
    write!(stream, "GET /{file} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut received: u64 = 0;
    drain(&mut stream, |bytes| {
        received = received.saturating_add(bytes.len() as u64);
    })?;
    let size = artifact.metadata()?.len();
    ensure!(received > size, "{received} bytes came, of {size}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_has_the_stages_of_its_way_and_what_is_common_is_done_once() {
        let case = |compression, source| Case {
            compression,
            source,
        };
        let cases = [
            case(Compression::Gzip, Source::File),
            case(Compression::Gzip, Source::Tls),
        ];
        let all = Stage::all(&cases);
        assert_eq!(
            all,
            [
                Stage::Hash,
                Stage::Write,
                Stage::Read(Compression::Gzip),
                Stage::Decode(Compression::Gzip),
                Stage::Receive(Compression::Gzip),
            ]
        );
        let of = |case| all.iter().filter(|stage| stage.belongs_to(case)).count();
        assert_eq!(cases.map(of), [4, 4]);
        assert_eq!(of(case(Compression::Zstd, Source::File)), 2);
    }
}
