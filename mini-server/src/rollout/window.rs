//! Maintenance windows: at which times devices may be given something. Pure; the time zones are within the program.
//!
//! ```text
//! mon-fri 22:00 4h Europe/Berlin
//! days    begin length whose clock
//! ```
//!
//! It begins at that time of the local clock, on the days that are named, and is open for its length as a stopwatch
//! counts it. Where the clock skips the time it begins as much later; where the clock shows it twice it begins at the
//! first.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::civil::{Date, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};
use tandem_api::management::MaintenanceWindow;

/// A window that opens again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The days on which it begins: bit 0 is Monday.
    days: u8,
    /// When it begins, minutes after midnight.
    start: u16,
    /// How long it is open, minutes.
    length: u32,
    /// Whose clock counts.
    zone: String,
}

/// As they are written, in order.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const EVERY_DAY: u8 = 0b111_1111;

/// A week, minutes: what is longer is no window.
const LONGEST: u32 = 7 * 24 * 60;

const MINUTE: i64 = 60_000;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

impl Window {
    fn new(days: u8, start: u16, length: u32, zone: &str) -> Result<Self, String> {
        if !(1..=LONGEST).contains(&length) {
            return Err("a maintenance window is open for a minute to a week".to_owned());
        }
        if ZONES.get(zone).is_err() {
            return Err(format!(
                "there is no time zone {zone:?}; one is written like Europe/Berlin"
            ));
        }
        Ok(Self {
            days: if days == 0 { EVERY_DAY } else { days },
            start,
            length,
            zone: zone.to_owned(),
        })
    }

    /// As it goes over the wire.
    ///
    /// # Errors
    /// With the reason, if it makes no sense.
    pub fn from_wire(wire: &MaintenanceWindow) -> Result<Self, String> {
        let mut days = 0;
        for day in &wire.days {
            days |= bit(day_number(day)?);
        }
        let zone = match wire.time_zone.as_str() {
            "" => "UTC",
            zone => zone,
        };
        Self::new(days, clock(&wire.start)?, wire.duration_minutes, zone)
    }

    /// The same for the wire.
    #[must_use]
    pub fn to_wire(&self) -> MaintenanceWindow {
        let named = self.days != EVERY_DAY;
        MaintenanceWindow {
            days: self
                .days()
                .filter(|_| named)
                .map(|(_, name)| name.to_owned())
                .collect(),
            start: self.clock(),
            duration_minutes: self.length,
            time_zone: self.zone.clone(),
        }
    }

    /// Whether it is open at `now`, ms.
    #[must_use]
    pub fn is_open(&self, now: i64) -> bool {
        let length = i64::from(self.length).saturating_mul(MINUTE);
        self.beginnings(now).is_some_and(|all| {
            all.into_iter()
                .any(|at| at <= now && now.saturating_sub(at) < length)
        })
    }

    /// When it opens next after `now`, ms. `None` if the time zone is not known any more, or the world ends before.
    #[must_use]
    pub fn opens(&self, now: i64) -> Option<i64> {
        self.beginnings(now)?.into_iter().find(|at| *at > now)
    }

    /// When it is open from `now` on, ms, in order: the time that may have begun already, and the next ones.
    pub fn openings(&self, now: i64) -> impl Iterator<Item = (i64, i64)> {
        let length = i64::from(self.length).saturating_mul(MINUTE);
        let first = now.saturating_sub(length);
        std::iter::successors(self.opens(first), |at| self.opens(*at))
            .map(move |at| (at, at.saturating_add(length)))
            .filter(move |(_, until)| *until > now)
    }

    /// The times around `now` at which it begins: those that may still last, and the next ones. In order.
    fn beginnings(&self, now: i64) -> Option<Vec<i64>> {
        let zone = ZONES.get(&self.zone).ok()?;
        let today = zone
            .to_datetime(jiff::Timestamp::from_millisecond(now).ok()?)
            .date();
        let mut day = today;
        for _ in 0..DAYS_BACK {
            day = day.yesterday().ok()?;
        }
        let mut found = Vec::new();
        for _ in 0..DAYS_BACK.saturating_add(DAYS_AHEAD) {
            found.extend(self.begins_on(day, &zone));
            day = day.tomorrow().ok()?;
        }
        Some(found)
    }

