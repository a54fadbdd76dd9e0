//! Writing an artifact: streaming, reproducible, without temporary files.
//!
//! The manifest stands before the payload that it sums up, so every payload file is read twice: once to be measured,
//! once to be written. What is written is a function of the draft, the files' names and bytes, the compressor and the
//! signature, and of nothing else.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::compression::{Compression, Compressor};
use crate::content::Content;
use crate::digest::Digest;
use crate::draft::Draft;
use crate::encode::Encoder;
use crate::error::Error;
use crate::header::Header;
use crate::header_read;
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::name::FileName;
use crate::order::check_file_count;
use crate::signer::Signer;
use crate::tar_read;
use crate::tar_write::{self, ARCHIVE_MODE};

/// The content of the member `version`.
const VERSION: &[u8] = br#"{"format":"mender","version":3}"#;

/// An artifact that is ready to be written.
#[derive(Debug)]
pub struct Writer<R> {
    header: Header,
    files: Vec<Content<R>>,
    compressor: Compressor,
    /// Everything before the payload member.
    front: Vec<u8>,
}

impl<R: Read + Seek> Writer<R> {
    /// Prepares the artifact that `draft` describes, with `files` in this order, signed if there is a `signer`.
    ///
    /// # Errors
    /// [`Error::Description`] if a rule is broken that a reader would enforce.
    pub fn new(
        draft: &Draft,
        files: Vec<Content<R>>,
        compressor: Compressor,
        signer: Option<&Signer>,
    ) -> Result<Self, Error> {
        let header = draft.header()?;
        let names: BTreeSet<_> = files.iter().map(Content::name).collect();
        if names.len() != files.len() {
            return Err(Error::Description {
                rule: "two payload files have the same name".to_owned(),
            });
        }
        check_file_count(header.payload_type(), files.len()).map_err(Error::into_description)?;

        let sums: Vec<_> = files
            .iter()
            .map(|file| (file.name().clone(), file.sha256()))
            .collect();
        let front = front(&header, &sums, compressor, signer)?;
        Ok(Self {
            header,
            files,
            compressor,
            front,
        })
    }

    /// What the artifact will say about itself.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Writes to an output that can go back to the header of the payload member once its size is known.
    ///
    /// # Errors
    /// [`Error::Sink`], [`Error::Content`], or [`Error::Changed`].
    pub fn write<W: Write + Seek>(mut self, out: &mut W) -> Result<(), Error> {
        out.write_all(&self.front).map_err(Error::Sink)?;
        let start = out.stream_position().map_err(Error::Sink)?;
        out.write_all(&self.payload_header(0))
            .map_err(Error::Sink)?;
        let size = self.write_payload(&mut *out)?;
        out.write_all(tar_read::padding(size))
            .map_err(Error::Sink)?;
        out.write_all(&tar_write::END).map_err(Error::Sink)?;
        let end = out.stream_position().map_err(Error::Sink)?;
        out.seek(SeekFrom::Start(start)).map_err(Error::Sink)?;
        out.write_all(&self.payload_header(size))
            .map_err(Error::Sink)?;
        out.seek(SeekFrom::Start(end)).map_err(Error::Sink)?;
        out.flush().map_err(Error::Sink)
    }

