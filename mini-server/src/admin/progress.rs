//! How far an upload or a download is, on a terminal.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use crate::admin::output::size;

/// A line that is written over and over.
pub struct Progress {
    total: u64,
    done: u64,
    shown: Option<Instant>,
    enabled: bool,
}

const INTERVAL: Duration = Duration::from_millis(200);

impl Progress {
    /// For so many bytes. Shows nothing if nobody looks.
    #[must_use]
    pub fn new(total: u64) -> Self {
        Self {
            total,
            done: 0,
            shown: None,
            enabled: stderr().is_terminal(),
        }
    }

    /// So many bytes more are done.
    pub fn add(&mut self, bytes: usize) {
        self.done = self
            .done
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.enabled && self.shown.is_none_or(|shown| shown.elapsed() >= INTERVAL) {
            self.shown = Some(Instant::now());
            self.draw();
        }
    }

    /// Leaves the line.
    pub fn finish(&self) {
        if self.shown.is_some() {
            self.draw();
            self.write("\n");
        }
    }

    fn draw(&self) {
        let percent = self
            .done
            .saturating_mul(100)
            .checked_div(self.total)
            .unwrap_or(100);
        self.write(&format!(
            "\r{} of {} ({percent} %)  ",
            size(self.done),
            size(self.total)
        ));
    }

    fn write(&self, text: &str) {
        let mut out = stderr().lock();
        // It does not matter if it is not seen.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}