    fn begins_on(&self, day: Date, zone: &TimeZone) -> Option<i64> {
        if self.days & bit(number_of(day.weekday())) == 0 {
            return None;
        }
        let hour = i8::try_from(self.start / 60).ok()?;
        let minute = i8::try_from(self.start % 60).ok()?;
        let at = zone.to_timestamp(day.at(hour, minute, 0, 0)).ok()?;
        Some(at.as_millisecond())
    }

    /// Its days with their numbers.
    fn days(&self) -> impl Iterator<Item = (u8, &'static str)> {
        let days = self.days;
        (0_u8..).zip(DAYS).filter(move |(n, _)| days & bit(*n) != 0)
    }

    fn clock(&self) -> String {
        format!("{:02}:{:02}", self.start / 60, self.start % 60)
    }
}

/// The longest window may have begun a week ago, and a day more for the turns of clocks.
const DAYS_BACK: u8 = 8;
/// Today, a week, and a day on which the clock skipped midnight.
const DAYS_AHEAD: u8 = 9;

fn bit(day: u8) -> u8 {
    1_u8.checked_shl(day.into()).unwrap_or(0)
}

fn number_of(day: Weekday) -> u8 {
    u8::try_from(day.to_monday_zero_offset()).unwrap_or(0)
}

fn day_number(name: &str) -> Result<u8, String> {
    let lower = name.to_ascii_lowercase();
    (0_u8..)
        .zip(DAYS)
        .find(|(_, day)| *day == lower)
        .map(|(n, _)| n)
        .ok_or_else(|| format!("a day is one of {}, not {name:?}", DAYS.join(", ")))
}

/// `22:30` as minutes after midnight.
fn clock(text: &str) -> Result<u16, String> {
    let parsed = text.split_once(':').and_then(|(hour, minute)| {
        let digits =
            |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(hour) || !digits(minute) {
            return None;
        }
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour < 24 && minute < 60).then(|| hour.saturating_mul(60).saturating_add(minute))
    });
    parsed.ok_or_else(|| format!("a time of the day is written like 22:30, not {text:?}"))
}

impl FromStr for Window {
    type Err = String;

    /// `[mon-fri,sun] 22:00 4h [Europe/Berlin]`
    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace().peekable();
        let mut days = 0;
        if let Some(list) = words.next_if(|word| !word.contains(':'))
            && list != "daily"
        {
            for part in list.split(',') {
                days |= match part.split_once('-') {
                    None => bit(day_number(part)?),
                    Some((first, last)) => span(day_number(first)?, day_number(last)?),
                };
            }
        }
        let (Some(start), Some(length)) = (words.next(), words.next()) else {
            return Err(format!(
                "a maintenance window is written like \"mon-fri 22:00 4h Europe/Berlin\", not {text:?}"
            ));
        };
        let length = minutes(length)?;
        let zone = words.next().unwrap_or("UTC");
        if let Some(more) = words.next() {
            return Err(format!("what is {more:?} after the time zone?"));
        }
        Self::new(days, clock(start)?, length, zone)
    }
}

/// The days from one to another, which may go over Sunday.
fn span(first: u8, last: u8) -> u8 {
    let mut days = 0;
    let mut day = first;
    for _ in DAYS {
        days |= bit(day);
        if day == last {
            break;
        }
        day = if day >= 6 { 0 } else { day.saturating_add(1) };
    }
    days
}

fn minutes(text: &str) -> Result<u32, String> {
    let length = humantime::parse_duration(text)
        .map_err(|err| format!("a length is written like 4h or 90m, not {text:?}: {err}"))?;
    u32::try_from(length.as_secs() / 60).map_err(|_| format!("{text} is too long for a window"))
}

