//! A source that returns one to seven bytes at a time, and sometimes an interruption.

use std::io::{self, Read};

pub(crate) struct ShortReads<'a> {
    bytes: &'a [u8],
    state: u64,
}

impl<'a> ShortReads<'a> {
    pub(crate) fn new(bytes: &'a [u8], seed: u64) -> Self {
        Self {
            bytes,
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        }
    }
}

impl Read for ShortReads<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // xorshift64
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        if self.state % 11 == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = usize::try_from(self.state % 7 + 1)
            .unwrap()
            .min(buffer.len())
            .min(self.bytes.len());
        let (now, later) = self.bytes.split_at(count);
        buffer[..count].copy_from_slice(now);
        self.bytes = later;
        Ok(count)
    }
}
