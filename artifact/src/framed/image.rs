//! An image on its way into a framed payload.

use std::io::{self, Read, Seek};

use super::bits::Bits;
use super::block::{BLOCK, Fingerprint};
use super::section::block_count;
use crate::content::Content;
use crate::digest::Digest;
use crate::error::Error;
use crate::name::FileName;

/// An image, and what its blocks are.
#[derive(Debug)]
pub struct Image<R> {
    pub(super) content: Content<R>,
    /// The blocks that are not zero.
    pub(super) data: Bits,
    /// Of those, in order.
    pub(super) prints: Vec<Fingerprint>,
}

impl<R: Read + Seek> Image<R> {
    /// Reads all of `source`.
    ///
    /// # Errors
    /// [`Error::Content`] if it cannot be read, [`Error::Description`] if it is not a whole number of blocks.
    pub fn survey(name: FileName, source: R) -> Result<Self, Error> {
        let mut blocks = Blocks::default();
        let content = Content::measure_with(name, source, |chunk| blocks.take(chunk))?;
        if block_count(content.size()).is_none() || content.size() == 0 {
            return Err(Error::Description {
                rule: format!(
                    "an image of {} bytes cannot be framed, which is not a whole number of blocks of {BLOCK}: pad it with zeros",
                    content.size()
                ),
            });
        }
        let mut data = Bits::new(blocks.found.len());
        for (place, print) in blocks.found.iter().enumerate() {
            if print.is_some() {
                data.insert(place);
            }
        }
        Ok(Self {
            content,
            data,
            prints: blocks.found.into_iter().flatten().collect(),
        })
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

/// The fingerprints of all blocks of an image, zeros as `None`.
///
/// # Errors
/// Those of reading.
pub(super) fn prints(mut source: impl Read) -> io::Result<Vec<Option<Fingerprint>>> {
    let mut blocks = Blocks::default();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(blocks.end()),
            Ok(count) => blocks.take(buffer.get(..count).unwrap_or_default()),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
}

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
