//! A chart of how deployments ended, day by day, as the shapes of an SVG. Pure.

use tandem_api::DeploymentStatus;

use super::wording::{count, grouped};
use crate::store::DayOutcomes;
use tandem_api::Timestamp;

/// Days that are shown.
pub(super) const DAYS: i64 = 30;

/// Height of the chart, and width and distance of its bars; units of the SVG.
const HEIGHT: u64 = 96;
const WIDTH: u64 = 14;
const PITCH: u64 = 20;

const DAY: i64 = 24 * 60 * 60 * 1000;

/// The chart.
pub(super) struct Chart {
    /// A bar for each day.
    pub(super) bars: Vec<Bar>,
    /// What the highest bar stands for.
    pub(super) highest: String,
    /// Width of all bars.
    pub(super) width: u64,
    /// The first day.
    pub(super) first: String,
    /// In words, for those who do not see it.
    pub(super) summary: String,
}

/// What one day brought: updated devices, and failures above them.
pub(super) struct Bar {
    pub(super) x: u64,
    pub(super) ok: Span,
    pub(super) bad: Span,
    /// In words.
    pub(super) title: String,
}

/// A part of a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) y: u64,
    pub(super) height: u64,
}

impl Chart {
    /// Of the days up to `today` (days since 1970); `None` if nothing happened in them.
    pub(super) fn new(outcomes: &[DayOutcomes], today: i64) -> Option<Self> {
        let first = today.saturating_sub(DAYS).saturating_add(1);
        let of = |day: i64, status: DeploymentStatus| -> u64 {
            let matching = outcomes
                .iter()
                .find(|one| one.day == day && one.status == status);
            matching.map_or(0, |one| one.devices)
        };
        let days: Vec<(i64, u64, u64)> = (first..=today)
            .map(|day| {
                (
                    day,
                    of(day, DeploymentStatus::Success),
                    of(day, DeploymentStatus::Failure),
                )
            })
            .collect();
        let highest = days
            .iter()
            .map(|(_, ok, bad)| ok.saturating_add(*bad))
            .max()?;
        if highest == 0 {
            return None;
        }
        // What is not nothing can be seen.
        let scale = |devices: u64| match devices {
            0 => 0,
            devices => devices
                .saturating_mul(HEIGHT)
                .checked_div(highest)
                .map_or(2, |height| height.max(2)),
        };
        let bars = (0..).zip(&days).map(|(n, (day, ok, bad))| {
            let (green, red) = (scale(*ok), scale(*bad));
            let top = HEIGHT.saturating_sub(green);
            Bar {
                x: PITCH.saturating_mul(n),
                ok: Span {
                    y: top,
                    height: green,
                },
                bad: Span {
                    y: top.saturating_sub(red),
                    height: red,
                },
                title: format!(
                    "{}: {} updated, {} failed",
                    date(*day),
                    grouped(*ok),
                    grouped(*bad)
                ),
            }
        });
        let sum =
            |pick: fn(&(i64, u64, u64)) -> u64| days.iter().map(pick).fold(0, u64::saturating_add);
        let (ok, bad) = (sum(|day| day.1), sum(|day| day.2));
        Some(Self {
            bars: bars.collect(),
            highest: grouped(highest),
            width: PITCH
                .saturating_mul(u64::try_from(days.len()).unwrap_or_default())
                .saturating_sub(PITCH.saturating_sub(WIDTH)),
            first: date(first),
            summary: format!(
                "In the last {DAYS} days: {} updated, {} failed",
                count(ok, "device"),
                grouped(bad)
            ),
        })
    }
}

/// `2026-11-23`
fn date(day: i64) -> String {
    let mut text = Timestamp::from_millis(day.saturating_mul(DAY)).to_string();
    text.truncate(10);
    text
}

/// Shares of a whole as parts of a bar of 1000 units, in order; what is not nothing is at least 4 wide.
pub(super) fn shares(parts: &[(u64, &'static str)]) -> Vec<Share> {
    let whole = parts
        .iter()
        .map(|(part, _)| *part)
        .fold(0, u64::saturating_add);
    let mut x: u64 = 0;
    let mut shares = Vec::new();
    for (part, class) in parts {
        if *part == 0 {
            continue;
        }
        let width = part
            .saturating_mul(1000)
            .checked_div(whole)
            .unwrap_or(0)
            .max(4);
        shares.push(Share { x, width, class });
        x = x.saturating_add(width);
    }
    shares
}

/// A part of a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) x: u64,
    pub(super) width: u64,
    pub(super) class: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_day_has_a_bar_and_the_highest_is_full() {
        let outcome = |day, status, devices| DayOutcomes {
            day,
            status,
            devices,
        };
        let outcomes = [
            outcome(100, DeploymentStatus::Success, 10),
            outcome(100, DeploymentStatus::Failure, 10),
            outcome(99, DeploymentStatus::Failure, 1),
            outcome(98, DeploymentStatus::Aborted, 500),
            outcome(3, DeploymentStatus::Success, 900),
        ];
        let chart = Chart::new(&outcomes, 100).unwrap();
        assert_eq!(chart.bars.len(), 30);
        let last = chart.bars.last().unwrap();
        assert_eq!(
            (last.ok, last.bad),
            (Span { y: 48, height: 48 }, Span { y: 0, height: 48 })
        );
        assert_eq!(chart.bars[28].bad, Span { y: 92, height: 4 });
        assert_eq!(chart.bars[27].ok.height, 0);
        assert_eq!(
            chart.summary,
            "In the last 30 days: 10 devices updated, 11 failed"
        );
        assert!(Chart::new(&outcomes[4..], 100).is_none());
    }

    #[test]
    fn shares_fill_the_bar() {
        let shares = shares(&[(1, "a"), (0, "b"), (3, "c")]);
        let found: Vec<_> = shares
            .iter()
            .map(|share| (share.x, share.width, share.class))
            .collect();
        assert_eq!(found, [(0, 250, "a"), (250, 750, "c")]);
    }
}
