//! An image on its way to the device byte by byte. What is written are whole sectors.

use anyhow::Result;

use super::SMALL;
use crate::block::Block;
use crate::partition::Partition;

/// What devices are read and written in, bytes.
pub(super) const SECTOR: u64 = SMALL as u64;

/// The image as far as it has come.
pub(super) struct Stream<'a> {
    partition: &'a mut Partition,
    /// What is to be written, from a whole sector on.
    pending: Block,
    /// The byte with which it begins.
    at: u64,
    /// What comes behind it.
    ahead: Ahead,
}

/// What need not be written, up to this byte.
#[derive(Clone, Copy)]
enum Ahead {
    Nothing,
    /// It stands on the device.
    Kept(u64),
    Zeros(u64),
}

impl Stream<'_> {
    /// The image from byte `at` on, where a section begins. What is in the same sector before it is on the device.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub(super) fn new(partition: &mut Partition, at: u64) -> Result<Stream<'_>> {
        let start = at.saturating_sub(at % SECTOR);
        let mut stream = Stream {
            partition,
            pending: Block::new(),
            at: start,
            ahead: Ahead::Nothing,
        };
        stream.fill_up(at)?;
        Ok(stream)
    }

    /// The next byte.
    pub(super) fn place(&self) -> u64 {
        match self.ahead {
            Ahead::Nothing => self.end(),
            Ahead::Kept(end) | Ahead::Zeros(end) => end,
        }
    }

    /// Up to which byte everything is on the device after a flush.
    pub(super) fn written(&self) -> u64 {
        let place = self.place();
        place.saturating_sub(place % SECTOR)
    }

    /// Where `pending` ends.
    fn end(&self) -> u64 {
        self.at.saturating_add(self.pending.bytes().len() as u64)
    }

    /// The next bytes.
    ///
    /// # Errors
    /// When the device does not take them.
    pub(super) fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.settle()?;
        while !bytes.is_empty() {
            if self.pending.room() == 0 {
                self.write()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.pending.room()));
            self.pending.append(now);
            bytes = later;
        }
        Ok(())
    }

    /// The next `length` bytes stand on the device.
    ///
    /// # Errors
    /// When the device fails.
    pub(super) fn keep(&mut self, length: u64) -> Result<()> {
        if let Ahead::Zeros(_) = self.ahead {
            self.settle()?;
        }
        self.ahead = Ahead::Kept(self.place().saturating_add(length));
        Ok(())
    }

    /// The next `length` bytes are zeros.
    ///
    /// # Errors
    /// When the device fails.
    pub(super) fn zeros(&mut self, length: u64) -> Result<()> {
        if let Ahead::Kept(_) = self.ahead {
            self.settle()?;
        }
        self.ahead = Ahead::Zeros(self.place().saturating_add(length));
        Ok(())
    }

    /// Appends `len` bytes of what the device has at `offset` to `block`.
    ///
    /// # Errors
    /// When it does not give them.
    pub(super) fn read_into(&self, block: &mut Block, offset: u64, len: usize) -> Result<()> {
        self.partition.read_into(block, offset, len)
    }

    /// Writes all whole sectors.
    ///
    /// # Errors
    /// When the device does not take them.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.settle()?;
        self.write()
    }

    /// Writes everything; of the sector in which a section ends, the next one completes the rest.
    ///
    /// # Errors
    /// When the device does not take it.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.flush()?;
        let end = self.end();
        if end % SECTOR != 0 {
            self.fill_up(end.next_multiple_of(SECTOR))?;
            self.write()?;
        }
        Ok(())
    }

    /// What was fetched so far need not be fetched again after a power cut.
    ///
    /// # Errors
    /// When the device loses some of it.
    pub(super) fn checkpoint(&mut self) -> Result<()> {
        self.flush()?;
        self.partition.checkpoint()
    }

    /// Sees to what is ahead: only the sectors that it shares with others are written.
    fn settle(&mut self) -> Result<()> {
        let (end, is_kept) = match self.ahead {
            Ahead::Nothing => return Ok(()),
            Ahead::Kept(end) => (end, true),
            Ahead::Zeros(end) => (end, false),
        };
        self.ahead = Ahead::Nothing;
        let start = self.end();
        let first = start.next_multiple_of(SECTOR).min(end);
        let last = end.saturating_sub(end % SECTOR);
        self.edge(first, is_kept)?;
        if last > first {
            self.write()?;
            let len = last.saturating_sub(first);
            match is_kept {
                true => self.partition.leave(len),
                false => self.partition.put_zeros(first, len)?,
            }
            self.at = last;
        }
        self.edge(end, is_kept)
    }

    /// Completes `pending` to byte `end` of the image.
    fn edge(&mut self, end: u64, is_kept: bool) -> Result<()> {
        match is_kept {
            true => self.fill_up(end),
            false => {
                let len = usize::try_from(end.saturating_sub(self.end()))?;
                self.make_room()?;
                let zeros = [0; SMALL];
                self.pending.append(zeros.get(..len).unwrap_or_default());
                Ok(())
            }
        }
    }

    /// Completes `pending` to byte `end`, which is in its last sector or the end of it, with what the device has.
    fn fill_up(&mut self, end: u64) -> Result<()> {
        let start = self.end();
        if end <= start {
            return Ok(());
        }
        self.make_room()?;
        let sector = start.saturating_sub(start % SECTOR);
        let mut old = Block::new();
        self.partition.read_into(&mut old, sector, SMALL)?;
        let place = |byte: u64| usize::try_from(byte.saturating_sub(sector));
        let bytes = old.bytes().get(place(start)?..place(end)?);
        self.pending.append(bytes.unwrap_or_default());
        Ok(())
    }

    fn make_room(&mut self) -> Result<()> {
        match self.pending.room() < SMALL {
            true => self.write(),
            false => Ok(()),
        }
    }

    /// Writes the whole sectors of `pending`; the beginning of the next stays.
    fn write(&mut self) -> Result<()> {
        let len = self.pending.bytes().len();
        let whole = len.saturating_sub(len % SMALL);
        if whole == 0 {
            return Ok(());
        }
        let mut rest = [0; SMALL];
        let bytes = self.pending.bytes().get(whole..).unwrap_or_default();
        let count = bytes.len();
        for (to, from) in rest.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.pending.truncate(whole);
        self.partition.put(&self.pending, self.at)?;
        self.at = self.at.saturating_add(whole as u64);
        self.pending.clear();
        self.pending.append(rest.get(..count).unwrap_or_default());
        Ok(())
    }
}