    /// Writes to any output, the same bytes as [`write`](Self::write). A compressed payload is compressed twice: once
    /// for its size.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub fn write_stream<W: Write>(mut self, out: &mut W) -> Result<(), Error> {
        let size = match self.compressor.compression() {
            Compression::None => self.unpacked(),
            Compression::Gzip | Compression::Xz | Compression::Zstd => {
                self.write_payload(io::sink())?
            }
        };
        out.write_all(&self.front).map_err(Error::Sink)?;
        out.write_all(&self.payload_header(size))
            .map_err(Error::Sink)?;
        if self.write_payload(&mut *out)? != size {
            return Err(Error::Misuse {
                what: "the same payload was compressed to different sizes",
            });
        }
        out.write_all(tar_read::padding(size))
            .map_err(Error::Sink)?;
        out.write_all(&tar_write::END).map_err(Error::Sink)?;
        out.flush().map_err(Error::Sink)
    }

    fn payload_header(&self, size: u64) -> Vec<u8> {
        let name = format!("data/0000.tar{}", self.compressor.compression().suffix());
        tar_write::archive_header(&name, size, self.unpacked())
    }

    /// The size of the payload archive, not compressed.
    fn unpacked(&self) -> u64 {
        let sizes = self.files.iter().map(Content::member_size);
        sizes.fold(tar_write::END.len() as u64, u64::saturating_add)
    }

    /// Writes the content of the payload member; its size.
    fn write_payload(&mut self, out: impl Write) -> Result<u64, Error> {
        let counted = Counted { out, count: 0 };
        let mut encoder = Encoder::new(counted, self.compressor).map_err(Error::Sink)?;
        for file in &mut self.files {
            file.write(&mut encoder)?;
        }
        encoder.write_all(&tar_write::END).map_err(Error::Sink)?;
        encoder
            .finish()
            .map(|counted| counted.count)
            .map_err(Error::Sink)
    }
}

fn pack_header(header: &Header, compressor: Compressor) -> Result<Vec<u8>, Error> {
    let parts = header.parts();
    let mut tar = Vec::new();
    member(&mut tar, "header-info", &parts.header_info);
    for script in &parts.scripts {
        let name = format!("scripts/{}", script.name);
        member_with_mode(&mut tar, &name, &script.content, 0o755);
    }
    member(&mut tar, "headers/0000/type-info", &parts.type_info);
    if let Some(meta_data) = &parts.meta_data {
        member(&mut tar, "headers/0000/meta-data", meta_data);
    }
    tar.extend_from_slice(&tar_write::END);
    let mut encoder = Encoder::new(Vec::new(), compressor).map_err(Error::Sink)?;
    encoder.write_all(&tar).map_err(Error::Sink)?;
    encoder.finish().map_err(Error::Sink)
}

/// Everything before the payload member: version, manifest, perhaps a signature, header.
pub(crate) fn front(
    header: &Header,
    files: &[(FileName, Digest)],
    compressor: Compressor,
    signer: Option<&Signer>,
) -> Result<Vec<u8>, Error> {
    let header_name = format!("header.tar{}", compressor.compression().suffix());
    let packed = pack_header(header, compressor)?;
    // Whoever reads it will do the same; what they would refuse must not be written.
    header_read::unpack(
        &packed,
        compressor.compression(),
        &header_name,
        &Limits::default(),
    )
    .map_err(Error::into_description)?;

    let manifest = manifest(files, &header_name, &packed);
    Manifest::parse(&manifest).map_err(Error::into_description)?;
    if manifest.len() as u64 > Limits::default().manifest {
        return Err(Error::Description {
            rule: "too many payload files".to_owned(),
        });
    }

    let mut front = Vec::new();
    member(&mut front, "version", VERSION);
    member(&mut front, "manifest", &manifest);
    if let Some(signer) = signer {
        member(
            &mut front,
            "manifest.sig",
            signer.sign(&manifest)?.as_bytes(),
        );
    }
    member(&mut front, &header_name, &packed);
    Ok(front)
}

/// In the order of mender-artifact: files, header, version.
fn manifest(files: &[(FileName, Digest)], header_name: &str, packed: &[u8]) -> Vec<u8> {
    let mut text = String::new();
    for (name, sum) in files {
        text.push_str(&format!("{sum}  data/0000/{name}\n"));
    }
    text.push_str(&format!("{}  {header_name}\n", Digest::of(packed)));
    text.push_str(&format!("{}  version\n", Digest::of(VERSION)));
    text.into_bytes()
}

fn member(tar: &mut Vec<u8>, name: &str, content: &[u8]) {
    member_with_mode(tar, name, content, ARCHIVE_MODE);
}

fn member_with_mode(tar: &mut Vec<u8>, name: &str, content: &[u8], mode: u32) {
    let size = content.len() as u64;
    tar.extend_from_slice(&tar_write::header(name, size, mode));
    tar.extend_from_slice(content);
    tar.extend_from_slice(tar_read::padding(size));
}

/// Counts what goes through.
struct Counted<W> {
    out: W,
    count: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.count = self.count.saturating_add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
