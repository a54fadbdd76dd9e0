//! Waiting for descriptors, with a limit.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use log::warn;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Waits until a descriptor is ready, a signal arrives, or `limit` is over.
pub(crate) fn until_ready(descriptors: &mut [PollFd], limit: Duration) {
    // Whole milliseconds, rounded up: rounded down, the last one would be a busy loop.
    let limit = limit.saturating_add(Duration::from_micros(999));
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    match poll(descriptors, limit) {
        Ok(_) | Err(Errno::EINTR) => {}
        // Only for want of memory; the callers' own clocks keep them from waiting for ever.
        Err(err) => warn!("cannot wait for descriptors: {err}"),
    }
}

/// Whether the stop descriptor says stop. A control pipe whose other end is gone counts, too.
pub(crate) fn is_asked_to_stop(stop: Option<BorrowedFd<'_>>) -> bool {
    let Some(stop) = stop else { return false };
    let mut watched = [PollFd::new(stop, PollFlags::POLLIN)];
    until_ready(&mut watched, Duration::ZERO);
    is_ready(&watched)
}

/// Waits for `duration`, or until asked to stop; says whether it was.
pub(crate) fn pause(duration: Duration, stop: Option<BorrowedFd<'_>>) -> bool {
    let start = Instant::now();
    let mut watched = Vec::from_iter(stop.map(|stop| PollFd::new(stop, PollFlags::POLLIN)));
    loop {
        let left = duration.saturating_sub(start.elapsed());
        until_ready(&mut watched, left);
        if is_ready(&watched) {
            return true;
        }
        if start.elapsed() >= duration {
            return false;
        }
    }
}

fn is_ready(watched: &[PollFd]) -> bool {
    watched.iter().any(|one| one.any().unwrap_or(true))
}
