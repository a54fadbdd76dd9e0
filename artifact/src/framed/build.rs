//! Making a framed payload: cut, compress, describe.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::bits::Bits;
use super::block::Fingerprint;
use super::compress::{Cut, compress};
use super::cost::Cost;
use super::cut::{self, UNIFORM};
use super::image::{self, Image, Parts};
use super::opening::{SKIPPABLE, SectionAt};
use super::prints::{Prints, Width};
use super::section::{Blocks, Chunks, Division, Frame, MAX_BLOCKS, MAX_CHUNKS, MAX_DATA, Section};
use super::units::Units;
use crate::compression::{Compression, Compressor};
use crate::content::Content;
use crate::digest::Digest;
use crate::error::Error;
use crate::name::FileName;
use crate::tar_write;

/// What devices are expected to have: the blocks and the chunks of an earlier image.
#[derive(Debug, Clone)]
pub struct Hint {
    /// In ascending order, each once.
    pub(super) blocks: Vec<Fingerprint>,
    /// The same.
    pub(super) chunks: Vec<Fingerprint>,
}

impl Hint {
    /// Reads all of the image `source`.
    ///
    /// # Errors
    /// Those of reading.
    pub fn read(source: impl Read) -> io::Result<Self> {
        let (blocks, chunks) = image::prints(source)?;
        let set = |mut prints: Vec<Fingerprint>| {
            prints.sort_unstable();
            prints.dedup();
            prints
        };
        Ok(Self {
            blocks: set(blocks),
            chunks: set(chunks),
        })
    }

    fn prints(&self, units: &Units) -> &[Fingerprint] {
        match units.are_chunks() {
            true => &self.chunks,
            false => &self.blocks,
        }
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

/// How an image is divided for the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Index {
    /// As the hint says: in the way in which it has more of the image. Without one, chunks for file systems that pack
    /// their files, which is what squashfs does.
    #[default]
    Auto,
    /// Blocks of one size.
    Fixed,
    /// Chunks that end where their content says.
    Content,
}

impl Index {
    /// All, by their names on a command line.
    pub const ALL: [(&'static str, Self); 3] = [
        ("auto", Self::Auto),
        ("fixed", Self::Fixed),
        ("content", Self::Content),
    ];

    fn units<'i>(self, image: &'i Parts, hint: Option<&Hint>) -> &'i Units {
        let missing =
            |units: &Units| hint.map(|hint| units.size_of(&units.missing(hint.prints(units))));
        let content = match self {
            Self::Fixed => false,
            Self::Content => true,
            Self::Auto => match (missing(&image.blocks), missing(&image.chunks)) {
                // Blocks where it is about the same: they are found with less work, and written once.
                (Some(blocks), Some(chunks)) => chunks < blocks.saturating_sub(blocks / 4),
                _ => image.is_packed,
            },
        };
        match content {
            true => &image.chunks,
            false => &image.blocks,
        }
    }
}

/// How frames are made.
#[derive(Debug, Clone, Copy)]
pub struct Layout<'a> {
    /// The level of compression; one of zstd's.
    pub compressor: Compressor,
    /// What devices are expected to have.
    pub hint: Option<&'a Hint>,
    /// How the image is divided.
    pub index: Index,
    /// The size of frames without a hint, bytes.
    pub uniform: u32,
}

impl Default for Layout<'_> {
    fn default() -> Self {
        Self {
            compressor: Compressor::ZstdBest,
            hint: None,
            index: Index::Auto,
            uniform: UNIFORM,
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
        let Image { content, parts } = &mut image;
        let units = self.index.units(parts, self.hint);
        let known = self.hint.map_or(&[][..], |hint| hint.prints(units));
        let mut work = Work {
            content,
            units,
            width: Width::for_image(&units.prints, known),
            level: self.compressor.zstd_level(),
        };
        // What is packed is compressed already: smaller frames cost it nothing.
        let size = match units.are_chunks() {
            true => self.uniform / 2,
            false => self.uniform,
        };
        let uniform = cut::uniform(units, size);
        let mut missing = self.hint.map(|hint| (hint, units.missing(known)));
        let mut used = HintUse::None;
        match missing.as_ref().map(|(_, bits)| bits) {
            Some(bits) if most(bits, units) => (missing, used) = (None, HintUse::TooFar),
            // Whoever has the hint has all of it; the others are better off without.
            Some(bits) if bits.count() == 0 => (missing, used) = (None, HintUse::NoHelp),
            Some(_) | None => {}
        }
        let sections = match missing {
            None => work.sections(&uniform, None, &mut frames)?,
            Some((hint, missing)) => {
                let cuts = cut::at_changes(units, &missing);
                let hinted = work.sections(&cuts, None, &mut frames)?;
                // Only what would be fetched has to be compressed for the comparison.
                let plain = work.sections(&uniform, Some(&missing), &mut io::sink())?;
                if Cost::of(&hinted, hint).bytes() < Cost::of(&plain, hint).bytes() {
                    used = HintUse::Followed;
                    hinted
                } else {
                    used = HintUse::NoHelp;
                    frames.seek(SeekFrom::Start(0)).map_err(Error::Sink)?;
                    work.sections(&uniform, None, &mut frames)?
                }
            }
        };
        let level = work.level;
        let content = &image.content;
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
}

/// An image that is being put into frames.
struct Work<'i, R> {
    content: &'i mut Content<R>,
    units: &'i Units,
    width: Width,
    level: i32,
}

