//! Reading a device from front to back: the next piece is on its way while one is looked at.

use std::fs::File;
use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::{Result, ensure};

use crate::block::{BLOCK, Block};
use crate::watchdog;

/// Gives the first `len` bytes of `file` to `look`, in pieces of [`BLOCK`] bytes.
///
/// # Errors
/// When it ends before that or cannot be read, and those of `look`.
pub(crate) fn read_ahead(
    file: &File,
    len: u64,
    mut look: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let (free, spare) = sync_channel(2);
    let (full, filled) = sync_channel(2);
    for _ in 0..2 {
        free.send(Block::new())?;
    }
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut offset: u64 = 0;
            while offset < len {
                let Ok(mut block) = spare.recv() else {
                    return;
                };
                block.clear();
                let read = block.read_at(file, offset, BLOCK).map(|()| block);
                offset = offset.saturating_add(BLOCK as u64);
                // Nobody takes it when what came before was enough.
                if full.send(read).is_err() {
                    return;
                }
            }
        });
        let mut left = len;
        for block in filled {
            watchdog::alive();
            let block = block?;
            // The last may have been read beyond the end.
            let bytes = block.bytes();
            let count = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
            look(bytes.get(..count).unwrap_or_default())?;
            left = left.saturating_sub(count as u64);
            if count < BLOCK {
                break;
            }
            // The reader is gone when it has read everything.
            let _ = free.send(block);
        }
        ensure!(left == 0, "it ends early");
        Ok(())
    })
}
