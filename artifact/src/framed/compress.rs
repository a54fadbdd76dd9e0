//! Frames, each compressed for itself, so that it does not matter how many threads do it.

use std::io::{self, Read, Seek};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::block::BLOCK;
use crate::content::Content;
use crate::error::Error;

/// How much is read before it is compressed, bytes: enough for every thread.
const BATCH: usize = 32 << 20;

/// One frame with the size of its content and a checksum.
pub(super) fn compress(content: &[u8], level: i32) -> io::Result<Vec<u8>> {
    compressor(level)?.compress(content)
}

fn compressor(level: i32) -> io::Result<zstd::bulk::Compressor<'static>> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    compressor.include_checksum(true)?;
    compressor.include_contentsize(true)?;
    Ok(compressor)
}

/// Compresses `content` in frames of these numbers of blocks, and gives those that are `wanted` to `sink`, in order;
/// the others come as `None`.
pub(super) fn frames<R: Read + Seek>(
    content: &mut Content<R>,
    cuts: &[u16],
    wanted: &[bool],
    level: i32,
    mut sink: impl FnMut(u16, Option<&[u8]>) -> io::Result<()>,
) -> Result<(), Error> {
    let mut frames = cuts.iter().copied().zip(wanted.iter().copied());
    let mut batch = Vec::new();
    let mut held = 0_usize;
    let mut current: Option<Piece> = None;
    content.read_again(|mut bytes| {
        while !bytes.is_empty() {
            if current.is_none() {
                current = frames.next().map(Piece::new);
            }
            let Some(piece) = &mut current else {
                return Ok(());
            };
            bytes = piece.take(bytes);
            if piece.left == 0 {
                held = held.saturating_add(piece.content.len());
                batch.extend(current.take());
                if held >= BATCH {
                    flush(&batch, level, &mut sink)?;
                    batch.clear();
                    held = 0;
                }
            }
        }
        Ok(())
    })?;
    flush(&batch, level, &mut sink).map_err(Error::Sink)
}

/// The content of one frame, as far as it has come.
struct Piece {
    blocks: u16,
    wanted: bool,
    left: usize,
    content: Vec<u8>,
}

impl Piece {
    fn new((blocks, wanted): (u16, bool)) -> Self {
        Self {
            blocks,
            wanted,
            left: usize::from(blocks).saturating_mul(BLOCK),
            content: Vec::new(),
        }
    }

    /// Takes what belongs to this frame; the rest.
    fn take<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (mine, rest) = bytes.split_at(self.left.min(bytes.len()));
        self.left = self.left.saturating_sub(mine.len());
        if self.wanted {
            self.content.extend_from_slice(mine);
        }
        rest
    }
}

fn flush(
    batch: &[Piece],
    level: i32,
    sink: &mut impl FnMut(u16, Option<&[u8]>) -> io::Result<()>,
) -> io::Result<()> {
    let compressed = all(batch, level)?;
    for (piece, bytes) in batch.iter().zip(compressed) {
        sink(piece.blocks, piece.wanted.then_some(&bytes))?;
    }
    Ok(())
}

/// Every piece, compressed, on all processors.
fn all(batch: &[Piece], level: i32) -> io::Result<Vec<Vec<u8>>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut compressor = compressor(level)?;
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(piece) = batch.get(number) else {
                return Ok(done);
            };
            if piece.wanted {
                done.push((number, compressor.compress(&piece.content)?));
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let done: Vec<io::Result<Vec<_>>> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = vec![work()];
        done.extend(others.into_iter().map(|other| {
            other
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a thread that compresses has failed")))
        }));
        done
    });
    let mut compressed = vec![Vec::new(); batch.len()];
    for (number, bytes) in done
        .into_iter()
        .collect::<io::Result<Vec<_>>>()?
        .into_iter()
        .flatten()
    {
        if let Some(place) = compressed.get_mut(number) {
            *place = bytes;
        }
    }
    Ok(compressed)
}
