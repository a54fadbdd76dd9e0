//! The byte pipeline: from the artifact into the passive root part, in constant memory.
//!
//! ```text
//! caller's thread                    hash            write
//! artifact -> decode -> block  ──┬─> SHA-256
//!                                └─────────────────> partition
//! ```
//!
//! The stages overlap where there is more than one processor; with one they take turns.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use tandem_artifact::{Check, Verified};

use crate::block::Block;
use crate::partition::Partition;
use crate::progress::Progress;
use crate::stop::Stop;

/// How many blocks are on their way at once: one being filled, one hashed, one written, one spare.
const BLOCKS: usize = 4;

/// Copies `payload` into `partition` and returns the proof that it was the right payload.
///
/// # Errors
/// When the artifact, the check or the device fails, or the program is asked to stop.
pub(crate) fn copy(
    payload: &mut impl Read,
    check: Check,
    partition: &mut Partition,
    progress: &mut Progress,
    stop: &Stop,
) -> Result<Verified> {
    match thread::available_parallelism().map_or(1, usize::from) {
        1 => in_turn(payload, check, partition, progress, stop),
        _ => overlapped(payload, check, partition, progress, stop),
    }
}

/// All stages on the caller's thread.
fn in_turn(
    payload: &mut impl Read,
    mut check: Check,
    partition: &mut Partition,
    progress: &mut Progress,
    stop: &Stop,
) -> Result<Verified> {
    let mut block = Block::new();
    let mut offset: u64 = 0;
    loop {
        ensure!(!stop.requested(), "interrupted");
        block.fill(payload).context("cannot read the payload")?;
        if block.bytes().is_empty() {
            return Ok(check.finish()?);
        }
        check.update(block.bytes());
        partition.write(&block, offset)?;
        offset = offset.saturating_add(block.bytes().len() as u64);
        progress.at(offset);
    }
}

/// Hashing and writing on threads of their own.
fn overlapped(
    payload: &mut impl Read,
    mut check: Check,
    partition: &mut Partition,
    progress: &mut Progress,
    stop: &Stop,
) -> Result<Verified> {
    let (free, spare) = channel::<Block>();
    for _ in 0..BLOCKS {
        free.send(Block::new())?;
    }
    let (to_hash, hash) = sync_channel::<Arc<Block>>(BLOCKS);
    let (to_write, write) = sync_channel::<Arc<Block>>(BLOCKS);
    let device_failed = &AtomicBool::new(false);
    thread::scope(|scope| {
        let recycle = free.clone();
        let hasher = scope.spawn(move || {
            for block in hash {
                check.update(block.bytes());
                give_back(block, &recycle);
            }
            check.finish()
        });
        let writer = scope.spawn(move || {
            let mut written = Ok(());
            let mut offset: u64 = 0;
            for block in write {
                // After a failure blocks still go round, so that nobody waits for one in vain.
                if written.is_ok() {
                    written = partition.write(&block, offset);
                    offset = offset.saturating_add(block.bytes().len() as u64);
                    device_failed.store(written.is_err(), Ordering::Relaxed);
                }
                give_back(block, &free);
            }
            written
        });
        let read = read_all(payload, &spare, [to_hash, to_write], progress, || {
            stop.requested() || device_failed.load(Ordering::Relaxed)
        });
        let written = writer
            .join()
            .map_err(|_| anyhow!("the writing stage was not finished"))?;
        let hashed = hasher
            .join()
            .map_err(|_| anyhow!("the hashing stage was not finished"))?;
        // A device that failed is the reason why reading stopped.
        written?;
        read?;
        Ok(hashed?)
    })
}

/// Reads blocks and passes each to every stage, until the payload ends or `interrupted`.
fn read_all(
    payload: &mut impl Read,
    spare: &Receiver<Block>,
    [to_hash, to_write]: [SyncSender<Arc<Block>>; 2],
    progress: &mut Progress,
    interrupted: impl Fn() -> bool,
) -> Result<()> {
    let mut offset: u64 = 0;
    loop {
        ensure!(!interrupted(), "interrupted");
        let mut block = spare.recv()?;
        block.fill(payload).context("cannot read the payload")?;
        if block.bytes().is_empty() {
            return Ok(());
        }
        offset = offset.saturating_add(block.bytes().len() as u64);
        let block = Arc::new(block);
        to_hash.send(Arc::clone(&block))?;
        // Not a clone: who holds the last one gives the block back, and that must be a stage.
        to_write.send(block)?;
        progress.at(offset);
    }
}

/// Returns a block for its next use when this stage is the last that holds it.
fn give_back(block: Arc<Block>, free: &Sender<Block>) {
    if let Some(block) = Arc::into_inner(block) {
        // Nobody waits for it any more when the payload has ended.
        let _ = free.send(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BLOCK;

    /// The stages do nothing but give back, and so are always done with a block before the reader
    /// is. The reader has a block for every piece, so that a loss fails the test, not hangs it.
    #[test]
    fn every_block_comes_back() {
        const PIECES: u64 = 128;
        let (free, spare) = channel();
        for _ in 0..=PIECES {
            free.send(Block::new()).unwrap();
        }
        let mut payload = std::io::repeat(0).take(PIECES * BLOCK as u64);
        thread::scope(|scope| {
            let stages = [(); 2].map(|()| {
                let (to_stage, blocks) = sync_channel::<Arc<Block>>(BLOCKS);
                let free = free.clone();
                scope.spawn(move || blocks.iter().for_each(|block| give_back(block, &free)));
                to_stage
            });
            let mut progress = Progress::new("reading", 0);
            read_all(&mut payload, &spare, stages, &mut progress, || false).unwrap();
        });
        assert_eq!(spare.try_iter().count() as u64, PIECES);
    }
}
