//! How many failures stop a deployment. Pure.

use serde::{Deserialize, Serialize};
use tandem_api::management::StopOnFailures;

/// What is reached first stops it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threshold {
    /// This many devices failed.
    count: Option<u64>,
    /// This many percent failed of the devices that either failed or were updated.
    percent: Option<u8>,
    /// The percentage counts from this many devices on: one of one is no rate.
    minimum: u64,
    /// Lost devices count as if it had failed on them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    lost: bool,
}

/// From how many devices on a percentage counts, if nobody says.
const MINIMUM: u64 = 10;

impl Threshold {
    /// As it goes over the wire.
    ///
    /// # Errors
    /// With the reason, if it makes no sense.
    pub fn from_wire(wire: &StopOnFailures) -> Result<Self, String> {
        if wire.count.is_none() && wire.percent.is_none() {
            return Err(
                "failures stop a deployment by count or by percent: neither is given".to_owned(),
            );
        }
        if wire.count == Some(0) {
            return Err("no failures cannot stop a deployment: the count is 1 or more".to_owned());
        }
        if wire
            .percent
            .is_some_and(|percent| !(1..=100).contains(&percent))
        {
            return Err("the percentage of failures is from 1 to 100".to_owned());
        }
        Ok(Self {
            count: wire.count,
            percent: wire.percent,
            minimum: wire.minimum.unwrap_or(MINIMUM),
            lost: wire.lost,
        })
    }

    /// The same for the wire.
    #[must_use]
    pub fn to_wire(&self) -> StopOnFailures {
        StopOnFailures {
            count: self.count,
            percent: self.percent,
            minimum: self.percent.map(|_| self.minimum),
            lost: self.lost,
        }
    }

    /// Why it stops a deployment that failed on `failed` devices, lost `lost` and succeeded on `updated`; `None` if it
    /// does not.
    #[must_use]
    pub fn reached(&self, failed: u64, lost: u64, updated: u64) -> Option<String> {
        let lost = if self.lost { lost } else { 0 };
        let bad = failed.saturating_add(lost);
        let what = match lost {
            0 => "failed on".to_owned(),
            _ if failed == 0 => "lost".to_owned(),
            _ => format!("failed on {failed} and lost {lost}, together"),
        };
        if self.count.is_some_and(|count| bad >= count) {
            return Some(format!("it {what} {}", devices(bad)));
        }
        let percent = self.percent?;
        let done = bad.saturating_add(updated);
        let too_many = bad > 0
            && done >= self.minimum
            && bad.saturating_mul(100) >= done.saturating_mul(percent.into());
        too_many.then(|| {
            format!(
                "it {what} {bad} of {}, which is {percent} % or more",
                devices(done)
            )
        })
    }
}

/// When failures stop a deployment, as people write it: `3`, `10%`, or both with a comma between them; with `lost` if
/// devices that are lost count as well.
///
/// # Errors
/// With the reason, if it is not written so.
pub fn parse_stop(text: &str) -> Result<StopOnFailures, String> {
    let wrong = |_| format!("{text:?} is no number of failures: one is written like 3 or 10%");
    let mut stop = StopOnFailures::default();
    for part in text.split(',').map(str::trim) {
        if part == "lost" {
            stop.lost = true;
            continue;
        }
        match part.strip_suffix('%') {
            Some(percent) => stop.percent = Some(percent.trim().parse().map_err(wrong)?),
            None => stop.count = Some(part.parse().map_err(wrong)?),
        }
    }
    Ok(stop)
}

fn devices(number: u64) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} device{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        count: Option<u64>,
        percent: Option<u8>,
        failed: u64,
        updated: u64,
        expected: Option<&str>,
    ) {
        let threshold = Threshold {
            count,
            percent,
            minimum: MINIMUM,
            lost: false,
        };
        // Who is lost does not count unless somebody says so.
        let reached = threshold.reached(failed, 1000, updated);
        assert_eq!(reached.as_deref(), expected);
    }

    #[test]
    fn lost_devices_count_where_somebody_says_so() {
        let threshold = Threshold {
            count: Some(3),
            percent: Some(50),
            minimum: MINIMUM,
            lost: true,
        };
        let check = |failed, lost, updated, expected: Option<&str>| {
            let reached = threshold.reached(failed, lost, updated);
            assert_eq!(reached.as_deref(), expected);
        };
        check(1, 1, 0, None);
        check(3, 0, 0, Some("it failed on 3 devices"));
        check(0, 3, 0, Some("it lost 3 devices"));
        check(
            2,
            1,
            0,
            Some("it failed on 2 and lost 1, together 3 devices"),
        );
        let rate = Threshold {
            count: None,
            ..threshold
        };
        assert_eq!(
            rate.reached(2, 3, 5).as_deref(),
            Some("it failed on 2 and lost 3, together 5 of 10 devices, which is 50 % or more")
        );
        assert_eq!(rate.reached(2, 2, 6), None);
    }

    #[test]
    fn a_count_stops_at_once_and_a_rate_when_there_is_one() {
        check(Some(3), None, 2, 100, None);
        check(Some(3), None, 3, 100, Some("it failed on 3 devices"));
        check(Some(1), None, 1, 0, Some("it failed on 1 device"));
        check(None, Some(10), 9, 0, None);
        check(
            None,
            Some(10),
            1,
            9,
            Some("it failed on 1 of 10 devices, which is 10 % or more"),
        );
        check(None, Some(10), 1, 10, None);
        check(
            None,
            Some(100),
            10,
            0,
            Some("it failed on 10 of 10 devices, which is 100 % or more"),
        );
        check(None, Some(1), 0, 1000, None);
        check(Some(5), Some(50), 5, 100, Some("it failed on 5 devices"));
    }

    #[test]
    fn a_threshold_is_read() {
        let stop = |count, percent| StopOnFailures {
            count,
            percent,
            minimum: None,
            lost: false,
        };
        let lost = StopOnFailures {
            lost: true,
            ..stop(Some(3), None)
        };
        assert_eq!(parse_stop("3,lost"), Ok(lost));
        assert_eq!(parse_stop("3"), Ok(stop(Some(3), None)));
        assert_eq!(parse_stop("3, 10 %"), Ok(stop(Some(3), Some(10))));
        for text in ["", "x", "-1", "300%", "1;2"] {
            assert!(parse_stop(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_threshold_that_is_none_is_refused() {
        let wire = |count, percent| StopOnFailures {
            count,
            percent,
            minimum: None,
            lost: false,
        };
        for bad in [
            wire(None, None),
            wire(Some(0), None),
            wire(None, Some(0)),
            wire(None, Some(101)),
        ] {
            assert!(Threshold::from_wire(&bad).is_err(), "{bad:?}");
        }
        let good = wire(Some(2), None);
        assert_eq!(Threshold::from_wire(&good).unwrap().to_wire(), good);
    }
}
