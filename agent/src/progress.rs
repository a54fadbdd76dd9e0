//! Progress of long work: for a person at a terminal as it goes, for the log in steps.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use crate::watchdog;

/// Follows one piece of work of known length.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    total: u64,
    begun: Instant,
    shown: Option<Instant>,
    terminal: bool,
}

/// How often a person sees the figures change.
const INTERVAL: Duration = Duration::from_millis(200);

impl Progress {
    /// Begins; `total` is in bytes.
    pub(crate) fn new(what: &'static str, total: u64) -> Progress {
        Progress {
            what,
            total,
            begun: Instant::now(),
            shown: None,
            terminal: stderr().is_terminal(),
        }
    }

    /// `done` bytes of the total are through.
    pub(crate) fn at(&mut self, done: u64) {
        watchdog::alive();
        let now = Instant::now();
        let due = self
            .shown
            .is_none_or(|shown| now.duration_since(shown) >= INTERVAL);
        if self.terminal && (due || done >= self.total) {
            self.shown = Some(now);
            // Whether a person sees it does not matter to the work.
            let _ = write!(
                stderr(),
                "\r{}\x1b[K",
                self.line(done, now.duration_since(self.begun))
            );
        }
    }

    /// How long it has taken so far.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// `writing 45 %, 460 of 1024 MiB, 310 MiB/s, 2 s left`
    fn line(&self, done: u64, elapsed: Duration) -> String {
        let percent = done
            .saturating_mul(100)
            .checked_div(self.total)
            .unwrap_or(100);
        let rate = rate(done, elapsed);
        let left = self
            .total
            .saturating_sub(done)
            .checked_div(rate)
            .unwrap_or(0);
        format!(
            "{} {percent} %, {} of {} MiB, {} MiB/s, {left} s left",
            self.what,
            done >> 20,
            self.total >> 20,
            rate >> 20,
        )
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal && self.shown.is_some() {
            let _ = writeln!(stderr());
        }
    }
}

/// Bytes per second.
pub(crate) fn rate(bytes: u64, elapsed: Duration) -> u64 {
    let milliseconds = u64::try_from(elapsed.as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    bytes
        .saturating_mul(1000)
        .checked_div(milliseconds)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long_still() {
        let progress = Progress::new("writing", 1 << 30);
        let line = progress.line(1 << 28, Duration::from_secs(1));
        assert_eq!(line, "writing 25 %, 256 of 1024 MiB, 256 MiB/s, 3 s left");
    }

    #[test]
    fn nothing_to_do_is_done() {
        let progress = Progress::new("writing", 0);
        assert_eq!(
            progress.line(0, Duration::ZERO),
            "writing 100 %, 0 of 0 MiB, 0 MiB/s, 0 s left"
        );
    }
}
