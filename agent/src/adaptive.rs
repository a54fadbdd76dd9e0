//! Installing a framed root file system: what the device has is not fetched.
//!
//! ```text
//! for each section of the index:
//!   read the section
//!   look at the running and the passive root part           Search
//!   say what will be fetched                                Plan
//!   for each block of the image, in order:
//!     stands where it belongs   -> left alone
//!     zeros                     -> the device is told to forget what it has
//!     on one of the root parts  -> copied, if it is still what it was when looked at
//!     else                      -> its frame is fetched
//! ```
//!
//! Every block is compared with the index before it is written. That finds mistakes early; what
//! counts is the sum of the whole image in the signed manifest, with which the caller compares what
//! the device gives back. So an index that lies can waste work and no more.
//!
//! What an interrupted attempt has written stands in the passive root part, so that nothing has to
//! be remembered of it.

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use log::{debug, info, warn};
use tandem_artifact::Kind;
use tandem_artifact::framed::{
    BLOCK as SMALL, COALESCE, Expected, Fingerprint, Frame, Framed, Plan, Run, Search, Section,
    SectionAt, Unpacker,
};

use crate::block::Block;
use crate::partition::Partition;
use crate::progress::Progress;
use crate::seed::Seed;
use crate::source::{Answer, Pieces};
use crate::stop::Stop;

/// After how many fetched bytes what was written is made durable: the most that is fetched twice
/// when the power goes.
const CHECKPOINT: u64 = 8_000_000 - (2 << 20);

/// How many blocks may have changed under our eyes before everything is looked at again.
const LATE: u32 = 32;

/// How often everything is looked at.
const LOOKS: u32 = 3;

/// What became of it.
pub(crate) enum End {
    /// The image is written, and is still to be made durable and compared.
    Written,
    /// The artifact has to be read as a whole, for this reason.
    Whole(String),
}

/// Writes the image of `framed` to `partition`, from what is on `running`, on the device itself,
/// and in `pieces`.
///
/// # Errors
/// When the device or the connection fails, or the program is asked to stop.
pub(crate) fn install(
    framed: &Framed,
    pieces: &mut Pieces,
    running: &Path,
    partition: &mut Partition,
    progress: &mut Progress,
    stop: &Stop,
) -> Result<End> {
    let running = match Seed::open(running) {
        Ok(seed) => Some(seed),
        Err(err) => {
            warn!("{err:#}; fetching what could have been found there");
            None
        }
    };
    let (mut at, mut expected) = (framed.index, framed.expected());
    loop {
        let section = match read_section(pieces, at, &expected)? {
            Ok(section) => section,
            Err(why) => return Ok(End::Whole(why)),
        };
        let end = match at.frames_end(&section, framed) {
            Ok(end) => end,
            Err(err) => return Ok(End::Whole(err.to_string())),
        };
        let mut looks: u32 = 0;
        loop {
            let plan = look(
                &section,
                running.as_ref(),
                partition,
                framed.file.size,
                stop,
            )?;
            tell(&plan, &section, framed);
            looks = looks.saturating_add(1);
            let assembly = Assembly {
                section: &section,
                plan: &plan,
                pieces,
                frames_at: at.frames_at(),
                running: running.as_ref(),
                stop,
                run: None,
                read: 0,
                compressed: Vec::new(),
                unpacker: Unpacker::new()?,
                output: Output::new(partition),
                fetched: 0,
                late: if looks < LOOKS { LATE } else { u32::MAX },
            };
            match assembly.run(progress)? {
                Pass::Done => break,
                Pass::Stale => info!("the running root part changes; looking at it again"),
                Pass::Whole(why) => return Ok(End::Whole(why)),
            }
        }
        let Some(next) = section.next() else {
            return Ok(End::Written);
        };
        at = match section_at(pieces, end)? {
            Ok(at) => at,
            Err(why) => return Ok(End::Whole(why)),
        };
        expected = next;
    }
}

/// A section of the index, or why the artifact has to be read as a whole.
fn read_section(
    pieces: &mut Pieces,
    at: SectionAt,
    expected: &Expected,
) -> Result<Result<Section, String>> {
    if at.length > Section::MAX_LENGTH {
        return Ok(Err("its index is too long".to_owned()));
    }
    if let Answer::Whole(why) = pieces.go_to(at.at..at.frames_at())? {
        return Ok(Err(why));
    }
    match Section::read(pieces, at.length, expected) {
        Ok(section) => Ok(Ok(section)),
        Err(err) if err.kind() == Kind::Source => Err(err.into()),
        Err(err) => Ok(Err(err.to_string())),
    }
}

/// Where the section is whose header stands at `at`.
fn section_at(pieces: &mut Pieces, at: u64) -> Result<Result<SectionAt, String>> {
    let mut header = [0; SectionAt::HEADER];
    let end = at.saturating_add(header.len() as u64);
    if let Answer::Whole(why) = pieces.go_to(at..end)? {
        return Ok(Err(why));
    }
    pieces.read_exact(&mut header)?;
    Ok(SectionAt::new(at, header).map_err(|err| err.to_string()))
}

