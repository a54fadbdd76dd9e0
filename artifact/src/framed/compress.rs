//! Frames, each compressed for itself, so that it does not matter how many threads do it.

use std::io::{self, Read, Seek};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

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

/// What becomes one frame.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    /// How many blocks or chunks.
    pub(super) units: u16,
    /// How many bytes they have.
    pub(super) size: u32,
    /// Whether it has to be compressed.
    pub(super) wanted: bool,
}

/// Compresses `content` in frames that end at these cuts, and gives those that are wanted to `sink`, in order; the others
/// come as `None`.
pub(super) fn frames<R: Read + Seek>(
    content: &mut Content<R>,
    cuts: &[Cut],
    level: i32,
    mut sink: impl FnMut(Cut, Option<&[u8]>) -> io::Result<()>,
) -> Result<(), Error> {
    let mut frames = cuts.iter().copied();
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
    cut: Cut,
    left: usize,
    content: Vec<u8>,
}

impl Piece {
    fn new(cut: Cut) -> Self {
        Self {
            cut,
            left: usize::try_from(cut.size).unwrap_or(usize::MAX),
            content: Vec::new(),
        }
    }

    /// Takes what belongs to this frame; the rest.
    fn take<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (mine, rest) = bytes.split_at(self.left.min(bytes.len()));
        self.left = self.left.saturating_sub(mine.len());
        if self.cut.wanted {
            self.content.extend_from_slice(mine);
        }
        rest
    }
}

fn flush(
    batch: &[Piece],
    level: i32,
    sink: &mut impl FnMut(Cut, Option<&[u8]>) -> io::Result<()>,
) -> io::Result<()> {
    let compressed = all(batch, level)?;
    for (piece, bytes) in batch.iter().zip(compressed) {
        sink(piece.cut, piece.cut.wanted.then_some(&bytes))?;
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
            if piece.cut.wanted {
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
