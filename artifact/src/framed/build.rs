//! Making a framed payload: cut, compress, describe.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::bits::Bits;
use super::block::{BLOCK, Fingerprint};
use super::compress::compress;
use super::cut::{self, UNIFORM_BLOCKS};
use super::image::{self, Image};
use super::opening::{SKIPPABLE, SectionAt};
use super::plan::COALESCE;
use super::search::Search;
use super::section::{Frame, MAX_BLOCKS, MAX_DATA, Section};
use crate::compression::{Compression, Compressor};
use crate::digest::Digest;
use crate::error::Error;
use crate::name::FileName;
use crate::tar_write;

/// What devices are expected to have: the blocks of an earlier image.
#[derive(Debug, Clone)]
pub struct Hint {
    /// In ascending order, each once.
    prints: Vec<Fingerprint>,
}

impl Hint {
    /// Reads all of the image `source`.
    ///
    /// # Errors
    /// Those of reading.
    pub fn read(source: impl Read) -> io::Result<Self> {
        let mut prints: Vec<_> = image::prints(source)?.into_iter().flatten().collect();
        prints.sort_unstable();
        prints.dedup();
        Ok(Self { prints })
    }

    /// The blocks of `image` that are neither zero nor known.
    fn missing<R>(&self, image: &Image<R>) -> Bits {
        let mut missing = Bits::new(image.data.len());
        let places = (0..image.data.len()).filter(|place| image.data.contains(*place));
        for (place, print) in places.zip(&image.prints) {
            if self.prints.binary_search(print).is_err() {
                missing.insert(place);
            }
        }
        missing
    }
}

/// What became of a hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HintUse {
    /// There was none.
    None,
    /// Frames end where the hint ends.
    Followed,
    /// Most of the image is new to it.
    TooFar,
    /// A device that has exactly what the hint says fetches nothing anyway, or less from frames of one size.
    NoHelp,
}

/// What a device fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Bytes of frames.
    pub frames: u64,
    /// Bytes of the index.
    pub index: u64,
    /// Requests, the one for the artifact's header included.
    pub requests: u64,
}

impl Cost {
    /// What a request costs beside what it asks for, bytes: the heads of question and answer inside TLS.
    pub const REQUEST: u64 = 600;

    /// What a device fetches that has the blocks of `base`, and nothing else.
    #[must_use]
    pub fn of(sections: &[Section], base: &Hint) -> Self {
        let mut cost = Self {
            requests: 1,
            ..Self::default()
        };
        for section in sections {
            let mut search = Search::new(section);
            for print in &base.prints {
                search.running(0, *print);
            }
            let plan = search.plan();
            for run in plan.runs(section, COALESCE) {
                let bytes = run.bytes.end.saturating_sub(run.bytes.start);
                cost.frames = cost.frames.saturating_add(bytes);
                cost.requests = cost.requests.saturating_add(1);
            }
            cost.index = cost.index.saturating_add(section.to_bytes().len() as u64);
            cost.requests = cost.requests.saturating_add(1);
        }
        cost
    }

    /// All bytes, those around requests too.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let requests = self.requests.saturating_mul(Self::REQUEST);
        self.frames
            .saturating_add(self.index)
            .saturating_add(requests)
    }
}

/// How frames are made.
#[derive(Debug, Clone, Copy)]
pub struct Layout<'a> {
    /// The level of compression; one of zstd's.
    pub compressor: Compressor,
    /// What devices are expected to have.
    pub hint: Option<&'a Hint>,
    /// The size of frames without a hint, blocks.
    pub uniform: u16,
}

impl Default for Layout<'_> {
    fn default() -> Self {
        Self {
            compressor: Compressor::ZstdBest,
            hint: None,
            uniform: UNIFORM_BLOCKS,
        }
    }
}

/// A framed payload that is ready to be written. The same image, hint and level make the same bytes.
#[derive(Debug)]
pub struct Built<S> {
    name: FileName,
    sha256: Digest,
    /// The size of the payload archive, not compressed.
    unpacked: u64,
    /// The header of the image in the payload archive.
    head: Vec<u8>,
    sections: Vec<Section>,
    /// The end of the payload archive.
    tail: Vec<u8>,
    /// All frames, one after another.
    frames: S,
    hint: HintUse,
}

