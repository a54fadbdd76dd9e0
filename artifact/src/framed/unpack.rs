//! Decompressing one frame.

use super::block::{BLOCK, Fingerprint};
use super::section::Frame;
use crate::error::Error;

/// Decompresses frames, one at a time, into memory that it keeps.
pub struct Unpacker {
    decompressor: zstd::bulk::Decompressor<'static>,
    content: Vec<u8>,
}

impl Unpacker {
    /// # Errors
    /// [`Error::Decompress`] if there is no memory.
    pub fn new() -> Result<Self, Error> {
        Ok(Self {
            decompressor: zstd::bulk::Decompressor::new().map_err(fault)?,
            content: Vec::new(),
        })
    }

    /// Decompresses `bytes`, which must be `frame` and nothing else.
    ///
    /// # Errors
    /// [`Error::Decompress`] or [`Error::Malformed`] if they are not.
    pub fn unpack(&mut self, bytes: &[u8], frame: Frame) -> Result<(), Error> {
        let size = usize::from(frame.blocks).saturating_mul(BLOCK);
        self.content.clear();
        self.content.reserve(size);
        self.decompressor
            .decompress_to_buffer(bytes, &mut self.content)
            .map_err(fault)?;
        if self.content.len() != size {
            return Err(Error::malformed(
                NAME,
                "does not hold as many blocks as the index says",
            ));
        }
        Ok(())
    }

    /// Block `number` of the frame.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is not what `print` tells.
    pub fn block(&self, number: usize, print: Fingerprint) -> Result<&[u8], Error> {
        self.content
            .chunks_exact(BLOCK)
            .nth(number)
            .filter(|block| Fingerprint::of(block) == Some(print))
            .ok_or_else(|| Error::malformed(NAME, "does not hold what the index says"))
    }
}

const NAME: &str = "a frame of the payload";

fn fault(source: std::io::Error) -> Error {
    Error::Decompress {
        member: NAME.to_owned(),
        source,
    }
}
