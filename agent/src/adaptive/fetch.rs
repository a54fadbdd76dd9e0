//! Fetching the frames of a section, each once and in order.

use std::io::Read;
use std::ops::Range;

use anyhow::{Context, Result};
use tandem_artifact::framed::{COALESCE, Frame, Run, Section, Unpacker, Wanted};

use crate::source::{Answer, Pieces};

/// After how many fetched bytes what was written is made durable: the most that is fetched twice
/// when the power goes.
const CHECKPOINT: u64 = 8_000_000 - (2 << 20);

/// The frames of a section, as far as they are wanted.
pub(super) struct Fetch<'a, 'p> {
    section: &'a Section,
    wanted: &'a Wanted,
    pieces: &'a mut Pieces<'p>,
    /// Where the frames of the section begin in the artifact.
    frames_at: u64,
    /// What is being fetched.
    run: Option<Run>,
    /// How far, in bytes of the section's frames.
    read: u64,
    compressed: Vec<u8>,
    unpacker: Unpacker,
    /// Bytes since the last checkpoint.
    fetched: u64,
}

/// A frame, and where it begins.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    /// Its number in the section.
    pub(super) number: usize,
    pub(super) frame: Frame,
    /// In bytes of the section's frames.
    byte: u64,
    /// The first block or chunk, as a number in the section.
    pub(super) unit: usize,
}

/// Whether a frame could be had.
pub(super) enum Fetched {
    Frame,
    Whole(String),
}

impl Spot {
    /// Its blocks or chunks.
    pub(super) fn units(&self) -> Range<usize> {
        self.unit..self.unit.saturating_add(self.frame.units.into())
    }
}

/// All frames of `section`, in order.
pub(super) fn spots(section: &Section) -> impl Iterator<Item = Spot> + '_ {
    let (mut byte, mut unit) = (0_u64, 0_usize);
    let frames = section.frames().iter().copied().enumerate();
    frames.map(move |(number, frame)| {
        let spot = Spot {
            number,
            frame,
            byte,
            unit,
        };
        byte = byte.saturating_add(frame.length.into());
        unit = unit.saturating_add(frame.units.into());
        spot
    })
}

impl<'a, 'p> Fetch<'a, 'p> {
    /// The frames of `section`, which begin at `frames_at` in the artifact.
    ///
    /// # Errors
    /// When there is no memory.
    pub(super) fn new(
        section: &'a Section,
        wanted: &'a Wanted,
        pieces: &'a mut Pieces<'p>,
        frames_at: u64,
    ) -> Result<Fetch<'a, 'p>> {
        Ok(Fetch {
            section,
            wanted,
            pieces,
            frames_at,
            run: None,
            read: 0,
            compressed: Vec::new(),
            unpacker: Unpacker::new()?,
            fetched: 0,
        })
    }

    /// So much has been fetched that it is to be made durable now.
    pub(super) fn is_checkpoint(&mut self) -> bool {
        let is_due = self.fetched >= CHECKPOINT;
        if is_due {
            self.fetched = 0;
        }
        is_due
    }

    /// Has the content of a frame ready.
    ///
    /// # Errors
    /// When the connection fails.
    pub(super) fn frame(&mut self, spot: Spot) -> Result<Fetched> {
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
        let length = usize::try_from(spot.frame.length)?;
        if self.compressed.capacity() < length {
            // The old memory first: growing would hold both, and more than is asked for.
            self.compressed = Vec::new();
            self.compressed.reserve_exact(length);
        }
        self.compressed.resize(length, 0);
        self.pieces
            .read_exact(&mut self.compressed)
            .context("cannot read the payload")?;
        let end = spot.byte.saturating_add(spot.frame.length.into());
        self.fetched = self.fetched.saturating_add(end.saturating_sub(self.read));
        self.read = end;
        let size = self.section.size(spot.units());
        Ok(match self.unpacker.unpack(&self.compressed, size) {
            Ok(()) => Fetched::Frame,
            Err(err) => Fetched::Whole(err.to_string()),
        })
    }

    /// These bytes of the frame that was fetched last.
    pub(super) fn content(&self, bytes: Range<usize>) -> &[u8] {
        self.unpacker.content(bytes)
    }

    /// Asks for what begins with this frame: what is wanted at once, or only this.
    fn begin_run(&mut self, spot: Spot) -> Result<Answer> {
        let run = self
            .wanted
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
}