impl Layout<'_> {
    /// Makes the payload of `image`, with `frames` as the place to keep what is compressed.
    ///
    /// # Errors
    /// [`Error::Content`] or [`Error::Changed`] for the image, [`Error::Sink`] for `frames`, [`Error::Description`] if
    /// the compressor is not zstd.
    pub fn build<R: Read + Seek, S: Read + Write + Seek>(
        &self,
        mut image: Image<R>,
        mut frames: S,
    ) -> Result<Built<S>, Error> {
        if self.compressor.compression() != Compression::Zstd {
            return Err(Error::Description {
                rule: format!(
                    "framed payloads are compressed with zstd, not {}",
                    self.compressor
                ),
            });
        }
        let uniform = cut::uniform(&image.data, self.uniform);
        let mut missing = self.hint.map(|hint| (hint, hint.missing(&image)));
        let mut used = HintUse::None;
        match missing.as_ref().map(|(_, bits)| bits) {
            Some(bits) if most(bits, &image) => (missing, used) = (None, HintUse::TooFar),
            // Whoever has the hint has all of it; the others are better off without.
            Some(bits) if bits.count() == 0 => (missing, used) = (None, HintUse::NoHelp),
            Some(_) | None => {}
        }
        let sections = match missing {
            None => self.sections(&mut image, &uniform, None, &mut frames)?,
            Some((hint, missing)) => {
                let cuts = cut::at_changes(&missing);
                let hinted = self.sections(&mut image, &cuts, None, &mut frames)?;
                // Only what would be fetched has to be compressed for the comparison.
                let plain = self.sections(&mut image, &uniform, Some(&missing), &mut io::sink())?;
                if Cost::of(&hinted, hint).bytes() < Cost::of(&plain, hint).bytes() {
                    used = HintUse::Followed;
                    hinted
                } else {
                    used = HintUse::NoHelp;
                    frames.seek(SeekFrom::Start(0)).map_err(Error::Sink)?;
                    self.sections(&mut image, &uniform, None, &mut frames)?
                }
            }
        };
        let content = &image.content;
        let level = self.compressor.zstd_level();
        Ok(Built {
            name: content.name().clone(),
            sha256: content.sha256(),
            unpacked: content
                .member_size()
                .saturating_add(tar_write::END.len() as u64),
            head: compress(&content.header(), level).map_err(Error::Sink)?,
            sections: linked(sections),
            tail: compress(&tar_write::END, level).map_err(Error::Sink)?,
            frames,
            hint: used,
        })
    }

    /// Writes frames of these numbers of blocks to `out`. With `only`, just those that have one of these blocks; the
    /// others are described as not compressed.
    fn sections<R: Read + Seek>(
        &self,
        image: &mut Image<R>,
        cuts: &[u16],
        only: Option<&Bits>,
        out: &mut impl Write,
    ) -> Result<Vec<Section>, Error> {
        let mut place = 0_usize;
        let wanted: Vec<bool> = cuts
            .iter()
            .map(|blocks| {
                let start = place;
                place = place.saturating_add(usize::from(*blocks));
                only.is_none_or(|only| (start..place).any(|block| only.contains(block)))
            })
            .collect();
        let mut frames = Vec::with_capacity(cuts.len());
        let level = self.compressor.zstd_level();
        super::compress::frames(&mut image.content, cuts, &wanted, level, |blocks, bytes| {
            let raw = u32::from(blocks).saturating_mul(BLOCK as u32);
            let length = match bytes {
                Some(bytes) => {
                    out.write_all(bytes)?;
                    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
                }
                None => raw,
            };
            frames.push(Frame { blocks, length });
            Ok(())
        })?;
        Ok(divide(image, frames, (MAX_DATA, MAX_BLOCKS)))
    }
}

/// Whether most of what is in the image is missing.
fn most<R>(missing: &Bits, image: &Image<R>) -> bool {
    missing.count().saturating_mul(10) > image.prints.len().saturating_mul(6)
}

/// The sections that describe these frames of an image, each with at most so many blocks that are not zero and so many
/// in all.
fn divide<R: Read + Seek>(
    image: &Image<R>,
    frames: Vec<Frame>,
    (most_data, most_blocks): (usize, usize),
) -> Vec<Section> {
    let ranks = image.data.ranks();
    let mut sections = Vec::new();
    let mut frames = frames.into_iter().peekable();
    let mut first = 0_usize;
    while frames.peek().is_some() {
        let start = image.data.rank(&ranks, first);
        let mut end = first;
        let mut members = Vec::new();
        while let Some(frame) = frames.next_if(|frame| {
            let next = end.saturating_add(frame.blocks.into());
            let data = image.data.rank(&ranks, next).saturating_sub(start);
            data <= most_data && next.saturating_sub(first) <= most_blocks
        }) {
            end = end.saturating_add(frame.blocks.into());
            members.push(frame);
        }
        let mut data = Bits::new(end.saturating_sub(first));
        for place in first..end {
            if image.data.contains(place) {
                data.insert(place.saturating_sub(first));
            }
        }
        let prints = image.prints.iter().skip(start).take(data.count());
        sections.push(Section {
            image_size: image.size(),
            image_sha256: image.sha256(),
            first: first as u64,
            frames: members,
            ranks: data.ranks(),
            data,
            prints: prints.copied().collect(),
            next: None,
        });
        first = end;
    }
    sections
}