impl<R: Read + Seek> Work<'_, R> {
    /// Writes frames of these numbers of units to `out`. With `only`, just those that have one of these units; the
    /// others are described as not compressed.
    fn sections(
        &mut self,
        cuts: &[u16],
        only: Option<&Bits>,
        out: &mut impl Write,
    ) -> Result<Vec<Section>, Error> {
        let mut place = 0_usize;
        let cuts: Vec<Cut> = cuts
            .iter()
            .map(|units| {
                let start = place;
                place = place.saturating_add(usize::from(*units));
                Cut {
                    units: *units,
                    size: u32::try_from(self.units.size(start..place)).unwrap_or(u32::MAX),
                    wanted: only.is_none_or(|only| (start..place).any(|unit| only.contains(unit))),
                }
            })
            .collect();
        let mut frames = Vec::with_capacity(cuts.len());
        super::compress::frames(self.content, &cuts, self.level, |cut, bytes| {
            let length = match bytes {
                Some(bytes) => {
                    out.write_all(bytes)?;
                    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
                }
                None => cut.size,
            };
            let units = cut.units;
            frames.push(Frame { units, length });
            Ok(())
        })?;
        let (size, sha256) = (self.content.size(), self.content.sha256());
        let limits = match self.units.are_chunks() {
            true => (MAX_CHUNKS, MAX_CHUNKS),
            false => (MAX_DATA, MAX_BLOCKS),
        };
        Ok(divide(
            self.units,
            (size, sha256),
            frames,
            self.width,
            limits,
        ))
    }
}

/// Whether most of the image is missing.
fn most(missing: &Bits, units: &Units) -> bool {
    let (missing, all) = (units.size_of(missing), units.size_of(&units.data));
    missing.saturating_mul(10) > all.saturating_mul(6)
}

/// The sections that describe these frames of an image, each with at most so many units that are not zero and so many in
/// all.
fn divide(
    units: &Units,
    (image_size, image_sha256): (u64, Digest),
    frames: Vec<Frame>,
    width: Width,
    (most_data, most_units): (usize, usize),
) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut frames = frames.into_iter().peekable();
    let mut first = 0_usize;
    while frames.peek().is_some() {
        let start = units.rank(first);
        let mut end = first;
        let mut members = Vec::new();
        while let Some(frame) = frames.next_if(|frame| {
            let next = end.saturating_add(frame.units.into());
            let data = units.rank(next).saturating_sub(start);
            let size = units.size(first..next);
            data <= most_data
                && next.saturating_sub(first) <= most_units
                && (!units.are_chunks() || size <= u32::MAX.into())
        }) {
            end = end.saturating_add(frame.units.into());
            members.push(frame);
        }
        sections.push(Section {
            image_size,
            image_sha256,
            frames: members,
            division: division(units, first, end, width),
            next: None,
        });
        first = end;
    }
    sections
}

/// The units of one section.
fn division(units: &Units, first: usize, end: usize, width: Width) -> Division {
    let (start, stop) = (units.rank(first), units.rank(end));
    let prints = units.prints.get(start..stop).unwrap_or_default();
    let mut prints = prints.iter().copied();
    if !units.are_chunks() {
        let mut data = Bits::new(end.saturating_sub(first));
        for place in (first..end).filter(|place| units.data.contains(*place)) {
            data.insert(place.saturating_sub(first));
        }
        return Division::Blocks(Blocks::new(first as u64, data, Prints::new(prints, width)));
    }
    let prints: Vec<_> = (first..end)
        .map(|place| match units.data.contains(place) {
            true => prints.next().unwrap_or(Fingerprint::ZEROS),
            false => Fingerprint::ZEROS,
        })
        .collect();
    let at = units.size(0..first);
    let lengths = (first..end).map(|place| units.length(place));
    Division::Chunks(Chunks::new(at, lengths, Prints::new(prints, width)))
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
    use std::ops::Range;

    use super::*;
    use crate::framed::BLOCK;
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
                units: 4,
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
            let width = Width::new(6).unwrap();
            let sums = (image.size(), image.sha256());
            let units = &image.parts.blocks;
            let sections = linked(divide(units, sums, frames.clone(), width, limits));
            let found: Vec<_> = sections.iter().map(Section::range).collect();
            let in_bytes = |blocks: &Range<u64>| blocks.start * 4096..blocks.end * 4096;
            assert_eq!(found, blocks.iter().map(in_bytes).collect::<Vec<_>>());
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
