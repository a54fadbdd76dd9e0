//! What is left to fetch. Pure.

use std::ops::Range;

use super::bits::Bits;
use super::section::{Frame, Section};

/// Up to how many bytes that are not wanted are fetched instead of making one more request: what a request costs in
/// bytes, and in time on a line where the answer takes a tenth of a second.
pub const COALESCE: u64 = 4 << 10;

/// The frames of a section that have to be fetched.
#[derive(Debug)]
pub struct Wanted {
    frames: Bits,
}

/// Frames that are fetched at once. Some between them may not be wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Which frames of the section.
    pub frames: Range<usize>,
    /// Their bytes, from the beginning of the section's first frame on.
    pub bytes: Range<u64>,
}

impl Wanted {
    pub(super) fn new(frames: Bits) -> Self {
        Self { frames }
    }

    /// Whether a frame has to be fetched.
    #[must_use]
    pub fn wants(&self, frame: usize) -> bool {
        self.frames.contains(frame)
    }

    /// What to fetch at once from frame `frame` on, whose first byte is `byte`: to the last wanted frame before a gap of
    /// more than `gap` bytes that are not wanted. `None` if no more is wanted.
    #[must_use]
    pub fn run(&self, section: &Section, mut frame: usize, mut byte: u64, gap: u64) -> Option<Run> {
        let mut run: Option<Run> = None;
        while let Some(Frame { length, .. }) = section.frames.get(frame) {
            let (next, end) = (
                frame.saturating_add(1),
                byte.saturating_add((*length).into()),
            );
            match &mut run {
                None if self.wants(frame) => {
                    run = Some(Run {
                        frames: frame..next,
                        bytes: byte..end,
                    });
                }
                Some(run) if self.wants(frame) => {
                    run.frames.end = next;
                    run.bytes.end = end;
                }
                Some(run) if end.saturating_sub(run.bytes.end) > gap => break,
                Some(_) | None => {}
            }
            (frame, byte) = (next, end);
        }
        run
    }

    /// All that is to be fetched, in order.
    pub fn runs<'a>(&'a self, section: &'a Section, gap: u64) -> impl Iterator<Item = Run> + 'a {
        let mut place = Some((0, 0));
        std::iter::from_fn(move || {
            let (frame, byte) = place?;
            let run = self.run(section, frame, byte, gap);
            place = run.as_ref().map(|run| (run.frames.end, run.bytes.end));
            run
        })
    }
}
