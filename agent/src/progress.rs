//! Progress of long work: for a person at a terminal as it goes, for the log in tenths of what takes minutes.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use log::info;

use crate::watchdog;

/// Follows one piece of work of known length.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    total: u64,
    begun: Instant,
    shown: Option<Instant>,
    terminal: bool,
    logged: Logged,
}

/// What the log says already.
#[derive(Debug)]
struct Logged {
    at: Instant,
    tenths: u64,
}

/// How often a person sees the figures change.
const INTERVAL: Duration = Duration::from_millis(200);

/// How long the log says nothing at least. What is faster than that says when it is done.
const QUIET: Duration = Duration::from_secs(30);

impl Progress {
    /// Begins; `total` is in bytes.
    pub(crate) fn new(what: &'static str, total: u64) -> Progress {
        let now = Instant::now();
        Progress {
            what,
            total,
            begun: now,
            shown: None,
            terminal: stderr().is_terminal(),
            logged: Logged { at: now, tenths: 0 },
        }
    }

    /// `done` bytes of the total are through.
    pub(crate) fn at(&mut self, done: u64) {
        watchdog::alive();
        let now = Instant::now();
        if !self.terminal {
            if let Some(line) = self.for_log(done, now) {
                info!("{line}");
            }
            return;
        }
        let due = self
            .shown
            .is_none_or(|shown| now.duration_since(shown) >= INTERVAL);
        if due || done >= self.total {
            self.shown = Some(now);
            // Whether a person sees it does not matter to the work.
            let _ = write!(
                stderr(),
                "\r{}\x1b[K",
                self.line(done, now.duration_since(self.begun))
            );
        }
    }

    /// What the log is to be told, if it is time for that: a line for each tenth, but not one after the other.
    fn for_log(&mut self, done: u64, now: Instant) -> Option<String> {
        let tenths = done.saturating_mul(10).checked_div(self.total)?;
        let quiet = now.duration_since(self.logged.at);
        if tenths <= self.logged.tenths || done >= self.total || quiet < QUIET {
            return None;
        }
        self.logged = Logged { at: now, tenths };
        Some(self.line(done, now.duration_since(self.begun)))
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
    fn the_log_has_a_line_for_each_tenth_of_what_takes_long() {
        let mut progress = Progress::new("writing", 100 << 20);
        let begun = progress.begun;
        let mut at = |mib: u64, second: u64| {
            progress.for_log(mib << 20, begun + Duration::from_secs(second))
        };
        assert_eq!(at(15, 29), None);
        let line = "writing 15 %, 15 of 100 MiB, 0 MiB/s, 170 s left";
        assert_eq!(at(15, 30).as_deref(), Some(line));
        assert_eq!(at(19, 90), None, "the same tenth");
        assert_eq!(at(35, 59), None, "too soon after the last");
        assert!(at(35, 60).is_some());
        assert_eq!(at(100, 200), None, "it is told otherwise that it is done");
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
