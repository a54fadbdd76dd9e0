//! Aligned pieces of what is read from and written to devices.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// The unit of reading, comparing and writing. Below 256 KiB the system calls show; above 512 KiB
/// nothing is gained but memory lost.
pub(crate) const BLOCK: usize = 512 << 10;

/// What `O_DIRECT` asks of addresses, offsets and lengths, on every device in use.
pub(crate) const ALIGNMENT: usize = 4096;

/// One aligned piece.
#[derive(Debug)]
pub(crate) struct Block {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Block {
    /// Room for [`BLOCK`] bytes.
    pub(crate) fn new() -> Block {
        let memory = vec![0; BLOCK.saturating_add(ALIGNMENT)];
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Block {
            memory,
            start,
            len: 0,
        }
    }

    /// The bytes that it holds.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory
            .get(self.start..self.start.saturating_add(self.len))
            .unwrap_or_default()
    }

    /// How many bytes more it can hold.
    pub(crate) fn room(&self) -> usize {
        BLOCK.saturating_sub(self.len)
    }

    /// Holds nothing again.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Holds only the first `len` bytes of what it held.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Takes as much of `bytes` as there is room for.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(self.room());
        let (to, from) = (self.free(count), bytes.get(..count).unwrap_or_default());
        to.copy_from_slice(from);
        self.len = self.len.saturating_add(count);
    }

    /// Fills it from `source`, to the brim unless the source ends.
    ///
    /// # Errors
    /// Those of the source.
    pub(crate) fn fill(&mut self, source: &mut impl Read) -> io::Result<()> {
        self.len = 0;
        self.take(BLOCK, |room, _| source.read(room))
    }

    /// Appends `len` bytes of `file` from `offset` on, or as many as there are.
    ///
    /// # Errors
    /// Those of the file.
    pub(crate) fn read_at(&mut self, file: &File, offset: u64, len: usize) -> io::Result<()> {
        self.take(len, |room, taken| {
            file.read_at(room, offset.saturating_add(taken as u64))
        })
    }

    /// Appends up to `len` bytes, of which `read` gives the next.
    fn take(
        &mut self,
        len: usize,
        mut read: impl FnMut(&mut [u8], usize) -> io::Result<usize>,
    ) -> io::Result<()> {
        let mut taken: usize = 0;
        let len = len.min(self.room());
        while taken < len {
            match read(self.free(len.saturating_sub(taken)), taken) {
                Ok(0) => break,
                Ok(count) => {
                    taken = taken.saturating_add(count);
                    self.len = self.len.saturating_add(count);
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }

    /// The `count` bytes behind those that it holds.
    fn free(&mut self, count: usize) -> &mut [u8] {
        let start = self.start.saturating_add(self.len);
        let end = start.saturating_add(count);
        self.memory.get_mut(start..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_takes_what_it_has_room_for() {
        let mut block = Block::new();
        assert_eq!(block.bytes().as_ptr().align_offset(ALIGNMENT), 0);
        block.append(&[1; 10]);
        block.append(&[2; BLOCK]);
        assert_eq!((block.bytes().len(), block.room()), (BLOCK, 0));
        assert_eq!(block.bytes()[9..11], [1, 2]);
        block.truncate(5);
        block.append(&[3]);
        assert_eq!(block.bytes(), [1, 1, 1, 1, 1, 3]);
        block.fill(&mut &[7, 8][..]).unwrap();
        assert_eq!(block.bytes(), [7, 8]);
        block.clear();
        block.fill(&mut io::repeat(9)).unwrap();
        assert_eq!(block.bytes().len(), BLOCK);
    }
}
