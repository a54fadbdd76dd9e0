//! How texts, numbers and times are shown to people. Pure.

use tandem_api::Timestamp;

use crate::inert::{is_visible, visible};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A time as a page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    /// For programs: RFC 3339.
    pub(super) exact: String,
    /// How long ago, or on which day.
    pub(super) about: String,
}

impl Moment {
    /// `time` as it is seen at `now`, both ms.
    pub(super) fn new(time: i64, now: i64) -> Self {
        let exact = Timestamp::from_seconds(Timestamp::from_millis(time).seconds()).to_string();
        let past = now.saturating_sub(time);
        let about = match past {
            past if past < MINUTE => "just now".to_owned(),
            past if past < HOUR => format!("{} min ago", past / MINUTE),
            past if past < DAY => format!("{} h ago", past / HOUR),
            past if past < 2 * DAY => "yesterday".to_owned(),
            past if past < 14 * DAY => format!("{} days ago", past / DAY),
            _ => exact.get(..10).unwrap_or_default().to_owned(),
        };
        Self { exact, about }
    }

    /// Date and time of day, UTC.
    pub(super) fn full(&self) -> String {
        self.exact.replace('T', " ").replace('Z', " UTC")
    }
}

/// Text from outside on one line: at most `limit` characters, and nothing in it that hides, turns or moves text.
pub(super) fn inert(text: &str, limit: usize) -> String {
    let mut shown: String = text.chars().take(limit).map(visible).collect();
    if text.chars().nth(limit).is_some() {
        shown.push('…');
    }
    shown
}

/// Whether a text can stand on a page as it is: for values that come back from it.
pub(super) fn is_plain(text: &str) -> bool {
    text.chars().all(is_visible)
}

/// Several lines from outside: at most `limit` bytes.
pub(super) fn inert_lines(text: &str, limit: usize) -> String {
    let end = text.floor_char_boundary(limit);
    let (shown, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    let keep = |c: char| match c {
        '\n' | '\t' => c,
        c => visible(c),
    };
    let mut shown: String = shown.chars().map(keep).collect();
    if !rest.is_empty() {
        shown.push_str("\n…");
    }
    shown
}

/// A message of ours as a sentence.
pub(super) fn sentence(message: &str) -> String {
    let mut shown = inert(message, 1000);
    let first: String = shown.chars().take(1).flat_map(char::to_uppercase).collect();
    let length = shown.chars().next().map_or(0, char::len_utf8);
    shown.replace_range(..length, &first);
    if !shown.ends_with(['.', '!', '?', '…']) {
        shown.push('.');
    }
    shown
}

/// A number with its noun, which takes an `s` for more than one.
pub(super) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (n, digit) in digits.chars().enumerate() {
        let left = digits.len().saturating_sub(n);
        if n > 0 && left.is_multiple_of(3) {
            shown.push('\u{202f}');
        }
        shown.push(digit);
    }
    shown
}

/// How many percent a part is of the whole, rounded down: only all of it is 100.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100).checked_div(whole).unwrap_or(0)
}

/// A name as a part of a path.
pub(super) fn escape(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A checksum in groups that the eye can compare.
pub(super) fn groups_of_eight(text: &str) -> String {
    let mut shown = String::new();
    for (n, c) in text.chars().enumerate() {
        if n > 0 && n.is_multiple_of(8) {
            shown.push(' ');
        }
        shown.push(c);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_by_its_age() {
        let now = 1_800_000_000_000;
        let check = |age: i64, about: &str| assert_eq!(Moment::new(now - age, now).about, about);
        check(-5 * HOUR, "just now");
        check(59_999, "just now");
        check(MINUTE, "1 min ago");
        check(HOUR - 1, "59 min ago");
        check(25 * HOUR, "yesterday");
        check(13 * DAY, "13 days ago");
        check(14 * DAY, "2027-01-01");
        assert_eq!(Moment::new(now + 7, now).full(), "2027-01-15 08:00:00 UTC");
    }

    #[test]
    fn nothing_in_a_text_acts_on_the_page() {
        assert_eq!(inert("a\0b\x1b[31m\r\n\u{7f}", 99), "a␀b␛[31m␍␊␡");
        assert_eq!(
            inert("\u{202e}gpj.exe\u{200b}", 99),
            "\u{fffd}gpj.exe\u{fffd}"
        );
        assert_eq!(inert("äöü", 2), "äö…");
        assert_eq!(inert("äö", 2), "äö");
        assert_eq!(inert(&"x".repeat(1 << 20), 80).chars().count(), 81);
        assert_eq!(inert_lines("a\n\tb\rc", 99), "a\n\tb␍c");
        assert_eq!(inert_lines("äöü", 3), "ä\n…");
    }

    #[test]
    fn a_message_becomes_a_sentence() {
        assert_eq!(sentence("no devices"), "No devices.");
        assert_eq!(sentence("really?"), "Really?");
        assert_eq!(sentence(""), ".");
    }

    #[test]
    fn numbers_are_read_in_groups() {
        assert_eq!(count(1, "device"), "1 device");
        assert_eq!(count(0, "device"), "0 devices");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(percent(2, 3), 66);
        assert_eq!(percent(0, 0), 0);
    }
}
