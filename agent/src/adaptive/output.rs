//! Blocks on their way to the device.

use std::ops::Range;

use anyhow::Result;

use super::SMALL;
use crate::block::Block;
use crate::partition::Partition;

/// What is to be written, gathered into large pieces.
pub(super) struct Output<'a> {
    pub(super) partition: &'a mut Partition,
    pub(super) pending: Block,
    /// The block with which `pending` begins.
    at: u64,
    /// Blocks that are to be zeros.
    zeros: Range<u64>,
}

impl Output<'_> {
    pub(super) fn new(partition: &mut Partition) -> Output<'_> {
        Output {
            partition,
            pending: Block::new(),
            at: 0,
            zeros: 0..0,
        }
    }

    /// Sees to it that what is appended next gets to `block`, and that there is room for it.
    pub(super) fn go_to(&mut self, block: u64) -> Result<()> {
        let next = self
            .at
            .saturating_add((self.pending.bytes().len() / SMALL) as u64);
        if block != next || self.pending.room() < SMALL {
            self.flush()?;
        }
        if self.pending.bytes().is_empty() {
            self.at = block;
        }
        Ok(())
    }

    pub(super) fn append(&mut self, block: u64, bytes: &[u8]) -> Result<()> {
        self.go_to(block)?;
        self.pending.append(bytes);
        Ok(())
    }

    pub(super) fn zero(&mut self, block: u64) -> Result<()> {
        if block != self.zeros.end {
            self.flush_zeros()?;
            self.zeros = block..block;
        }
        self.zeros.end = block.saturating_add(1);
        Ok(())
    }

    /// Writes what is pending.
    pub(super) fn flush(&mut self) -> Result<()> {
        if !self.pending.bytes().is_empty() {
            let offset = self.at.saturating_mul(SMALL as u64);
            self.partition.put(&self.pending, offset)?;
            self.at = self
                .at
                .saturating_add((self.pending.bytes().len() / SMALL) as u64);
            self.pending.clear();
        }
        Ok(())
    }

    pub(super) fn flush_zeros(&mut self) -> Result<()> {
        let count = self.zeros.end.saturating_sub(self.zeros.start);
        if count > 0 {
            let [offset, len] = [self.zeros.start, count].map(|n| n.saturating_mul(SMALL as u64));
            self.partition.put_zeros(offset, len)?;
        }
        self.zeros = 0..0;
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        self.flush()?;
        self.flush_zeros()
    }

    /// What was fetched so far need not be fetched again after a power cut.
    pub(super) fn checkpoint(&mut self) -> Result<()> {
        self.finish()?;
        self.partition.checkpoint()
    }
}
