//! When a device may begin to install: what it is told, so that it needs no time zones of its own. Pure.

use tandem_api::Timestamp;
use tandem_api::device::Opening;

use super::window::Window;

/// How many a device is told of: two weeks of every night, or four months of every week.
const TOLD: usize = 16;

/// How many of each window are looked at. Two windows may meet only now and then.
const LOOKED_AT: usize = 64;

/// The times from `now` on, ms, in which all of `windows` are open, in order. None if there are no windows; then any
/// time is right.
#[must_use]
pub(super) fn openings(windows: &[&Window], now: i64) -> Vec<Opening> {
    let mut all = windows
        .iter()
        .map(|window| merged(window.openings(now).take(LOOKED_AT)));
    let Some(first) = all.next() else {
        return Vec::new();
    };
    let common = all.fold(first, |common, other| common_to(&common, &other));
    common
        .into_iter()
        .take(TOLD)
        .map(|(from, until)| Opening {
            from: Timestamp::from_millis(from),
            until: Timestamp::from_millis(until),
        })
        .collect()
}

/// What touches or overlaps as one. A window that is longer than a day may open again before it closes.
fn merged(openings: impl Iterator<Item = (i64, i64)>) -> Vec<(i64, i64)> {
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (from, until) in openings {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(until),
            _ => merged.push((from, until)),
        }
    }
    merged
}

/// The times that are in both.
fn common_to(one: &[(i64, i64)], other: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut common = Vec::new();
    for (from, until) in one {
        let overlapping = other
            .iter()
            .skip_while(|(_, end)| end <= from)
            .take_while(|(begin, _)| begin < until);
        common.extend(overlapping.map(|(begin, end)| (*begin.max(from), *end.min(until))));
    }
    common
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "times of a test, far from the ends"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().millis()
    }

    #[track_caller]
    fn check(windows: &[&str], now: &str, expected: &[(&str, &str)]) {
        let windows: Vec<Window> = windows.iter().map(|text| text.parse().unwrap()).collect();
        let windows: Vec<&Window> = windows.iter().collect();
        let found: Vec<(String, String)> = openings(&windows, at(now))
            .into_iter()
            .map(|one| (one.from.to_string(), one.until.to_string()))
            .collect();
        let found: Vec<(&str, &str)> = found
            .iter()
            .take(expected.len().max(1))
            .map(|(from, until)| (from.as_str(), until.as_str()))
            .collect();
        assert_eq!(found, expected, "{windows:?} from {now} on");
    }

    #[test]
    fn a_device_is_told_of_the_open_window_and_the_next() {
        check(&[], "2026-11-24T22:00:00Z", &[]);
        check(
            &["daily 22:00 4h"],
            "2026-11-24T23:00:00Z",
            &[
                ("2026-11-24T22:00:00Z", "2026-11-25T02:00:00Z"),
                ("2026-11-25T22:00:00Z", "2026-11-26T02:00:00Z"),
            ],
        );
        // The clocks turn on 25 October.
        check(
            &["sun 02:00 1h Europe/Berlin"],
            "2026-10-20T00:00:00Z",
            &[
                ("2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"),
                ("2026-11-01T01:00:00Z", "2026-11-01T02:00:00Z"),
            ],
        );
        // Always open is one opening.
        let week = openings(
            &[&"daily 00:00 1day".parse().unwrap()],
            at("2026-11-24T12:00:00Z"),
        );
        assert_eq!(week.len(), 1);
    }

    #[test]
    fn both_the_deployments_and_the_groups_window_have_to_be_open() {
        check(
            &["mon-fri 22:00 4h", "sat,sun,mon 00:00 1day"],
            "2026-11-24T12:00:00Z",
            &[
                // From Friday to Saturday, and on Monday evening.
                ("2026-11-28T00:00:00Z", "2026-11-28T02:00:00Z"),
                ("2026-11-30T22:00:00Z", "2026-12-01T00:00:00Z"),
            ],
        );
        check(
            &["mon 10:00 1h", "tue 10:00 1h"],
            "2026-11-24T12:00:00Z",
            &[],
        );
    }

    proptest! {
        #[test]
        fn it_is_told_exactly_when_all_are_open(
            start in 0_u32..1440, other in 0_u32..1440, length in 1_u32..3000, now in 1_500_000_000_000_i64..2_500_000_000_000, later in 0_i64..3_000_000_000,
        ) {
            let window = |start: u32, days: &str| -> Window {
                format!("{days} {:02}:{:02} {length}m Europe/Berlin", start / 60, start % 60).parse().unwrap()
            };
            let (one, two) = (window(start, "mon,wed-fri"), window(other, "daily"));
            let told = openings(&[&one, &two], now);
            for pair in told.windows(2) {
                prop_assert!(pair[0].until.millis() <= pair[1].from.millis());
            }
            let at = now + later;
            if told.last().is_some_and(|last| at < last.until.millis()) {
                let open = told.iter().any(|one| one.from.millis() <= at && at < one.until.millis());
                prop_assert_eq!(open, one.is_open(at) && two.is_open(at));
            }
        }
    }
}
