//! What a child prints: where it goes, and reading it as it comes.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use log::warn;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::read;

use super::lines::Lines;

/// Where the child's standard output goes. Its standard error always goes to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// To the log.
    Log,
    /// Into memory, for [`Child::captured`](super::Child::captured), up to this many bytes.
    Capture(usize),
}

/// An output stream of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}

/// The standard output of a child that was spawned with [`Output::Capture`].
#[derive(Debug, Default)]
pub struct Captured {
    /// What it printed, up to the limit.
    pub bytes: Vec<u8>,
    /// Whether it printed more than that.
    pub is_cut: bool,
}

/// Bytes read at once.
const READ_SIZE: usize = 16 * 1024;

/// Our end of an output stream, until the other end is closed, and where its bytes go.
pub(super) struct Pipe {
    end: Option<OwnedFd>,
    sink: Sink,
}

enum Sink {
    Log(Lines),
    Capture(Captured, usize),
}

impl Pipe {
    /// `logged` is how many bytes go to the log, if that is where they go.
    pub(super) fn new(end: Option<OwnedFd>, output: Output, logged: usize) -> Self {
        let sink = match output {
            Output::Log => Sink::Log(Lines::new(logged)),
            Output::Capture(limit) => Sink::Capture(Captured::default(), limit),
        };
        Self { end, sink }
    }

    /// Makes reading return at once when there is nothing to read.
    pub(super) fn unblock(&self) -> Result<(), Errno> {
        match &self.end {
            Some(end) => fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop),
            None => Ok(()),
        }
    }

    /// Our end, as long as there may be more to read.
    pub(super) fn end(&self) -> Option<BorrowedFd<'_>> {
        self.end.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn captured(&self) -> Option<&Captured> {
        match &self.sink {
            Sink::Capture(captured, _) => Some(captured),
            Sink::Log(_) => None,
        }
    }

    /// Reads what there is, with at most this many reads.
    pub(super) fn read(&mut self, reads: usize, stream: Stream, log: &mut dyn FnMut(Stream, &str)) {
        let mut buffer = [0; READ_SIZE];
        for _ in 0..reads {
            let Some(end) = &self.end else { return };
            match read(end, &mut buffer) {
                Ok(0) => self.end = None,
                Ok(length) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    self.sink.take(bytes, &mut |line| log(stream, line));
                }
                Err(Errno::EAGAIN | Errno::EINTR) => return,
                Err(err) => {
                    warn!("cannot read {stream} of a child: {}", io::Error::from(err));
                    self.end = None;
                }
            }
        }
    }

    /// Lets go of the stream and hands on what is left.
    pub(super) fn close(&mut self, stream: Stream, log: &mut dyn FnMut(Stream, &str)) {
        self.end = None;
        if let Sink::Log(lines) = &mut self.sink {
            lines.finish(&mut |line| log(stream, line));
        }
    }
}

impl Sink {
    fn take(&mut self, bytes: &[u8], emit: &mut dyn FnMut(&str)) {
        match self {
            Self::Log(lines) => lines.feed(bytes, emit),
            Self::Capture(captured, limit) => {
                let room = limit.saturating_sub(captured.bytes.len());
                let (kept, cut) = bytes.split_at(bytes.len().min(room));
                captured.bytes.extend_from_slice(kept);
                captured.is_cut |= !cut.is_empty();
            }
        }
    }
}
