//! Decompressing one frame.

use std::ops::Range;

use super::cut::MAX_FRAME;
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

    /// Decompresses `bytes`, which must be one frame of `size` bytes and nothing else.
    ///
    /// # Errors
    /// [`Error::Decompress`] or [`Error::Malformed`] if they are not.
    pub fn unpack(&mut self, bytes: &[u8], size: u64) -> Result<(), Error> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > MAX_SIZE {
            return Err(Error::malformed(NAME, "is larger than one may be"));
        }
        self.content.clear();
        if self.content.capacity() < size {
            // The old memory first: growing would hold both.
            self.content = Vec::new();
            self.content.reserve_exact(size);
        }
        self.decompressor
            .decompress_to_buffer(bytes, &mut self.content)
            .map_err(fault)?;
        if self.content.len() != size {
            return Err(Error::malformed(
                NAME,
                "does not hold as much as the index says",
            ));
        }
        Ok(())
    }

    /// These bytes of the frame.
    #[must_use]
    pub fn content(&self, bytes: Range<usize>) -> &[u8] {
        self.content.get(bytes).unwrap_or_default()
    }
}

const MAX_SIZE: usize = MAX_FRAME as usize;

const NAME: &str = "a frame of the payload";

fn fault(source: std::io::Error) -> Error {
    Error::Decompress {
        member: NAME.to_owned(),
        source,
    }
}