impl fmt::Display for Window {
    /// As it is read from text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days == EVERY_DAY {
            f.write_str("daily")?;
        } else {
            let names: Vec<&str> = self.days().map(|(_, name)| name).collect();
            f.write_str(&names.join(","))?;
        }
        let length = Duration::from_secs(u64::from(self.length).saturating_mul(60));
        let length = humantime::format_duration(length).to_string();
        write!(
            f,
            " {} {} {}",
            self.clock(),
            length.replace(' ', ""),
            self.zone
        )
    }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "times of a test, far from the ends"
)]
mod tests {
    use proptest::prelude::*;
    use tandem_api::Timestamp;

    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().millis()
    }

    #[track_caller]
    fn check(window: &str, now: &str, open: bool, next: &str) {
        let parsed: Window = window.parse().unwrap();
        assert_eq!(parsed.is_open(at(now)), open, "{window} at {now}");
        let found = parsed
            .opens(at(now))
            .map(|ms| Timestamp::from_millis(ms).to_string());
        assert_eq!(found.as_deref(), Some(next), "{window} after {now}");
    }

    #[test]
    fn it_is_open_by_the_clock_of_its_place() {
        // 2026-11-24 is a Tuesday.
        let night = "mon-fri 22:00 4h Europe/Berlin";
        check(night, "2026-11-24T20:59:59Z", false, "2026-11-24T21:00:00Z");
        check(night, "2026-11-24T21:00:00Z", true, "2026-11-25T21:00:00Z");
        // After midnight it is still the window of the day before.
        check(night, "2026-11-28T00:59:59Z", true, "2026-11-30T21:00:00Z");
        check(night, "2026-11-28T01:00:00Z", false, "2026-11-30T21:00:00Z");
        check(
            "sun 03:00 1h",
            "2026-11-24T00:00:00Z",
            false,
            "2026-11-29T03:00:00Z",
        );
        check(
            "mon 00:00 7days",
            "2026-11-29T23:59:59Z",
            true,
            "2026-11-30T00:00:00Z",
        );
    }

    #[test]
    fn clocks_that_turn_neither_lose_it_nor_stretch_it() {
        // 02:30 is not there on 29 March 2026 in Berlin: an hour later.
        let window = "daily 02:30 1h Europe/Berlin";
        check(
            window,
            "2026-03-29T01:29:59Z",
            false,
            "2026-03-29T01:30:00Z",
        );
        check(window, "2026-03-29T01:30:00Z", true, "2026-03-30T00:30:00Z");
        // 02:30 is there twice on 25 October: the first, and only an hour long.
        check(window, "2026-10-25T00:30:00Z", true, "2026-10-26T01:30:00Z");
        check(
            window,
            "2026-10-25T01:30:00Z",
            false,
            "2026-10-26T01:30:00Z",
        );
    }

    #[test]
    fn what_is_no_window_is_refused_with_a_reason() {
        for text in [
            "",
            "22:00",
            "22:00 0m",
            "22:00 8days",
            "24:00 1h",
            "22:60 1h",
            "2200 1h",
            "+1:00 1h",
            "noday 22:00 1h",
            "22:00 1h Nowhere/Atlantis",
            "22:00 1h UTC more",
            "22:00 x",
            "22:00 1h ../../etc/passwd",
        ] {
            let refused = text.parse::<Window>();
            assert!(refused.is_err(), "{text:?} {refused:?}");
        }
        let wire = MaintenanceWindow {
            start: "1:00".to_owned(),
            ..MaintenanceWindow::default()
        };
        assert!(Window::from_wire(&wire).is_err());
    }

    prop_compose! {
        fn windows()(days in 0_u8..128, start in 0_u16..1440, length in 1_u32..=LONGEST,
                     zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe"]))
                    -> Window {
            Window::new(days, start, length, zone).unwrap()
        }
    }

    proptest! {
        #[test]
        fn a_window_is_the_same_after_text_wire_and_storage(window in windows()) {
            prop_assert_eq!(&window.to_string().parse::<Window>().unwrap(), &window);
            prop_assert_eq!(&Window::from_wire(&window.to_wire()).unwrap(), &window);
            let stored = serde_json::to_string(&window).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Window>(&stored).unwrap(), &window);
        }

        #[test]
        fn it_opens_when_it_says_and_stays_open_for_its_length(window in windows(), now in 1_500_000_000_000_i64..2_500_000_000_000) {
            let next = window.opens(now).unwrap();
            prop_assert!(next > now);
            prop_assert!(next - now <= 9 * 24 * 60 * MINUTE);
            prop_assert!(window.is_open(next));
            prop_assert!(window.is_open(next + i64::from(window.length) * MINUTE - 1));
            if !window.is_open(now) {
                // Nothing opens before it says.
                prop_assert!(!window.is_open(now + (next - now) / 2));
                prop_assert!(!window.is_open(next - 1));
            }
        }
    }
}
