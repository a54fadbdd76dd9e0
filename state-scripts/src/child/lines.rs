//! Output of a child process, made fit for a log.

/// Longest line that is handed on whole, in bytes; a longer one is cut into several.
const MAX_LINE: usize = 4096;

/// Cuts a stream of bytes into lines, up to a limit, and counts what is dropped after it.
///
/// Lines are valid UTF-8 without control characters, so that they can neither forge log lines nor
/// send commands to a terminal. Empty lines are left out.
#[derive(Debug)]
pub(super) struct Lines {
    line: Vec<u8>,
    left: usize,
    dropped: u64,
}

impl Lines {
    /// Hands on the first `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            left: limit,
            dropped: 0,
        }
    }

    /// Takes the next bytes of the stream and hands on the lines that they complete.
    pub(super) fn feed(&mut self, bytes: &[u8], emit: &mut dyn FnMut(&str)) {
        let (kept, dropped) = bytes.split_at(bytes.len().min(self.left));
        self.left = self.left.saturating_sub(kept.len());
        self.dropped = self.dropped.saturating_add(dropped.len() as u64);
        for byte in kept {
            match byte {
                b'\n' => self.flush(emit),
                byte => self.line.push(*byte),
            }
            if self.line.len() >= MAX_LINE {
                let rest = self.line.split_off(whole_characters(&self.line));
                self.flush(emit);
                self.line = rest;
            }
        }
    }

    /// Hands on the unfinished last line, and how much was dropped if anything was.
    pub(super) fn finish(&mut self, emit: &mut dyn FnMut(&str)) {
        self.flush(emit);
        if self.dropped > 0 {
            emit(&format!(
                "({} more bytes of output not shown)",
                self.dropped
            ));
            self.dropped = 0;
        }
    }

    fn flush(&mut self, emit: &mut dyn FnMut(&str)) {
        let text = String::from_utf8_lossy(&self.line);
        let line = harmless(text.trim_end_matches('\r'));
        self.line.clear();
        if !line.is_empty() {
            emit(&line);
        }
    }
}

/// How much of `bytes` can be cut off without cutting a UTF-8 character.
fn whole_characters(bytes: &[u8]) -> usize {
    const LONGEST: usize = 4;
    let starts = |byte: &u8| *byte & 0b1100_0000 != 0b1000_0000;
    let last = bytes.iter().rev().take(LONGEST).position(starts);
    match last {
        // The last character may have more bytes to come: leave it for the next piece.
        Some(back)
            if bytes
                .iter()
                .nth_back(back)
                .is_some_and(|byte| !byte.is_ascii()) =>
        {
            bytes.len().saturating_sub(back.saturating_add(1))
        }
        Some(_) | None => bytes.len(),
    }
}

/// The text with everything escaped that controls instead of showing; tabs stay.
fn harmless(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if controls(character) {
            line.extend(character.escape_unicode());
        } else {
            line.push(character);
        }
    }
    line
}

fn controls(character: char) -> bool {
    match character {
        '\t' => false,
        // Line ends of Unicode, and marks that reorder what a reader sees.
        '\u{2028}' | '\u{2029}' => true,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in pieces of every size: the lines must not depend on it.
    #[track_caller]
    fn check(limit: usize, bytes: &[u8], expected: &[&str]) {
        for size in 1..=bytes.len().clamp(1, 50) {
            let mut lines = Lines::new(limit);
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                lines.feed(piece, &mut |line| found.push(line.to_owned()));
            }
            lines.finish(&mut |line| found.push(line.to_owned()));
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn lines_are_cut_at_line_feeds_and_the_last_needs_none() {
        check(100, b"", &[]);
        check(100, b"one\ntwo\r\n\n\r\nthree", &["one", "two", "three"]);
        check(100, b"one\n", &["one"]);
    }

    #[test]
    fn bytes_that_are_not_text_become_harmless_text() {
        check(100, b"a\xffb\xf0\x9f", &["a\u{fffd}b\u{fffd}"]);
        check(
            100,
            b"\x1b[2J\x07\0\tx\x7f",
            &["\\u{1b}[2J\\u{7}\\u{0}\tx\\u{7f}"],
        );
        check(100, b"a\rb", &["a\\u{d}b"]);
        check(
            100,
            "x\u{85}y\u{2028}z".as_bytes(),
            &["x\\u{85}y\\u{2028}z"],
        );
        check(100, "if \u{202e}evil".as_bytes(), &["if \\u{202e}evil"]);
        check(
            100,
            "f\u{fc}r \u{1f600}".as_bytes(),
            &["f\u{fc}r \u{1f600}"],
        );
    }

    #[test]
    fn after_the_limit_one_line_counts_the_rest() {
        check(5, b"12345", &["12345"]);
        check(
            5,
            b"123456",
            &["12345", "(1 more bytes of output not shown)"],
        );
        check(
            5,
            b"1\n2\n3\n4\n",
            &["1", "2", "3", "(3 more bytes of output not shown)"],
        );
        check(0, b"1\n", &["(2 more bytes of output not shown)"]);
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let long = "x".repeat(MAX_LINE - 1);
        let text = format!("{long}\u{20ac}{}", "y".repeat(3));
        check(10_000, text.as_bytes(), &[&long, "\u{20ac}yyy"]);
        let ascii = "z".repeat(2 * MAX_LINE);
        check(
            10_000,
            ascii.as_bytes(),
            &[&ascii[..MAX_LINE], &ascii[..MAX_LINE]],
        );
        // Continuation bytes without a start are cut anywhere, but never kept for ever.
        let junk = vec![0x80; MAX_LINE + 1];
        check(10_000, &junk, &[&"\u{fffd}".repeat(MAX_LINE), "\u{fffd}"]);
    }
}
