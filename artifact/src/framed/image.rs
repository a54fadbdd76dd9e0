//! An image on its way into a framed payload.

use std::io::{self, Read, Seek};

use super::block::{BLOCK, Fingerprint};
use super::chunk::{Chunk, Chunker};
use super::section::block_count;
use super::units::Units;
use crate::content::Content;
use crate::digest::Digest;
use crate::error::Error;
use crate::name::FileName;

/// An image, and what it consists of.
#[derive(Debug)]
pub struct Image<R> {
    pub(super) content: Content<R>,
    pub(super) parts: Parts,
}

/// What an image consists of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) blocks: Units,
    pub(super) chunks: Units,
    /// It is a file system that packs its files.
    pub(super) is_packed: bool,
}

impl<R: Read + Seek> Image<R> {
    /// Reads all of `source`.
    ///
    /// # Errors
    /// [`Error::Content`] if it cannot be read, [`Error::Description`] if it is not a whole number of blocks.
    pub fn survey(name: FileName, source: R) -> Result<Self, Error> {
        let mut survey = Survey::default();
        let content = Content::measure_with(name, source, |chunk| survey.take(chunk))?;
        if block_count(content.size()).is_none() || content.size() == 0 {
            return Err(Error::Description {
                rule: format!(
                    "an image of {} bytes cannot be framed, which is not a whole number of blocks of {BLOCK}: pad it with zeros",
                    content.size()
                ),
            });
        }
        let is_packed = survey.is_packed();
        let (blocks, chunks) = survey.end();
        let parts = Parts {
            blocks: Units::of_blocks(blocks),
            chunks: Units::of_chunks(&chunks),
            is_packed,
        };
        Ok(Self { content, parts })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &FileName {
        self.content.name()
    }

    /// Its size, bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.content.size()
    }

    /// Its sum.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        self.content.sha256()
    }
}

/// The fingerprints of all blocks and of all chunks of an image, but for zeros.
///
/// # Errors
/// Those of reading.
pub(super) fn prints(mut source: impl Read) -> io::Result<(Vec<Fingerprint>, Vec<Fingerprint>)> {
    let mut survey = Survey::default();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => survey.take(buffer.get(..count).unwrap_or_default()),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    let (blocks, chunks) = survey.end();
    Ok((
        blocks.into_iter().flatten().collect(),
        chunks.into_iter().filter_map(|chunk| chunk.print).collect(),
    ))
}

/// Bytes in pieces of any size, taken as blocks and as chunks.
#[derive(Default)]
struct Survey {
    /// The first bytes.
    start: Vec<u8>,
    blocks: Blocks,
    chunker: Chunker,
    chunks: Vec<Chunk>,
}

impl Survey {
    fn take(&mut self, bytes: &[u8]) {
        let missing = SQUASHFS.len().saturating_sub(self.start.len());
        self.start.extend(bytes.iter().take(missing));
        self.blocks.take(bytes);
        self.chunker.take(bytes, |chunk| self.chunks.push(chunk));
    }

    /// Whether it begins as a file system that packs its files without gaps.
    fn is_packed(&self) -> bool {
        self.start == SQUASHFS
    }

    fn end(mut self) -> (Vec<Option<Fingerprint>>, Vec<Chunk>) {
        self.chunks.extend(self.chunker.end());
        (self.blocks.end(), self.chunks)
    }
}

/// What a squashfs begins with.
const SQUASHFS: &[u8] = b"hsqs";

/// Bytes in pieces of any size, taken as blocks.
#[derive(Default)]
struct Blocks {
    /// The beginning of a block whose end has not come.
    partial: Vec<u8>,
    found: Vec<Option<Fingerprint>>,
}

impl Blocks {
    fn take(&mut self, mut bytes: &[u8]) {
        if !self.partial.is_empty() {
            let missing = BLOCK.saturating_sub(self.partial.len()).min(bytes.len());
            let (end, rest) = bytes.split_at(missing);
            self.partial.extend_from_slice(end);
            bytes = rest;
            if self.partial.len() < BLOCK {
                return;
            }
            self.found.push(Fingerprint::of(&self.partial));
            self.partial.clear();
        }
        let whole = bytes.chunks_exact(BLOCK);
        self.partial.extend_from_slice(whole.remainder());
        self.found.extend(whole.map(Fingerprint::of));
    }

    /// Everything, the last block filled up with zeros.
    fn end(mut self) -> Vec<Option<Fingerprint>> {
        if !self.partial.is_empty() {
            self.partial.resize(BLOCK, 0);
            self.found.push(Fingerprint::of(&self.partial));
        }
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_whatever_the_size_of_the_pieces() {
        let mut image = vec![0; 5 * BLOCK];
        for (place, byte) in image.iter_mut().enumerate().skip(BLOCK) {
            *byte = (place / BLOCK).to_le_bytes()[0];
        }
        let whole: Vec<_> = image.chunks(BLOCK).map(Fingerprint::of).collect();
        assert_eq!(whole[0], None);
        for size in [1, 7, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, image.len()] {
            let mut blocks = Blocks::default();
            image.chunks(size).for_each(|piece| blocks.take(piece));
            assert_eq!(blocks.end(), whole, "{size}");
        }
    }

    #[test]
    fn an_image_must_be_whole_blocks() {
        let name = FileName::parse("image").unwrap();
        for (size, good) in [(0, false), (1, false), (BLOCK, true), (BLOCK + 512, false)] {
            let image = Image::survey(name.clone(), io::Cursor::new(vec![1; size]));
            assert_eq!(image.is_ok(), good, "{size}");
        }
    }
}