/// The same sections, each with the sum of the next.
fn linked(mut sections: Vec<Section>) -> Vec<Section> {
    let mut next = None;
    for section in sections.iter_mut().rev() {
        section.next = next;
        next = Some(Digest::of(&section.to_bytes()));
    }
    sections
}

impl<S> Built<S> {
    /// What became of the hint.
    #[must_use]
    pub fn hint(&self) -> HintUse {
        self.hint
    }

    /// The index.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The name and the sum of the image.
    pub(super) fn file(&self) -> (FileName, Digest) {
        (self.name.clone(), self.sha256)
    }

    /// The sum of the content of the first section.
    pub(super) fn index_sum(&self) -> Option<Digest> {
        self.sections
            .first()
            .map(|section| Digest::of(&section.to_bytes()))
    }

    /// How large the payload member becomes, bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        let sections = self.sections.iter().map(|section| {
            let index = (section.to_bytes().len() as u64).saturating_add(SectionAt::HEADER as u64);
            index.saturating_add(section.length())
        });
        let ends = (self.head.len() as u64).saturating_add(self.tail.len() as u64);
        sections.fold(ends, u64::saturating_add)
    }
}

impl<S: Read + Seek> Built<S> {
    /// Writes the payload member, its header and its padding included.
    pub(super) fn write(mut self, out: &mut impl Write) -> Result<(), Error> {
        let size = self.size();
        let name = format!("data/0000.tar{}", Compression::Zstd.suffix());
        let write = |out: &mut _, bytes: &[u8]| write_all(out, bytes);
        write(out, &tar_write::archive_header(&name, size, self.unpacked))?;
        write(out, &self.head)?;
        self.frames.seek(SeekFrom::Start(0)).map_err(Error::Sink)?;
        for section in &self.sections {
            let index = section.to_bytes();
            write(out, &SKIPPABLE)?;
            let length = u32::try_from(index.len()).unwrap_or(u32::MAX);
            write(out, &length.to_le_bytes())?;
            write(out, &index)?;
            let length = section.length();
            let copied = io::copy(&mut self.frames.by_ref().take(length), out);
            if copied.map_err(Error::Sink)? != length {
                return Err(Error::Sink(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        write(out, &self.tail)?;
        write(out, crate::tar_read::padding(size))
    }
}

fn write_all(out: &mut impl Write, bytes: &[u8]) -> Result<(), Error> {
    out.write_all(bytes).map_err(Error::Sink)
}

#[cfg(test)]
#[expect(
    clippy::single_range_in_vec_init,
    reason = "a list of ranges may have one"
)]
mod tests {
    use super::*;
    use crate::framed::section::Expected;

    #[test]
    fn large_images_have_several_sections_that_name_one_another() {
        let mut bytes = vec![0; 40 * BLOCK];
        for (place, byte) in bytes.iter_mut().enumerate() {
            let block = place / BLOCK;
            if !(10..20).contains(&block) {
                *byte = block.to_le_bytes()[0];
            }
        }
        let name = FileName::parse("image").unwrap();
        let image = Image::survey(name, io::Cursor::new(bytes)).unwrap();
        let frames = vec![
            Frame {
                blocks: 4,
                length: 100
            };
            10
        ];
        // Block 0 is zeros too.
        for (limits, blocks) in [
            ((100, 100), vec![0..40]),
            ((11, 100), vec![0..20, 20..28, 28..36, 36..40]),
            ((12, 100), vec![0..20, 20..32, 32..40]),
            ((100, 16), vec![0..16, 16..32, 32..40]),
        ] {
            let sections = linked(divide(&image, frames.clone(), limits));
            let found: Vec<_> = sections.iter().map(Section::blocks).collect();
            assert_eq!(found, blocks);
            let mut expected = Some(Expected {
                image_size: image.size(),
                image_sha256: image.sha256(),
                first: 0,
                sha256: None,
            });
            for section in &sections {
                let bytes = section.to_bytes();
                let length = bytes.len().try_into().unwrap();
                let read = Section::read(&*bytes, length, &expected.unwrap()).unwrap();
                assert_eq!(read, *section);
                expected = read.next();
                assert!(expected.as_ref().is_none_or(|next| next.sha256.is_some()));
            }
            assert!(expected.is_none());
        }
    }
}
