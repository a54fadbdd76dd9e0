//! Putting a section together that consists of chunks.

use anyhow::{Result, ensure};
use log::{debug, warn};
use tandem_artifact::framed::{Chunk, ChunkPlan, ChunkSearch, Chunker, Chunks};

use super::fetch::{Fetch, Fetched, Spot, spots};
use super::stream::{SECTOR, Stream};
use super::{Pass, SMALL, Work};
use crate::block::{BLOCK, Block};
use crate::partition::Partition;
use crate::progress::Progress;
use crate::seed::Seed;
use crate::stop::Stop;

/// Looks at what there is. What cannot be read is as if it were not there.
///
/// # Errors
/// When the program is asked to stop.
pub(super) fn look(work: &Work, chunks: &Chunks, partition: &Partition) -> Result<ChunkPlan> {
    let mut search = ChunkSearch::new(work.section, chunks);
    if let Some(seed) = work.running {
        // What runs may be longer than what is to come.
        let size = work.size.saturating_add(work.size / 8);
        let seen = scan(
            |look| seed.scan(size, look),
            work.stop,
            |at, chunk| {
                if let Some(print) = chunk.print {
                    search.running(at, print);
                }
            },
        );
        if let Err(err) = seen {
            ensure!(!work.stop.requested(), "interrupted");
            warn!("{err:#}; fetching what could have been found there");
        }
    }
    let seen = scan(
        |look| partition.scan(work.size, look),
        work.stop,
        |at, chunk| search.passive(at, chunk.length, chunk.print),
    );
    if let Err(err) = seen {
        ensure!(!work.stop.requested(), "interrupted");
        warn!("{err:#}; writing all of it");
    }
    Ok(search.plan())
}

/// Tells `each` where each chunk is of what `read` gives.
fn scan(
    read: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
    stop: &Stop,
    mut each: impl FnMut(u64, Chunk),
) -> Result<()> {
    let mut chunker = Chunker::new();
    let mut at: u64 = 0;
    let mut tell = |chunk: Chunk| {
        each(at, chunk);
        at = at.saturating_add(chunk.length.into());
    };
    read(&mut |bytes| {
        ensure!(!stop.requested(), "interrupted");
        chunker.take(bytes, &mut tell);
        Ok(())
    })?;
    if let Some(last) = chunker.end() {
        tell(last);
    }
    Ok(())
}

/// One walk over a section.
pub(super) struct Assembly<'a, 'p> {
    chunks: &'a Chunks,
    plan: &'a ChunkPlan,
    fetch: Fetch<'a, 'p>,
    running: Option<&'a Seed>,
    stream: Stream<'a>,
    /// What is copied.
    copied: Block,
    /// How many chunks may still turn out to have changed.
    late: u32,
}

impl<'a, 'p> Assembly<'a, 'p> {
    pub(super) fn new(
        chunks: &'a Chunks,
        plan: &'a ChunkPlan,
        fetch: Fetch<'a, 'p>,
        running: Option<&'a Seed>,
        stream: Stream<'a>,
        late: u32,
    ) -> Assembly<'a, 'p> {
        Assembly {
            chunks,
            plan,
            fetch,
            running,
            stream,
            copied: Block::new(),
            late,
        }
    }

    pub(super) fn run(mut self, work: &Work, progress: &mut Progress) -> Result<Pass> {
        for spot in spots(work.section) {
            ensure!(!work.stop.requested(), "interrupted");
            match self.frame(work, spot)? {
                Pass::Done => {}
                stopped @ (Pass::Stale | Pass::Whole(_)) => return Ok(stopped),
            }
            progress.at(self.stream.place());
        }
        self.stream.finish()?;
        Ok(Pass::Done)
    }

