//! Where an artifact comes from: a file, the standard input, or an address.

use std::fs::File;
use std::io::{self, Read, StdinLock};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail};
use ureq::Agent;

use crate::config::Config;
use crate::download::{Download, Renew};
use crate::stop::Stop;

/// The bytes of an artifact, from the first to the last.
pub(crate) enum Source<'a> {
    File(File),
    Input(StdinLock<'static>),
    Download(Box<Download<'a>>),
}

/// The same bytes, in pieces from anywhere.
pub(crate) enum Pieces<'a> {
    File(Piece),
    Download(Box<Download<'a>>),
}

/// A piece of a file.
pub(crate) struct Piece {
    file: File,
    /// What is left of it.
    left: Range<u64>,
}

/// What a source says when it is asked for a piece.
pub(crate) enum Answer {
    /// The next reads give the piece.
    Piece,
    /// It can only be had as a whole, for this reason.
    Whole(String),
}

/// Opens `name`: an `https://` address, `-` for the standard input, or a file. `renew` gets a new
/// address when that one has expired.
///
/// # Errors
/// When it cannot be opened, or is an address without TLS.
pub(crate) fn open<'a>(
    name: &str,
    agent: impl FnOnce() -> Result<Agent>,
    renew: Option<Renew<'a>>,
    config: &Config,
    stop: &'a Stop,
) -> Result<Source<'a>> {
    if name.starts_with("https://") {
        let download = Download::open(name, agent()?, renew, config, stop)?;
        return Ok(Source::Download(Box::new(download)));
    }
    if name.starts_with("http://") {
        bail!("refusing {name}: without TLS anyone on the way can change it; use https://");
    }
    if name == "-" {
        return Ok(Source::Input(io::stdin().lock()));
    }
    let file = File::open(name).with_context(|| format!("cannot open the artifact {name}"))?;
    Ok(Source::File(file))
}

impl<'a> Source<'a> {
    /// The same artifact in pieces; `None` where it comes only once and in order.
    ///
    /// # Errors
    /// When the system has no file descriptors left.
    pub(crate) fn pieces(&self) -> Result<Option<Pieces<'a>>> {
        Ok(match self {
            Source::File(file) if file.metadata()?.is_file() => Some(Pieces::File(Piece {
                file: file.try_clone()?,
                left: 0..0,
            })),
            Source::Download(download) => Some(Pieces::Download(Box::new(download.pieces()))),
            Source::File(_) | Source::Input(_) => None,
        })
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::File(file) => file.read(buffer),
            Source::Input(input) => input.read(buffer),
            Source::Download(download) => download.read(buffer),
        }
    }
}

impl Pieces<'_> {
    /// Goes to the piece `range`.
    ///
    /// # Errors
    /// When the server cannot be reached for a while.
    pub(crate) fn go_to(&mut self, range: Range<u64>) -> Result<Answer> {
        match self {
            Pieces::File(piece) => {
                piece.left = range;
                Ok(Answer::Piece)
            }
            Pieces::Download(download) => download.go_to(range),
        }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Pieces::File(Piece { file, left }) => {
                let room = usize::try_from(left.end.saturating_sub(left.start))
                    .map_or(buffer.len(), |left| left.min(buffer.len()));
                let count = file.read_at(buffer.get_mut(..room).unwrap_or_default(), left.start)?;
                left.start = left.start.saturating_add(count as u64);
                Ok(count)
            }
            Pieces::Download(download) => download.read(buffer),
        }
    }
}
