//! Which part of a file a request is for (RFC 9110 §14). Pure.

/// A part of a file, or the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// All of it, answered by 200.
    Whole,
    /// From `start` until before `end`, answered by 206.
    Part {
        /// The first byte.
        start: u64,
        /// Behind the last byte.
        end: u64,
    },
    /// Nothing of what there is, answered by 416.
    Unsatisfiable,
}

/// What the value of a `Range` header selects of a file of `size` bytes. What is not understood, and more than one
/// range, is ignored, as the standard allows.
#[must_use]
pub fn select(header: &str, size: u64) -> Selection {
    let Some((unit, range)) = header.split_once('=') else {
        return Selection::Whole;
    };
    let Some((first, last)) = range.trim().split_once('-') else {
        return Selection::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Selection::Whole;
    }
    let (start, end) = match (number(first), number(last)) {
        (Some(Some(first)), Some(last)) if last.is_none_or(|last| first <= last) => {
            let end = last.map_or(size, |last| last.saturating_add(1).min(size));
            (first, end)
        }
        (Some(None), Some(Some(count))) => (size.saturating_sub(count), size),
        _ => return Selection::Whole,
    };
    if start < end {
        Selection::Part { start, end }
    } else {
        Selection::Unsatisfiable
    }
}

/// Digits or nothing; a number that is too large is as good as the largest.
fn number(text: &str) -> Option<Option<u64>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(None);
    }
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| Some(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(header: &str, expected: &str) {
        let found = match select(header, 1000) {
            Selection::Whole => "whole".to_owned(),
            Selection::Part { start, end } => format!("{start}..{end}"),
            Selection::Unsatisfiable => "none".to_owned(),
        };
        assert_eq!(found, expected, "{header}");
    }

    #[test]
    fn single_ranges_are_understood() {
        check("bytes=0-", "0..1000");
        check("bytes=0-0", "0..1");
        check("bytes=1-2", "1..3");
        check("bytes=999-", "999..1000");
        check("bytes=5-99999999999999999999999", "5..1000");
        check("bytes=-1", "999..1000");
        check("bytes=-5000", "0..1000");
        check(" BYTES = 10 - 19 ", "10..20");
    }

    #[test]
    fn what_is_not_there_cannot_be_had() {
        check("bytes=1000-", "none");
        check("bytes=1000-1001", "none");
        check("bytes=99999999999999999999999-", "none");
        check("bytes=-0", "none");
        assert_eq!(select("bytes=0-", 0), Selection::Unsatisfiable);
        assert_eq!(select("bytes=-1", 0), Selection::Unsatisfiable);
    }

    #[test]
    fn anything_else_is_ignored() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5",
            "bytes=5-4",
            "bytes=0-1,3-4",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=a-b",
            "items=0-1",
            "bytes=0x1-",
            "bytes=--1",
        ] {
            check(header, "whole");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_inside_and_not_empty(header in "[bytes=0-9, -]{0,20}|bytes=[0-9]{0,4}-[0-9]{0,4}", size in 0_u64..2000) {
            if let Selection::Part { start, end } = select(&header, size) {
                prop_assert!(start < end && end <= size);
            }
        }
    }
}
