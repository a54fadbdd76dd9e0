//! Putting a section together that consists of blocks.

use anyhow::{Result, ensure};
use log::{debug, warn};
use tandem_artifact::framed::{Blocks, Fingerprint, Plan, Search};

use super::fetch::{Fetch, Fetched, Spot, spots};
use super::output::Output;
use super::{Pass, SMALL, Work};
use crate::partition::Partition;
use crate::progress::Progress;
use crate::seed::Seed;
use crate::stop::Stop;

/// Looks at what there is. What cannot be read is as if it were not there.
///
/// # Errors
/// When the program is asked to stop.
pub(super) fn look(work: &Work, blocks: &Blocks, partition: &Partition) -> Result<Plan> {
    let mut search = Search::new(work.section, blocks);
    if let Some(seed) = work.running {
        let seen = seed.scan(
            work.size,
            each(work.stop, |block, print| {
                if let Some(print) = print {
                    search.running(block, print);
                }
            }),
        );
        if let Err(err) = seen {
            ensure!(!work.stop.requested(), "interrupted");
            warn!("{err:#}; fetching what could have been found there");
        }
    }
    let seen = partition.scan(
        work.size,
        each(work.stop, |block, print| search.passive(block, print)),
    );
    if let Err(err) = seen {
        ensure!(!work.stop.requested(), "interrupted");
        warn!("{err:#}; writing all of it");
    }
    Ok(search.plan())
}

/// Tells `each` the number and the fingerprint of each block.
fn each(
    stop: &Stop,
    mut each: impl FnMut(u32, Option<Fingerprint>),
) -> impl FnMut(&[u8]) -> Result<()> {
    let mut number: u32 = 0;
    move |bytes| {
        ensure!(!stop.requested(), "interrupted");
        for block in bytes.chunks_exact(SMALL) {
            each(number, Fingerprint::of(block));
            number = number.saturating_add(1);
        }
        Ok(())
    }
}

/// One walk over a section.
pub(super) struct Assembly<'a, 'p> {
    blocks: &'a Blocks,
    plan: &'a Plan,
    fetch: Fetch<'a, 'p>,
    running: Option<&'a Seed>,
    output: Output<'a>,
    /// How many blocks may still turn out to have changed.
    late: u32,
}

impl<'a, 'p> Assembly<'a, 'p> {
    pub(super) fn new(
        blocks: &'a Blocks,
        plan: &'a Plan,
        fetch: Fetch<'a, 'p>,
        running: Option<&'a Seed>,
        partition: &'a mut Partition,
        late: u32,
    ) -> Assembly<'a, 'p> {
        Assembly {
            blocks,
            plan,
            fetch,
            running,
            output: Output::new(partition),
            late,
        }
    }

    pub(super) fn run(mut self, work: &Work, progress: &mut Progress) -> Result<Pass> {
        for spot in spots(work.section) {
            ensure!(!work.stop.requested(), "interrupted");
            match self.frame(spot)? {
                Pass::Done => {}
                stopped @ (Pass::Stale | Pass::Whole(_)) => return Ok(stopped),
            }
            let end = self.number(spot.units().end);
            progress.at(end.saturating_mul(SMALL as u64));
        }
        self.output.finish()?;
        Ok(Pass::Done)
    }

    /// The number in the image of a block of the section.
    fn number(&self, unit: usize) -> u64 {
        self.blocks.range().start.saturating_add(unit as u64)
    }

    /// Puts the blocks of one frame in place.
    fn frame(&mut self, spot: Spot) -> Result<Pass> {
        let mut in_hand = false;
        if self.plan.wanted().wants(spot.number) {
            if let Fetched::Whole(why) = self.fetch(spot)? {
                return Ok(Pass::Whole(why));
            }
            in_hand = true;
        }
        let first = self.number(spot.unit);
        let end = self.number(spot.units().end);
        let mut block = first;
        while block < end {
            if self.plan.is_right(self.blocks, block) {
                self.output.partition.leave(SMALL as u64);
                block = block.saturating_add(1);
                continue;
            }
            if self.blocks.print(block).is_none() {
                self.output.zero(block)?;
                block = block.saturating_add(1);
                continue;
            }
            if !in_hand {
                let copied = self.copy(block, end)?;
                block = block.saturating_add(copied);
                if copied > 0 {
                    continue;
                }
                // It has changed since it was looked at.
                debug!("block {block} is not what it was any more");
                self.late = self.late.saturating_sub(1);
                if self.late == 0 {
                    return Ok(Pass::Stale);
                }
                if let Fetched::Whole(why) = self.fetch(spot)? {
                    return Ok(Pass::Whole(why));
                }
                in_hand = true;
            }
            let at = usize::try_from(block.saturating_sub(first))?.saturating_mul(SMALL);
            let bytes = self.fetch.content(at..at.saturating_add(SMALL));
            if !self.blocks.is(block, bytes) {
                return Ok(Pass::not_what_it_says());
            }
            self.output.append(block, bytes)?;
            block = block.saturating_add(1);
        }
        Ok(Pass::Done)
    }

    fn fetch(&mut self, spot: Spot) -> Result<Fetched> {
        if self.fetch.is_checkpoint() {
            self.output.checkpoint()?;
        }
        self.fetch.frame(spot)
    }

    /// Copies `block` and as many after it before `end` as stand behind one another where they are; how many were what
    /// they had to be.
    fn copy(&mut self, block: u64, end: u64) -> Result<u64> {
        let place = self.plan.place(self.blocks, block);
        let (from, passive) = match (place.running_block(), place.passive_block()) {
            (Some(from), _) => (u64::from(from), false),
            (_, Some(from)) => (u64::from(from), true),
            (None, None) => return Ok(0),
        };
        self.output.go_to(block)?;
        if passive {
            // It may be among what is still to be written.
            self.output.flush()?;
        }
        let mut most = end
            .saturating_sub(block)
            .min((self.output.pending.room() / SMALL) as u64);
        if passive && from < block {
            // Not what this very copy is going to write.
            most = most.min(block.saturating_sub(from));
        }
        let mut count: u64 = 1;
        while count < most
            && self.follows(
                block.saturating_add(count),
                from.saturating_add(count),
                passive,
            )
        {
            count = count.saturating_add(1);
        }
        let before = self.output.pending.bytes().len();
        let (offset, len) = (
            from.saturating_mul(SMALL as u64),
            usize::try_from(count)?.saturating_mul(SMALL),
        );
        let read = match (passive, self.running) {
            (true, _) => self
                .output
                .partition
                .read_into(&mut self.output.pending, offset, len),
            (false, Some(seed)) => seed.read_into(&mut self.output.pending, offset, len),
            (false, None) => Ok(()),
        };
        if let Err(err) = read {
            debug!("{err:#}");
        }
        let copied = self
            .output
            .pending
            .bytes()
            .get(before..)
            .unwrap_or_default();
        let good = copied
            .chunks_exact(SMALL)
            .zip(block..)
            .take_while(|(bytes, block)| self.blocks.is(*block, bytes))
            .count();
        self.output
            .pending
            .truncate(before.saturating_add(good.saturating_mul(SMALL)));
        Ok(good as u64)
    }

    /// Whether `block` is to be copied from `from`.
    fn follows(&self, block: u64, from: u64, passive: bool) -> bool {
        let place = self.plan.place(self.blocks, block);
        let here = match passive {
            true => place.passive_block(),
            false => place.running_block(),
        };
        here.map(u64::from) == Some(from)
            && !self.plan.is_right(self.blocks, block)
            && self.blocks.print(block).is_some()
    }
}
