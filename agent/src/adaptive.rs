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

mod blocks;
mod chunks;
mod fetch;
mod output;
mod stream;

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use anyhow::Result;
use log::{info, warn};
use tandem_artifact::Kind;
use tandem_artifact::framed::{
    BLOCK as SMALL, COALESCE, Division, Expected, Framed, Run, Section, SectionAt, Wanted,
};

use crate::partition::Partition;
use crate::progress::Progress;
use crate::seed::Seed;
use crate::source::{Answer, Pieces};
use crate::stop::Stop;
use fetch::Fetch;
use stream::Stream;

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
        let work = Work {
            section: &section,
            frames_at: at.frames_at(),
            size: framed.file.size,
            running: running.as_ref(),
            stop,
        };
        let mut looks: u32 = 0;
        loop {
            looks = looks.saturating_add(1);
            let late = if looks < LOOKS { LATE } else { u32::MAX };
            match work.pass(pieces, partition, progress, late)? {
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

/// What is done with one section.
struct Work<'a> {
    section: &'a Section,
    /// Where its frames begin in the artifact.
    frames_at: u64,
    /// The size of the image, bytes.
    size: u64,
    running: Option<&'a Seed>,
    stop: &'a Stop,
}

impl Work<'_> {
    /// Looks at everything, and puts together what it can; `late` of what it has found may have changed meanwhile.
    fn pass(
        &self,
        pieces: &mut Pieces,
        partition: &mut Partition,
        progress: &mut Progress,
        late: u32,
    ) -> Result<Pass> {
        let (section, running) = (self.section, self.running);
        match section.division() {
            Division::Blocks(blocks) => {
                let plan = blocks::look(self, blocks, partition)?;
                let right = (plan.right_blocks() as u64).saturating_mul(SMALL as u64);
                self.tell(plan.wanted(), right);
                let fetch = Fetch::new(section, plan.wanted(), pieces, self.frames_at)?;
                blocks::Assembly::new(blocks, &plan, fetch, running, partition, late)
                    .run(self, progress)
            }
            Division::Chunks(chunks) => {
                let plan = chunks::look(self, chunks, partition)?;
                self.tell(plan.wanted(), plan.right_bytes(chunks));
                let fetch = Fetch::new(section, plan.wanted(), pieces, self.frames_at)?;
                let stream = Stream::new(partition, chunks.range().start)?;
                chunks::Assembly::new(chunks, &plan, fetch, running, stream, late)
                    .run(self, progress)
            }
        }
    }

    /// Says what will be fetched, before any of it is.
    fn tell(&self, wanted: &Wanted, right: u64) {
        let (mut bytes, mut requests) = (0_u64, 0_u64);
        for Run { bytes: run, .. } in wanted.runs(self.section, COALESCE) {
            bytes = bytes.saturating_add(run.end.saturating_sub(run.start));
            requests = requests.saturating_add(1);
        }
        let Range { start, end } = self.section.range();
        let part = match start == 0 && end == self.size {
            true => String::new(),
            false => format!(
                ", for MiB {} to {} of {}",
                start >> 20,
                end >> 20,
                self.size >> 20
            ),
        };
        info!(
            "fetching {bytes} of {} bytes in {requests} requests{part}; {} MiB are in place already",
            self.section.length(),
            right >> 20,
        );
    }
}

/// What became of one walk over a section.
enum Pass {
    Done,
    /// Too much of what was found is not there any more.
    Stale,
    /// Frames and index do not belong together, or the server gives no more pieces.
    Whole(String),
}

impl Pass {
    /// A frame is not what the index says.
    fn not_what_it_says() -> Pass {
        Pass::Whole("a frame of the payload does not hold what the index says".to_owned())
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