/// Looks at what there is. What cannot be read is as if it were not there.
fn look(
    section: &Section,
    running: Option<&Seed>,
    partition: &Partition,
    size: u64,
    stop: &Stop,
) -> Result<Plan> {
    let mut search = Search::new(section);
    if let Some(seed) = running {
        let seen = seed.scan(
            size,
            blocks(stop, |block, print| {
                if let Some(print) = print {
                    search.running(block, print);
                }
            }),
        );
        if let Err(err) = seen {
            ensure!(!stop.requested(), "interrupted");
            warn!("{err:#}; fetching what could have been found there");
        }
    }
    let seen = partition.scan(
        size,
        blocks(stop, |block, print| search.passive(block, print)),
    );
    if let Err(err) = seen {
        ensure!(!stop.requested(), "interrupted");
        warn!("{err:#}; writing all of it");
    }
    Ok(search.plan())
}

/// Tells `each` the number and the fingerprint of each block.
fn blocks(
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

/// Says what will be fetched, before any of it is.
fn tell(plan: &Plan, section: &Section, framed: &Framed) {
    let (mut bytes, mut requests) = (0_u64, 0_u64);
    for Run { bytes: run, .. } in plan.runs(section, COALESCE) {
        bytes = bytes.saturating_add(run.end.saturating_sub(run.start));
        requests = requests.saturating_add(1);
    }
    let Range { start, end } = section.blocks();
    let all = framed.file.size.div_ceil(SMALL as u64);
    let part = match start == 0 && end == all {
        true => String::new(),
        false => format!(", for blocks {start} to {end} of {all}"),
    };
    info!(
        "fetching {bytes} of {} bytes in {requests} requests{part}; {} MiB are in place already",
        section.length(),
        (plan.right_blocks() as u64).saturating_mul(SMALL as u64) >> 20,
    );
}

/// What became of one walk over a section.
enum Pass {
    Done,
    /// Too much of what was found is not there any more.
    Stale,
    /// Frames and index do not belong together, or the server gives no more pieces.
    Whole(String),
}

/// One walk over a section.
struct Assembly<'a, 'p> {
    section: &'a Section,
    plan: &'a Plan,
    pieces: &'a mut Pieces<'p>,
    /// Where the frames of the section begin in the artifact.
    frames_at: u64,
    running: Option<&'a Seed>,
    stop: &'a Stop,
    /// What is being fetched.
    run: Option<Run>,
    /// How far, in bytes of the section's frames.
    read: u64,
    compressed: Vec<u8>,
    unpacker: Unpacker,
    output: Output<'a>,
    /// Bytes since the last checkpoint.
    fetched: u64,
    /// How many blocks may still turn out to have changed.
    late: u32,
}

/// A frame, and where it begins.
#[derive(Clone, Copy)]
struct Spot {
    number: usize,
    frame: Frame,
    /// In bytes of the section's frames.
    byte: u64,
    /// The first block.
    block: u64,
}

/// Whether a frame could be had.
enum Fetched {
    Frame,
    Whole(String),
}

impl Assembly<'_, '_> {
    fn run(mut self, progress: &mut Progress) -> Result<Pass> {
        let mut byte: u64 = 0;
        let mut block = self.section.blocks().start;
        for (number, frame) in self.section.frames().iter().copied().enumerate() {
            ensure!(!self.stop.requested(), "interrupted");
            let spot = Spot {
                number,
                frame,
                byte,
                block,
            };
            match self.frame(spot)? {
                Pass::Done => {}
                stopped @ (Pass::Stale | Pass::Whole(_)) => return Ok(stopped),
            }
            byte = byte.saturating_add(frame.length.into());
            block = block.saturating_add(frame.blocks.into());
            progress.at(block.saturating_mul(SMALL as u64));
        }
        self.output.finish()?;
        Ok(Pass::Done)
    }

    /// Puts the blocks of one frame in place.
    fn frame(&mut self, spot: Spot) -> Result<Pass> {
        let mut in_hand = false;
        if self.plan.wants(spot.number) {
            if let Fetched::Whole(why) = self.fetch(spot)? {
                return Ok(Pass::Whole(why));
            }
            in_hand = true;
        }
        let end = spot.block.saturating_add(spot.frame.blocks.into());
        let mut block = spot.block;
        while block < end {
            if self.plan.is_right(self.section, block) {
                self.output.partition.leave(SMALL as u64);
                block = block.saturating_add(1);
                continue;
            }
            let Some(print) = self.section.print(block) else {
                self.output.zero(block)?;
                block = block.saturating_add(1);
                continue;
            };
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
            let number = usize::try_from(block.saturating_sub(spot.block))?;
            match self.unpacker.block(number, print) {
                Ok(bytes) => self.output.append(block, bytes)?,
                Err(err) => return Ok(Pass::Whole(err.to_string())),
            }
            block = block.saturating_add(1);
        }
        Ok(Pass::Done)
    }

    /// Has the content of a frame in the unpacker.
    fn fetch(&mut self, spot: Spot) -> Result<Fetched> {
        if self.fetched >= CHECKPOINT {
            self.output.checkpoint()?;
            self.fetched = 0;
        }
        let coming = self
            .run
            .as_ref()
            .is_some_and(|run| run.frames.contains(&spot.number));
        if !coming {
            if let Answer::Whole(why) = self.begin_run(spot)? {
                return Ok(Fetched::Whole(why));
            }
        }
        // Frames in between that nobody wants.
        let unwanted = spot.byte.saturating_sub(self.read);
        std::io::copy(
            &mut self.pieces.by_ref().take(unwanted),
            &mut std::io::sink(),
        )
        .context("cannot read the payload")?;
        self.compressed
            .resize(usize::try_from(spot.frame.length)?, 0);
        self.pieces
            .read_exact(&mut self.compressed)
            .context("cannot read the payload")?;
        let end = spot.byte.saturating_add(spot.frame.length.into());
        self.fetched = self.fetched.saturating_add(end.saturating_sub(self.read));
        self.read = end;
        Ok(match self.unpacker.unpack(&self.compressed, spot.frame) {
            Ok(()) => Fetched::Frame,
            Err(err) => Fetched::Whole(err.to_string()),
        })
    }

    /// Asks for what begins with this frame: what is wanted at once, or only this.
    fn begin_run(&mut self, spot: Spot) -> Result<Answer> {
        let run = self
            .plan
            .run(self.section, spot.number, spot.byte, COALESCE)
            .filter(|run| run.frames.start == spot.number)
            .unwrap_or_else(|| Run {
                frames: spot.number..spot.number.saturating_add(1),
                bytes: spot.byte..spot.byte.saturating_add(spot.frame.length.into()),
            });
        let place = |byte: u64| self.frames_at.saturating_add(byte);
        let range = place(run.bytes.start)..place(run.bytes.end);
        self.read = run.bytes.start;
        self.run = Some(run);
        self.pieces.go_to(range)
    }

    /// Copies `block` and as many after it before `end` as stand behind one another where they are; how many were what
    /// they had to be.
    fn copy(&mut self, block: u64, end: u64) -> Result<u64> {
        let place = self.plan.place(self.section, block);
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
            .take_while(|(bytes, block)| Fingerprint::of(bytes) == self.section.print(*block))
            .count();
        self.output
            .pending
            .truncate(before.saturating_add(good.saturating_mul(SMALL)));
        Ok(good as u64)
    }

    /// Whether `block` is to be copied from `from`.
    fn follows(&self, block: u64, from: u64, passive: bool) -> bool {
        let place = self.plan.place(self.section, block);
        let here = match passive {
            true => place.passive_block(),
            false => place.running_block(),
        };
        here.map(u64::from) == Some(from)
            && !self.plan.is_right(self.section, block)
            && self.section.print(block).is_some()
    }
}

/// What is to be written, gathered into large pieces.
struct Output<'a> {
    partition: &'a mut Partition,
    pending: Block,
    /// The block with which `pending` begins.
    at: u64,
    /// Blocks that are to be zeros.
    zeros: Range<u64>,
}

