//! Points in time, written as RFC 3339 in UTC.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time, in milliseconds since 1970 (UTC, no leap seconds), from the year 0 to the year 9999.
///
/// Written as `2026-11-23T08:03:37.125Z`, without the fraction if that is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The year 0 and the end of the year 9999: what RFC 3339 can write.
const RANGE: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;
const DAY: i64 = 86_400_000;

impl Timestamp {
    /// From milliseconds since 1970; what is out of range becomes the nearest that is not.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(*RANGE.start(), *RANGE.end()))
    }

    /// From seconds since 1970; what is out of range becomes the nearest that is not.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This many milliseconds later.
    #[must_use]
    pub fn plus_millis(self, millis: i64) -> Self {
        Self::from_millis(self.0.saturating_add(millis))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let millis =
            |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => millis(after),
            Err(before) => millis(before.duration()).saturating_neg(),
        })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0.div_euclid(DAY));
        let rest = self.0.rem_euclid(DAY);
        let (seconds, millis) = (rest / 1000, rest % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        if millis != 0 {
            write!(f, ".{millis:03}")?;
        }
        f.write_str("Z")
    }
}

/// Text that is no RFC 3339 time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotATimestamp;

impl fmt::Display for NotATimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a time as RFC 3339 writes it: 2026-11-23T08:03:37Z")
    }
}

impl std::error::Error for NotATimestamp {}

impl FromStr for Timestamp {
    type Err = NotATimestamp;

    /// Any offset from UTC is understood; of a fraction only milliseconds are kept; a leap second is the second before.
    fn from_str(text: &str) -> Result<Self, NotATimestamp> {
        parse(text.as_bytes()).ok_or(NotATimestamp)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[expect(
    clippy::arithmetic_side_effects,
    reason = "every term has at most four digits"
)]
fn parse(text: &[u8]) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(10)?;
    let (separator, rest) = rest.split_first()?;
    let (time, rest) = rest.split_at_checked(8)?;
    let [year @ .., b'-', m1, m2, b'-', d1, d2] = date else {
        return None;
    };
    let [h1, h2, b':', n1, n2, b':', s1, s2] = time else {
        return None;
    };
    if !matches!(separator, b'T' | b't' | b' ') {
        return None;
    }
    let year = number(year)?;
    let (month, day) = (number(&[*m1, *m2])?, number(&[*d1, *d2])?);
    let (hour, minute) = (number(&[*h1, *h2])?, number(&[*n1, *n2])?);
    let second = number(&[*s1, *s2])?;
    let days = days(year, month, day);
    if hour > 23 || minute > 59 || second > 60 || civil(days) != (year, month, day) {
        return None;
    }
    let (millis, offset) = fraction(rest)?;
    let offset = match offset {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = (hours * 60 + minutes) * 60_000;
            if *sign == b'+' { offset } else { -offset }
        }
        _ => return None,
    };
    let seconds = (hour * 60 + minute) * 60 + second.min(59);
    let utc = days * DAY + seconds * 1000 + millis - offset;
    RANGE.contains(&utc).then_some(Timestamp(utc))
}

/// Milliseconds of `.123...`, if it is there, and what stands behind it.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(text) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let end = text.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = text.split_at_checked(end)?;
    let mut padded = digits.iter().copied().chain([b'0'; 3]);
    let millis = number(&[padded.next()?, padded.next()?, padded.next()?])?;
    (!digits.is_empty()).then_some((millis, rest))
}

/// A number of decimal digits and nothing else.
fn number(digits: &[u8]) -> Option<i64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Days since 1970 of a date in the proleptic Gregorian calendar. Years begin in March here, so that the leap day is
/// the last of its year; 400 years always have the same number of days.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "years have at most four digits"
)]
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * DAYS_OF_ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - DAYS_BEFORE_1970
}

/// Year, month and day of a number of days since 1970: the inverse of [`days`].
#[expect(
    clippy::arithmetic_side_effects,
    reason = "years have at most four digits"
)]
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_BEFORE_1970;
    let (era, of_era) = (days.div_euclid(DAYS_OF_ERA), days.rem_euclid(DAYS_OF_ERA));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = year + era * 400;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

const DAYS_OF_ERA: i64 = 146_097;
/// From the first of March of the year 0.
const DAYS_BEFORE_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, written: &str) {
        let time: Timestamp = text.parse().unwrap();
        assert_eq!(time.to_string(), written);
        assert_eq!(written.parse(), Ok(time));
    }

    #[test]
    fn times_are_written_in_utc() {
        check("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z");
        check("2026-11-23T08:03:37Z", "2026-11-23T08:03:37Z");
        check("2026-11-23T08:03:37.123456789Z", "2026-11-23T08:03:37.123Z");
        check("2026-11-23t08:03:37.1z", "2026-11-23T08:03:37.100Z");
        check("2024-02-29T23:59:60+23:59", "2024-02-29T00:00:59Z");
        check("2000-03-01T00:00:00+00:30", "2000-02-29T23:30:00Z");
        check("1900-02-28T23:00:00-01:30", "1900-03-01T00:30:00Z");
        check("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z");
        check("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn nothing_else_is_a_time() {
        for wrong in [
            "",
            "2026-11-23",
            "2026-11-23T08:03:37",
            "2026-11-23T08:03:37.Z",
            "2026-11-23T08:03:37.5",
            "2026-02-29T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-00T00:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T08:60:00Z",
            "2026-11-23T08:03:61Z",
            "+026-11-23T08:03:37Z",
            "2026-11-23T08:03:37+24:00",
            "2026-11-23T08:03:37+1:00",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "2026-11-23T08:03:37é",
            "２026-11-23T08:03:37Z",
        ] {
            assert_eq!(wrong.parse::<Timestamp>(), Err(NotATimestamp), "{wrong}");
        }
    }

    #[test]
    fn every_day_of_eight_centuries_follows_the_one_before() {
        let mut last = civil(days(1599, 12, 31));
        for day in days(1600, 1, 1)..=days(2400, 1, 1) {
            let (year, month, date) = civil(day);
            assert_eq!(days(year, month, date), day);
            assert!(
                (year, month, date) == (last.0, last.1, last.2 + 1)
                    || date == 1 && (month == last.1 + 1 || (month, last.1) == (1, 12)),
                "{last:?} {year} {month} {date}"
            );
            last = (year, month, date);
        }
    }

    #[test]
    fn what_is_out_of_range_is_brought_into_it() {
        assert_eq!(
            Timestamp::from_seconds(i64::MAX).to_string(),
            "9999-12-31T23:59:59.999Z"
        );
        assert_eq!(
            Timestamp::from_millis(i64::MIN).to_string(),
            "0000-01-01T00:00:00Z"
        );
        assert_eq!(Timestamp::from_millis(-1).seconds(), -1);
    }
}
