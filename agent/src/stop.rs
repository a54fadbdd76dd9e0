//! The wish that the program should end: SIGTERM, SIGINT, SIGQUIT.
//!
//! The signals are kept from interrupting anything and are read from a descriptor, so that every
//! wait can wait for them too and nothing runs in a signal handler. Children get the default
//! treatment of signals back.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::watchdog;

/// Tells whether the program has been asked to stop.
#[derive(Debug)]
pub(crate) struct Stop {
    signals: SignalFd,
}

impl Stop {
    /// Begins to collect the signals. To be called before any thread is started.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn new() -> Result<Stop> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
            set.add(signal);
        }
        let signals = set
            .thread_block()
            .and_then(|()| SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC))
            .context("cannot set up the handling of signals")?;
        Ok(Stop { signals })
    }

    /// Whether the program has been asked to stop. Stays true once it is.
    pub(crate) fn requested(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Waits for `time`, or until the program is asked to stop; whether it was.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let end = Instant::now().checked_add(time);
        if !time.is_zero() {
            watchdog::allow(time);
        }
        loop {
            let left = end.map_or(time, |end| end.saturating_duration_since(Instant::now()));
            // In steps, since poll(2) cannot wait longer than 24 days.
            let step = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, step) {
                // The signal is left in the descriptor, for everyone else who asks.
                Ok(count) if count > 0 => return true,
                _ if left.is_zero() => return false,
                _ => {}
            }
        }
    }

    /// Readable when the program has been asked to stop; never to be read.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}
