//! What a machine says on its serial port, line by line.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};

/// The longest line; a machine gone mad must not fill the memory.
const MAX_LINE: u64 = 64 << 10;

/// How many lines a failure shows.
const SHOWN: usize = 40;

/// The lines of a serial port.
pub(crate) struct Console {
    lines: Receiver<String>,
    last: VecDeque<String>,
}

/// Why waiting for a line ended without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The time is up.
    TimeUp,
    /// The machine is off.
    Off,
}

impl Console {
    /// Follows `source`, and writes everything to the file `log` too, behind what is there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn follow(source: impl Read + Send + 'static, log: &Path) -> Result<Console> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            // The machine is off, or nobody listens any more.
            drop(pass_on(source, log, &sender));
        });
        Ok(Console {
            lines,
            last: VecDeque::new(),
        })
    }

    /// The next line that comes before `until`.
    fn next(&mut self, until: Instant) -> Result<String, Silence> {
        let left = until.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => {
                if self.last.len() == SHOWN {
                    self.last.pop_front();
                }
                self.last.push_back(line.clone());
                Ok(line)
            }
            Err(RecvTimeoutError::Timeout) => Err(Silence::TimeUp),
            Err(RecvTimeoutError::Disconnected) => Err(Silence::Off),
        }
    }

    /// Waits until `until` for a line of which `wanted` makes something.
    pub(crate) fn wait<T>(
        &mut self,
        until: Instant,
        mut wanted: impl FnMut(&str) -> Option<T>,
    ) -> Result<T, Silence> {
        loop {
            if let Some(found) = wanted(&self.next(until)?) {
                return Ok(found);
            }
        }
    }

    /// The last lines, for whoever has to find out what went wrong.
    pub(crate) fn tail(&self) -> String {
        let lines: Vec<&str> = self.last.iter().map(String::as_str).collect();
        format!("the console's last words:\n  {}", lines.join("\n  "))
    }
}

/// Splits what is read into lines.
fn pass_on(source: impl Read, mut log: File, lines: &Sender<String>) -> Result<()> {
    let mut source = BufReader::new(source);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut source).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        log.write_all(&line)?;
        lines.send(plain(&line))?;
    }
}

/// A line as text, without what moves cursors and sets colours.
fn plain(line: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = String::from_utf8_lossy(line).into_owned();
    while let Some(at) = rest.find('\x1b') {
        text.push_str(rest.get(..at).unwrap_or_default());
        let escape = rest.split_off(at);
        // ESC [ ... letter
        let end = escape
            .char_indices()
            .skip(2)
            .find(|(_, c)| c.is_ascii_alphabetic())
            .map_or(escape.len(), |(at, c)| at.saturating_add(c.len_utf8()));
        rest = escape.get(end..).unwrap_or_default().to_owned();
    }
    text.push_str(&rest);
    text.retain(|c| !c.is_control());
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_loses_what_moves_the_cursor() {
        for (line, text) in [
            (&b"U-Boot 2023.01\r\n"[..], "U-Boot 2023.01"),
            (b"\x1b[2J\x1b[01;01HBdsDxe\r\n", "BdsDxe"),
            (b"\xff\x1b[", "\u{fffd}"),
            (b"\n", ""),
        ] {
            assert_eq!(plain(line), text);
        }
    }

    #[test]
    fn what_does_not_come_ends_the_wait() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut console = Console::follow(&b"one\ntwo\n"[..], &log).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        let found = console.wait(until, |line| (line == "two").then_some(2));
        assert_eq!(found, Ok(2));
        let missing = console.wait(until, |line| (line == "three").then_some(3));
        assert_eq!(missing, Err(Silence::Off));
        assert!(console.tail().contains("one"), "{}", console.tail());
        assert_eq!(std::fs::read(&log).unwrap(), b"one\ntwo\n");
    }
}
