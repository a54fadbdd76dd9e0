//! May a device begin now? The one place where that is decided. Pure.

use std::fmt;

use tandem_api::{DeploymentStatus, Timestamp};

use super::phase::{Next, standing};
use super::plan::Plan;
use super::progress::{Progress, StoppedBy};
use super::window::Window;

/// Why a device is not given something now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// It is stopped.
    Stopped {
        /// By whom.
        by: StoppedBy,
        /// Why, for people.
        reason: String,
    },
    /// Its first phase, or the device's, is still to come.
    Phase {
        /// Which, from 1.
        number: usize,
        /// What the next one waits for.
        next: Next,
    },
    /// All that may have begun in this phase have.
    Full {
        /// Which, from 1.
        number: usize,
        /// What the next one waits for.
        next: Next,
    },
    /// So many are at it, and no more may be.
    Cap(u64),
    /// The maintenance window is closed.
    Closed {
        /// When it opens, ms.
        opens: Option<i64>,
        /// Whether it is the group's.
        of_group: bool,
    },
}

/// What of a device matters.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asker<'a> {
    /// How far it is with the deployment; `None` if it has not begun.
    pub status: Option<DeploymentStatus>,
    /// It has begun, and given its place up: it was not heard of for long.
    pub lost: bool,
    /// The phase in which it may begin first.
    pub earliest: usize,
    /// The window of its group.
    pub window: Option<&'a Window>,
}

/// Why a device is not given an artifact now; `None` if it is.
///
/// Who has begun is not stopped half-way, but gets nothing outside a window either: a download that broke off waits for
/// the next one. Who is lost waits for a place like one that has not begun, but not for a phase: it was counted in one.
#[must_use]
pub fn hold(plan: &Plan, progress: &Progress, asker: Asker<'_>, now: i64) -> Option<Held> {
    for (window, of_group) in [(plan.window.as_ref(), false), (asker.window, true)] {
        if let Some(window) = window.filter(|window| !window.is_open(now)) {
            return Some(Held::Closed {
                opens: window.opens(now),
                of_group,
            });
        }
    }
    let has_place = asker.status.is_some() && !asker.lost;
    if has_place && asker.status != Some(DeploymentStatus::Pending) {
        return None;
    }
    if let Some(halt) = &progress.halt {
        return Some(Held::Stopped {
            by: halt.by,
            reason: halt.reason.clone(),
        });
    }
    if has_place {
        return None;
    }
    if asker.status.is_none() && !plan.phases.is_empty() {
        let standing = standing(&plan.phases, progress, now);
        let Some(current) = standing.begun.checked_sub(1) else {
            return Some(Held::Phase {
                number: 1,
                next: standing.next,
            });
        };
        if asker.earliest > current {
            return Some(Held::Phase {
                number: asker.earliest.saturating_add(1),
                next: standing.next,
            });
        }
        let limit = plan.phases.get(current).and_then(|phase| phase.limit);
        if limit.is_some_and(|limit| progress.started >= limit) {
            return Some(Held::Full {
                number: standing.begun,
                next: standing.next,
            });
        }
    }
    let cap = plan.cap.filter(|cap| progress.active >= *cap);
    cap.map(Held::Cap)
}

impl Held {
    /// Until when it holds whatever else happens to devices, ms; `i64::MAX` if only a person can change it, `None` if
    /// what other devices do can.
    #[must_use]
    pub fn until(&self) -> Option<i64> {
        match self {
            Self::Stopped { .. } => Some(i64::MAX),
            Self::Closed { opens, .. } => Some(opens.unwrap_or(i64::MAX)),
            Self::Phase { next, .. } | Self::Full { next, .. } => match next {
                Next::At(at) => Some(*at),
                Next::Word => Some(i64::MAX),
                Next::Finish | Next::Never => None,
            },
            Self::Cap(_) => None,
        }
    }
}

impl fmt::Display for Held {
    /// For people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped {
                by: StoppedBy::Operator,
                reason,
            } if reason.is_empty() => f.write_str("the deployment is paused"),
            Self::Stopped {
                by: StoppedBy::Operator,
                reason,
            } => {
                write!(f, "the deployment is paused: {reason}")
            }
            Self::Stopped {
                by: StoppedBy::Failures,
                reason,
            } => {
                write!(f, "the deployment stopped itself: {reason}")
            }
            Self::Phase {
                number: 1,
                next: Next::At(at),
            } => {
                write!(f, "the deployment begins at {}", minute(*at))
            }
            Self::Phase { number, next } => {
                write!(f, "its turn comes in phase {number}; {}", Waits(*next))
            }
            Self::Full { number, next } => {
                write!(f, "phase {number} has all its devices; {}", Waits(*next))
            }
            Self::Cap(cap) => write!(f, "{cap} at once are at it, and no more may be"),
            Self::Closed { opens, of_group } => {
                let whose = if *of_group { " of its group" } else { "" };
                match opens {
                    Some(at) => write!(f, "the maintenance window{whose} opens at {}", minute(*at)),
                    None => write!(f, "the maintenance window{whose} does not open"),
                }
            }
        }
    }
}

struct Waits(Next);

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Next::Never => f.write_str("no phase comes after it"),
            Next::At(at) => write!(f, "the next begins at {}", minute(at)),
            Next::Finish => f.write_str("the next begins when those are done"),
            Next::Word => f.write_str("the next waits for somebody to say go on"),
        }
    }
}

/// `2026-11-24 22:00 UTC`
fn minute(at: i64) -> String {
    let mut text = Timestamp::from_millis(at).to_string();
    text.truncate(16);
    format!("{} UTC", text.replace('T', " "))
}
