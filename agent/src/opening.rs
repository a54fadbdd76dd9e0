//! Maintenance windows: when a deployment may be installed. The server names the times, so that the device needs no time
//! zones; until then the artifact has been fetched and waits. The decision is pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_api::Timestamp;

/// A time in which installing may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Opening {
    /// When it begins, milliseconds since 1970.
    pub(crate) from: i64,
    /// When it is over.
    pub(crate) until: i64,
}

/// How many are remembered; what a server says beyond that does not count.
pub(crate) const MOST: usize = 64;

/// The longest wait. Meanwhile the device does nothing else that the server wants.
const LONGEST: Duration = Duration::from_secs(35 * 24 * 3600);

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Install.
    Now,
    /// Install: the clock shows a time before the offer was made, so it cannot tell.
    ClockIsWrong,
    /// Wait until this time, which is so far away.
    Wait(Timestamp, Duration),
    /// There is no time any more.
    Over,
}

/// What to do at `now` with a deployment that may be installed in `openings`, which are in order; the first of them was
/// open when the offer was made. Without any, any time is right.
pub(crate) fn turn(openings: &[Opening], now: Timestamp) -> Turn {
    let now = now.millis();
    let Some(first) = openings.first() else {
        return Turn::Now;
    };
    if now < first.from {
        return Turn::ClockIsWrong;
    }
    let Some(next) = openings.iter().find(|opening| now < opening.until) else {
        return Turn::Over;
    };
    if next.from <= now {
        return Turn::Now;
    }
    let wait = u64::try_from(next.from.saturating_sub(now)).unwrap_or(0);
    match Duration::from_millis(wait) {
        wait if wait > LONGEST => Turn::Over,
        wait => Turn::Wait(Timestamp::from_millis(next.from), wait),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[track_caller]
    fn check(openings: &[(i64, i64)], hour: i64, expected: Turn) {
        let openings: Vec<Opening> = openings
            .iter()
            .map(|(from, until)| Opening {
                from: from * HOUR,
                until: until * HOUR,
            })
            .collect();
        let now = Timestamp::from_millis(hour * HOUR);
        assert_eq!(turn(&openings, now), expected, "{openings:?} at {hour}");
    }

    #[test]
    fn it_waits_for_the_next_opening_and_not_for_ever() {
        let nights = [(22, 26), (46, 50)];
        check(&[], 5, Turn::Now);
        check(&nights, 22, Turn::Now);
        check(&nights, 25, Turn::Now);
        let wait = |hours: u64| {
            Turn::Wait(
                Timestamp::from_millis(46 * HOUR),
                Duration::from_secs(hours * 3600),
            )
        };
        check(&nights, 26, wait(20));
        check(&nights, 45, wait(1));
        check(&nights, 49, Turn::Now);
        check(&nights, 50, Turn::Over);
        // A clock that was never set.
        check(&nights, 0, Turn::ClockIsWrong);
        // Whoever names a time in months does not block the device until then.
        check(&[(22, 26), (22 + 36 * 24, 26 + 36 * 24)], 26, Turn::Over);
        // One that ends before it begins is none.
        check(
            &[(22, 26), (50, 40), (60, 61)],
            48,
            Turn::Wait(
                Timestamp::from_millis(60 * HOUR),
                Duration::from_secs(12 * 3600),
            ),
        );
    }
}