impl Output<'_> {
    fn new(partition: &mut Partition) -> Output<'_> {
        Output {
            partition,
            pending: Block::new(),
            at: 0,
            zeros: 0..0,
        }
    }

    /// Sees to it that what is appended next gets to `block`, and that there is room for it.
    fn go_to(&mut self, block: u64) -> Result<()> {
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

    fn append(&mut self, block: u64, bytes: &[u8]) -> Result<()> {
        self.go_to(block)?;
        self.pending.append(bytes);
        Ok(())
    }

    fn zero(&mut self, block: u64) -> Result<()> {
        if block != self.zeros.end {
            self.flush_zeros()?;
            self.zeros = block..block;
        }
        self.zeros.end = block.saturating_add(1);
        Ok(())
    }

    /// Writes what is pending.
    fn flush(&mut self) -> Result<()> {
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

    fn flush_zeros(&mut self) -> Result<()> {
        let count = self.zeros.end.saturating_sub(self.zeros.start);
        if count > 0 {
            let [offset, len] = [self.zeros.start, count].map(|n| n.saturating_mul(SMALL as u64));
            self.partition.put_zeros(offset, len)?;
        }
        self.zeros = 0..0;
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.flush()?;
        self.flush_zeros()
    }

    /// What was fetched so far need not be fetched again after a power cut.
    fn checkpoint(&mut self) -> Result<()> {
        self.finish()?;
        self.partition.checkpoint()
    }
}