    /// Puts the chunks of one frame in place.
    fn frame(&mut self, work: &Work, spot: Spot) -> Result<Pass> {
        let mut in_hand = false;
        if self.plan.wanted().wants(spot.number) {
            if let Fetched::Whole(why) = self.fetch(spot)? {
                return Ok(Pass::Whole(why));
            }
            in_hand = true;
        }
        let end = spot.units().end;
        let mut chunk = spot.unit;
        while chunk < end {
            let length = work.section.size(chunk..chunk.saturating_add(1));
            if self.plan.is_right(chunk) {
                self.stream.keep(length)?;
                chunk = chunk.saturating_add(1);
                continue;
            }
            if self.chunks.print(chunk).is_none() {
                self.stream.zeros(length)?;
                chunk = chunk.saturating_add(1);
                continue;
            }
            if !in_hand {
                let copied = self.copy(chunk, end)?;
                chunk = chunk.saturating_add(copied);
                if copied > 0 {
                    continue;
                }
                // It has changed since it was looked at.
                debug!("chunk {chunk} is not what it was any more");
                self.late = self.late.saturating_sub(1);
                if self.late == 0 {
                    return Ok(Pass::Stale);
                }
                if let Fetched::Whole(why) = self.fetch(spot)? {
                    return Ok(Pass::Whole(why));
                }
                in_hand = true;
            }
            let at = usize::try_from(work.section.size(spot.unit..chunk))?;
            let bytes = at..at.saturating_add(usize::try_from(length)?);
            let bytes = self.fetch.content(bytes);
            if !self.chunks.is(chunk, bytes) {
                return Ok(Pass::not_what_it_says());
            }
            self.stream.append(bytes)?;
            chunk = chunk.saturating_add(1);
        }
        Ok(Pass::Done)
    }

    fn fetch(&mut self, spot: Spot) -> Result<Fetched> {
        if self.fetch.is_checkpoint() {
            self.stream.checkpoint()?;
        }
        self.fetch.frame(spot)
    }

    /// Copies `chunk` and as many after it before `end` as stand behind one another where they are; how many were what
    /// they had to be.
    fn copy(&mut self, chunk: usize, end: usize) -> Result<usize> {
        let place = self.plan.place(chunk);
        let (from, passive) = match (place.running_at(), place.passive_at()) {
            (Some(from), _) => (from, false),
            (_, Some(from)) => (from, true),
            (None, None) => return Ok(0),
        };
        if passive {
            // It may be among what is still to be written.
            self.stream.flush()?;
        }
        let (stop, count) = self.together(chunk..end, from, passive);
        // Devices are read in whole sectors.
        let start = from.saturating_sub(from % SECTOR);
        let len = usize::try_from(stop.saturating_sub(start))?.next_multiple_of(SMALL);
        self.copied.clear();
        let read = match (passive, self.running) {
            (true, _) => self.stream.read_into(&mut self.copied, start, len),
            (false, Some(seed)) => seed.read_into(&mut self.copied, start, len),
            (false, None) => Ok(()),
        };
        if let Err(err) = read {
            debug!("{err:#}");
        }
        let mut at = usize::try_from(from.saturating_sub(start))?;
        for number in chunk..chunk.saturating_add(count) {
            let next = at.saturating_add(self.length(number));
            let bytes = self.copied.bytes().get(at..next).unwrap_or_default();
            if !self.chunks.is(number, bytes) {
                return Ok(number.saturating_sub(chunk));
            }
            self.stream.append(bytes)?;
            at = next;
        }
        Ok(count)
    }

    /// Where those end of the chunks in `range` that stand behind one another from byte `from` on and can be read at
    /// once, and how many they are; at least one.
    fn together(&self, range: std::ops::Range<usize>, from: u64, passive: bool) -> (u64, usize) {
        // Beside the parts of sectors at both ends.
        const ROOM: u64 = (BLOCK - 2 * SMALL) as u64;
        let (mut end, mut count) = (from, 0_usize);
        for number in range {
            let next = end.saturating_add(self.length(number) as u64);
            let place = self.plan.place(number);
            let here = match passive {
                true => place.passive_at(),
                false => place.running_at(),
            };
            let is_next = here == Some(end)
                && !self.plan.is_right(number)
                && self.chunks.print(number).is_some()
                && next.saturating_sub(from) <= ROOM
                // Not what this very copy is going to write.
                && (!passive || next <= self.stream.written() || end >= self.stream.place());
            if count > 0 && !is_next {
                break;
            }
            (end, count) = (next, count.saturating_add(1));
        }
        (end, count)
    }

    fn length(&self, chunk: usize) -> usize {
        let place = self.chunks.place(chunk).unwrap_or_default();
        usize::try_from(place.end.saturating_sub(place.start)).unwrap_or(0)
    }
}
