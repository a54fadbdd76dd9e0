//! The bytes of a section on their way in and out.

use std::io::{self, Read};

use crate::digest::{Digest, Sha256};
use crate::error::Error;

pub(super) const NAME: &str = "the index of the payload";

pub(super) fn fault(rule: &str) -> Error {
    Error::malformed(NAME, rule)
}

/// The content of a section, summed up while it is read.
pub(super) struct Input<R: Read> {
    source: io::BufReader<io::Take<R>>,
    sum: Sha256,
    left: u32,
}

impl<R: Read> Input<R> {
    /// Content of `length` bytes; not one byte more is read.
    pub(super) fn new(source: R, length: u32) -> Self {
        Self {
            source: io::BufReader::with_capacity(16 << 10, source.take(length.into())),
            sum: Sha256::new(),
            left: length,
        }
    }

    /// The sum of all of it.
    ///
    /// # Errors
    /// If something is left.
    pub(super) fn end(self) -> Result<Digest, Error> {
        match self.left {
            0 => Ok(self.sum.finish()),
            _ => Err(fault("is longer than what it describes")),
        }
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.left = u32::try_from(bytes.len())
            .ok()
            .and_then(|count| self.left.checked_sub(count))
            .ok_or_else(|| fault("is shorter than what it describes"))?;
        self.source.read_exact(bytes).map_err(|err| {
            if err.kind() == io::ErrorKind::UnexpectedEof {
                Error::Truncated {
                    within: NAME.to_owned(),
                }
            } else {
                Error::from_read(err)
            }
        })?;
        self.sum.update(bytes);
        Ok(())
    }

    /// A number of 32 bits that is at most `most`.
    pub(super) fn count(&mut self, most: usize) -> Result<usize, Error> {
        usize::try_from(u32::from_le_bytes(self.bytes()?))
            .ok()
            .filter(|count| *count <= most)
            .ok_or_else(|| fault("says that there is more than can be"))
    }

    pub(super) fn varint(&mut self) -> Result<u32, Error> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.bytes()?;
            let bits = u32::from(byte & 0x7f);
            let shifted = bits << shift;
            // Nothing lost at the top, and no form longer than needed.
            if shifted >> shift != bits || (byte == 0 && shift != 0) {
                break;
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(fault("has a number that is not one"))
    }
}

pub(super) fn varint(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(0x80 | low_bits(value));
        value >>= 7;
    }
    bytes.push(low_bits(value));
}

fn low_bits(value: u32) -> u8 {
    u8::try_from(value & 0x7f).unwrap_or_default()
}
