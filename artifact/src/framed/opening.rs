//! How a framed payload begins, so that it can be told from others.

use std::io::{Read, Seek, SeekFrom};

use super::meta_data;
use super::section::{Expected, MAGIC, Section};
use crate::digest::Digest;
use crate::error::Error;
use crate::header::Header;
use crate::manifest::Manifest;
use crate::name::FileName;
use crate::payload_file::PayloadFileInfo;
use crate::tar_read::TarReader;

/// How many bytes of the payload member have to be seen to tell, bytes: the header of the image in the payload archive,
/// compressed, and the beginning of the index.
pub(crate) const OPENING: usize = 1 << 10;

/// What the header of the image decompresses to at most, bytes: three blocks where its size needs an extended header.
const TAR_HEADER: usize = 4 << 10;

/// The skippable frame that a section is in: RFC 8878 section 3.1.2 leaves sixteen of these to users.
pub(super) const SKIPPABLE: [u8; 4] = 0x184d_2a5d_u32.to_le_bytes();

/// The header of a skippable frame, bytes.
const SKIPPABLE_HEADER: usize = 8;

/// A framed payload: what is in it and where its index is.
#[derive(Debug, Clone)]
pub struct Framed {
    /// The image.
    pub file: PayloadFileInfo,
    /// The first section of the index.
    pub index: SectionAt,
    /// The end of the payload member in the artifact, bytes.
    pub end: u64,
    /// What the signature says that the first section is.
    signed: Option<Digest>,
}

/// Where a section of the index is in the artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionAt {
    /// Where its content begins, bytes.
    pub at: u64,
    /// How long its content is, bytes.
    pub length: u32,
}

impl SectionAt {
    /// How long that is which stands in front of a section's content, bytes.
    pub const HEADER: usize = SKIPPABLE_HEADER;

    /// The section whose header, `bytes`, stands at `at`.
    ///
    /// # Errors
    /// [`Error::Malformed`] if there is none.
    pub fn new(at: u64, bytes: [u8; SKIPPABLE_HEADER]) -> Result<Self, Error> {
        let [m0, m1, m2, m3, l0, l1, l2, l3] = bytes;
        if [m0, m1, m2, m3] != SKIPPABLE {
            return Err(Error::malformed(
                "data/0000.tar.zst",
                "has no index where the index before says",
            ));
        }
        Ok(Self {
            at: at.saturating_add(bytes.len() as u64),
            length: u32::from_le_bytes([l0, l1, l2, l3]),
        })
    }

    /// Where the first frame of the section begins in the artifact, bytes.
    #[must_use]
    pub fn frames_at(&self) -> u64 {
        self.at.saturating_add(self.length.into())
    }

    /// Where the last one ends.
    ///
    /// # Errors
    /// [`Error::Malformed`] if that is not in the payload.
    pub fn frames_end(&self, section: &Section, framed: &Framed) -> Result<u64, Error> {
        let end = self.frames_at().saturating_add(section.length());
        if end > framed.end {
            return Err(Error::malformed(
                "the index of the payload",
                "has frames behind the end of the payload",
            ));
        }
        Ok(end)
    }
}

impl Framed {
    /// What the first section must say.
    #[must_use]
    pub fn expected(&self) -> Expected {
        Expected {
            image_size: self.file.size,
            image_sha256: self.file.sha256,
            first: 0,
            sha256: self.signed,
        }
    }

    /// Whether the signature of the artifact, if it has one, covers the index.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.signed.is_some()
    }
}

/// The framed payload whose member has `size` bytes from `at` on in the artifact and begins with `start`; `None` if it
/// is any other.
pub(crate) fn open(
    start: &[u8],
    at: u64,
    size: u64,
    (header, manifest): (&Header, &Manifest),
) -> Result<Option<Framed>, Error> {
    let Some((file, index)) = look(start, at, manifest) else {
        return Ok(None);
    };
    Ok(Some(Framed {
        file,
        index,
        end: at.saturating_add(size),
        signed: meta_data::index_sum(header)?,
    }))
}

fn look(start: &[u8], at: u64, manifest: &Manifest) -> Option<(PayloadFileInfo, SectionAt)> {
    let first = zstd::zstd_safe::find_frame_compressed_size(start).ok()?;
    let (first, rest) = start.split_at_checked(first)?;
    let (header, rest) = rest.split_first_chunk::<SKIPPABLE_HEADER>()?;
    if !rest.starts_with(MAGIC) {
        return None;
    }
    let index = SectionAt::new(at.saturating_add(first.len() as u64), *header).ok()?;
    let tar = zstd::bulk::decompress(first, TAR_HEADER).ok()?;
    let member = TarReader::new(&*tar, "data/0000.tar")
        .next_member()
        .ok()??;
    let name = FileName::parse(&member.name).ok()?;
    let sha256 = *manifest.files().get(&name)?;
    let size = member.size;
    Some((PayloadFileInfo { name, size, sha256 }, index))
}

/// All sections of the index, from an artifact at hand.
///
/// # Errors
/// Those of reading, and of each section that is not right.
pub fn sections(mut source: impl Read + Seek, framed: &Framed) -> Result<Vec<Section>, Error> {
    let mut sections = Vec::new();
    let (mut at, mut expected) = (framed.index, framed.expected());
    loop {
        source.seek(SeekFrom::Start(at.at)).map_err(Error::Source)?;
        let section = Section::read(&mut source, at.length, &expected)?;
        let end = at.frames_end(&section, framed)?;
        let next = section.next();
        sections.push(section);
        let Some(next) = next else {
            return Ok(sections);
        };
        let mut header = [0; SectionAt::HEADER];
        source.seek(SeekFrom::Start(end)).map_err(Error::Source)?;
        source.read_exact(&mut header).map_err(Error::Source)?;
        at = SectionAt::new(end, header)?;
        expected = next;
    }
}
