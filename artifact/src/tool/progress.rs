//! How far long work is, on standard error if that is a terminal.

use std::cell::Cell;
use std::io::{self, IsTerminal as _, Read, Seek, SeekFrom, Write as _};
use std::time::{Duration, Instant};

/// How often the line is drawn again.
const PERIOD: Duration = Duration::from_millis(200);

/// Progress of work that consists of reading, in one or more steps.
pub(crate) struct Progress {
    step: Cell<Step>,
    /// When it was drawn last; `None` if it is not drawn at all.
    drawn: Cell<Option<Instant>>,
}

#[derive(Clone, Copy)]
struct Step {
    label: &'static str,
    /// Bytes to be read, if known.
    total: Option<u64>,
    done: u64,
    started: Instant,
}

impl Progress {
    /// The first step begins.
    pub(crate) fn new(label: &'static str, total: Option<u64>, quiet: bool) -> Self {
        let visible = !quiet && io::stderr().is_terminal();
        let step = Step {
            label,
            total,
            done: 0,
            started: Instant::now(),
        };
        Self {
            step: Cell::new(step),
            drawn: Cell::new(visible.then_some(step.started)),
        }
    }

    /// The next step begins.
    pub(crate) fn next(&self, label: &'static str, total: Option<u64>) {
        self.step.set(Step {
            label,
            total,
            done: 0,
            started: Instant::now(),
        });
    }

    /// Counts what is read from `source`.
    pub(crate) fn watch<R>(&self, source: R) -> Watched<'_, R> {
        Watched {
            source,
            progress: self,
        }
    }

    fn add(&self, count: usize) {
        let mut step = self.step.get();
        step.done = step.done.saturating_add(count as u64);
        self.step.set(step);
        if self
            .drawn
            .get()
            .is_some_and(|drawn| drawn.elapsed() >= PERIOD)
        {
            self.drawn.set(Some(Instant::now()));
            let line = line(step.label, step.done, step.total, step.started.elapsed());
            // Progress that cannot be shown does not matter.
            let _ = write!(io::stderr(), "\r{line}\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.get().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// A reader whose progress is shown.
pub(crate) struct Watched<'a, R> {
    source: R,
    progress: &'a Progress,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.progress.add(count);
        Ok(count)
    }
}

impl<R: Seek> Seek for Watched<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.source.seek(to)
    }
}

fn line(label: &str, done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let rate = done as f64 / seconds;
    let Some(total) = total.filter(|total| *total > 0) else {
        return format!("{label} {} ({}/s)", mib(done as f64), mib(rate));
    };
    let percent = (done as f64 / total as f64 * 100.0).min(100.0);
    let left = (total.saturating_sub(done) as f64 / rate.max(1.0)).ceil();
    let (minutes, seconds) = ((left / 60.0).floor(), left % 60.0);
    format!(
        "{label} {percent:.0} % of {} ({}/s, {minutes:.0}:{seconds:02.0} left)",
        mib(total as f64),
        mib(rate)
    )
}

fn mib(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_much_how_fast_and_how_long() {
        let mib = |count: u64| count << 20;
        let line = |done, total| line("reading", done, total, Duration::from_secs(2));
        assert_eq!(
            line(mib(10), Some(mib(700))),
            "reading 1 % of 700.0 MiB (5.0 MiB/s, 2:18 left)"
        );
        assert_eq!(
            line(mib(10), Some(mib(10))),
            "reading 100 % of 10.0 MiB (5.0 MiB/s, 0:00 left)"
        );
        assert_eq!(line(mib(10), None), "reading 10.0 MiB (5.0 MiB/s)");
        assert_eq!(line(0, Some(0)), "reading 0.0 MiB (0.0 MiB/s)");
        assert_eq!(
            line(0, Some(mib(1))),
            "reading 0 % of 1.0 MiB (0.0 MiB/s, 17476:16 left)"
        );
    }
}
