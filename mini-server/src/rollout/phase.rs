//! Phases: how many devices may have begun, and when the next ones may. Pure.
//!
//! ```text
//!          10 devices        25 %             group beta        the rest
//! begun    0 ........ 10 ............ 35 .............. 42 ............... 100
//!          limit 10          limit 35         limit 42          no limit
//! ```
//!
//! Limits are of all devices that have begun so far. Who asks first is in; only the devices of a group wait for the
//! phase of their group, and nobody else is in it.

use serde::{Deserialize, Serialize};
use tandem_api::Timestamp;
use tandem_api::management::NewPhase;

use super::progress::Progress;

/// A phase, its size worked out when the deployment was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// For how many devices it was made.
    pub size: Size,
    /// When it begins.
    pub begins: Begins,
    /// Whether it waits for somebody's word as well.
    pub pause: bool,
    /// How many devices may have begun when it is under way; `None` for all.
    pub limit: Option<u64>,
    /// How many devices are in this phase or an earlier one at all; `None` for all.
    pub eligible: Option<u64>,
}

/// For how many devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Size {
    /// So many percent of all, rounded down.
    Percent(u8),
    /// So many.
    Count(u64),
    /// Those of a group.
    Group(String),
    /// All that are left.
    Rest,
}

/// When a phase begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Begins {
    /// At this time, ms, however the phase before goes.
    At(i64),
    /// So many milliseconds after all of the phase before are done.
    After(i64),
}

/// Phases of one deployment.
const PHASES: usize = 100;

/// A year, seconds: who waits longer has forgotten it.
const LONGEST_WAIT: u64 = 366 * 24 * 60 * 60;

impl Phase {
    /// The phases as they go over the wire; their limits are still to be worked out ([`Plan::lay_out`](super::Plan::lay_out)).
    ///
    /// # Errors
    /// With the reason, if they make no sense.
    pub fn all_from_wire(wire: &[NewPhase]) -> Result<Vec<Self>, String> {
        if wire.len() > PHASES {
            return Err(format!("a deployment has at most {PHASES} phases"));
        }
        let phases = (1_usize..).zip(wire).map(|(n, one)| {
            Self::from_wire(one, n == wire.len()).map_err(|why| format!("phase {n}: {why}"))
        });
        let phases = phases.collect::<Result<Vec<_>, _>>()?;
        let times = phases.iter().filter_map(|phase| match phase.begins {
            Begins::At(at) => Some(at),
            Begins::After(_) => None,
        });
        if !times.is_sorted() {
            return Err("a phase begins before the one that it follows".to_owned());
        }
        let percent = phases.iter().map(|phase| match phase.size {
            Size::Percent(percent) => u64::from(percent),
            Size::Count(_) | Size::Group(_) | Size::Rest => 0,
        });
        let percent: u64 = percent.sum();
        if percent > 100 {
            return Err("the phases are more than 100 % together".to_owned());
        }
        match phases.last().map(|last| &last.size) {
            // Somebody might think that the others get nothing.
            Some(Size::Percent(_)) if percent < 100 => Err(format!(
                "the phases are {percent} % together: the last one takes all that are left and has no size"
            )),
            Some(Size::Count(_)) => {
                Err("the last phase takes all that are left and has no size".to_owned())
            }
            Some(Size::Percent(_) | Size::Group(_) | Size::Rest) | None => Ok(phases),
        }
    }

    fn from_wire(wire: &NewPhase, last: bool) -> Result<Self, String> {
        let size = match (wire.batch_size, wire.batch_count, &wire.group) {
            (Some(percent), None, None) if (1..=100).contains(&percent) => Size::Percent(percent),
            (Some(percent), None, None) => {
                return Err(format!("{percent} is no percentage from 1 to 100"));
            }
            (None, Some(0), None) => return Err("it has no devices".to_owned()),
            (None, Some(count), None) => Size::Count(count),
            (None, None, Some(group)) if last => {
                return Err(format!(
                    "the last phase takes all that are left, not only group {group:?}"
                ));
            }
            (None, None, Some(group)) => Size::Group(group.clone()),
            (None, None, None) if last => Size::Rest,
            (None, None, None) => {
                return Err("only the last phase may leave out its size".to_owned());
            }
            (_, _, _) => {
                return Err(
                    "its size is a percentage, a count or a group, only one of them".to_owned(),
                );
            }
        };
        let begins = match (wire.start_ts, wire.wait_seconds) {
            (Some(_), Some(_)) => {
                return Err("it begins at a time or after a wait, not both".to_owned());
            }
            (Some(at), None) => Begins::At(at.millis()),
            (None, Some(seconds)) if seconds > LONGEST_WAIT => {
                return Err("it waits for more than a year".to_owned());
            }
            (None, wait) => Begins::After(
                i64::try_from(wait.unwrap_or(0))
                    .unwrap_or(i64::MAX)
                    .saturating_mul(1000),
            ),
        };
        Ok(Self {
            size,
            begins,
            pause: wire.pause,
            limit: None,
            eligible: None,
        })
    }

    /// The same for the wire.
    #[must_use]
    pub fn to_wire(&self) -> NewPhase {
        let mut wire = NewPhase {
            pause: self.pause,
            ..NewPhase::default()
        };
        match &self.size {
            Size::Percent(percent) => wire.batch_size = Some(*percent),
            Size::Count(count) => wire.batch_count = Some(*count),
            Size::Group(group) => wire.group = Some(group.clone()),
            Size::Rest => {}
        }
        match self.begins {
            Begins::At(at) => wire.start_ts = Some(Timestamp::from_millis(at)),
            Begins::After(0) => {}
            Begins::After(wait) => wire.wait_seconds = u64::try_from(wait / 1000).ok(),
        }
        wire
    }
}

/// The phase in which a device of this group may begin first.
#[must_use]
pub fn earliest(phases: &[Phase], group: Option<&str>) -> usize {
    let of_group = |phase: &Phase| match &phase.size {
        Size::Group(name) => Some(name.as_str()) == group,
        Size::Percent(_) | Size::Count(_) | Size::Rest => false,
    };
    let open = |phase: &Phase| match phase.size {
        Size::Group(_) => false,
        Size::Percent(_) | Size::Count(_) | Size::Rest => true,
    };
    let own = phases.iter().position(of_group);
    own.or_else(|| phases.iter().position(open)).unwrap_or(0)
}

/// Works out the limits, where `members` says of how many devices each phase is the [`earliest`].
///
/// # Errors
/// With the reason, if a phase would have no device.
pub(super) fn lay_out(phases: &mut [Phase], members: &[u64]) -> Result<(), String> {
    let all = members.iter().copied().fold(0, u64::saturating_add);
    let last = phases.len().saturating_sub(1);
    let (mut limit, mut eligible) = (0_u64, 0_u64);
    for (n, phase) in phases.iter_mut().enumerate() {
        let own = members.get(n).copied().unwrap_or(0);
        eligible = eligible.saturating_add(own);
        let size = match &phase.size {
            Size::Percent(percent) => all.saturating_mul((*percent).into()) / 100,
            Size::Count(count) => *count,
            Size::Group(_) => own,
            Size::Rest => u64::MAX,
        };
        let number = n.saturating_add(1);
        if n == last {
            (phase.limit, phase.eligible) = (None, None);
            if n > 0 && limit >= all {
                return Err(format!(
                    "nothing is left for phase {number} of {all} devices"
                ));
            }
            break;
        }
        if size == 0 {
            return Err(match &phase.size {
                Size::Percent(percent) => {
                    format!("phase {number}: {percent} % of {all} devices is less than one")
                }
                Size::Group(group) => {
                    format!("phase {number}: no device of it is in group {group:?}")
                }
                Size::Count(_) | Size::Rest => format!("phase {number} has no devices"),
            });
        }
        limit = limit.saturating_add(size).min(eligible);
        (phase.limit, phase.eligible) = (Some(limit), Some(eligible));
    }
    Ok(())
}

/// How far the phases are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How many have begun.
    pub begun: usize,
    /// What the next one waits for.
    pub next: Next,
}

/// What a phase waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// There is none.
    Never,
    /// A time, ms.
    At(i64),
    /// That all of the phase before are done.
    Finish,
    /// Somebody's word.
    Word,
}

/// How far the phases are at `now`, ms.
#[must_use]
pub fn standing(phases: &[Phase], progress: &Progress, now: i64) -> Standing {
    let mut begun = progress.begun.min(phases.len());
    loop {
        let Some(phase) = phases.get(begun) else {
            return Standing {
                begun,
                next: Next::Never,
            };
        };
        let before = begun.checked_sub(1).and_then(|n| phases.get(n));
        let due = match (phase.begins, before) {
            (Begins::At(at), _) => Some(at),
            (Begins::After(_), None) => Some(i64::MIN),
            (Begins::After(wait), Some(before)) => {
                is_done(before, progress).then(|| progress.last_done.saturating_add(wait))
            }
        };
        let next = match due {
            None => Next::Finish,
            Some(at) if at > now => Next::At(at),
            Some(_) if phase.pause => Next::Word,
            Some(_) => {
                begun = begun.saturating_add(1);
                continue;
            }
        };
        return Standing { begun, next };
    }
}

/// Whether all devices of a phase, and of those before, are done.
fn is_done(phase: &Phase, progress: &Progress) -> bool {
    let asked = progress.started.saturating_add(progress.settled);
    progress.active == 0
        && (phase.limit.is_some_and(|limit| progress.started >= limit)
            || phase.eligible.is_some_and(|eligible| asked >= eligible))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(size: Size, begins: Begins) -> Phase {
        Phase {
            size,
            begins,
            pause: false,
            limit: None,
            eligible: None,
        }
    }

    #[track_caller]
    fn check(sizes: &[Size], members: &[u64], expected: Result<&[Option<u64>], &str>) {
        let mut phases: Vec<Phase> = sizes
            .iter()
            .map(|size| phase(size.clone(), Begins::After(0)))
            .collect();
        let limits = lay_out(&mut phases, members)
            .map(|()| phases.iter().map(|phase| phase.limit).collect::<Vec<_>>());
        assert_eq!(
            limits.as_deref().map_err(String::as_str),
            expected.as_ref().map(|limits| *limits).map_err(|why| *why)
        );
    }

    #[test]
    fn limits_add_up_and_the_last_phase_has_none() {
        use Size::{Count, Group, Percent, Rest};
        check(&[Rest], &[7], Ok(&[None]));
        check(&[Percent(10), Rest], &[25, 0], Ok(&[Some(2), None]));
        check(
            &[Count(10), Percent(25), Group("beta".to_owned()), Rest],
            &[93, 0, 7, 0],
            Ok(&[Some(10), Some(35), Some(42), None]),
        );
        // Nobody else may go before the group has.
        check(
            &[Group("beta".to_owned()), Count(5), Rest],
            &[3, 97, 0],
            Ok(&[Some(3), Some(8), None]),
        );
        check(&[Percent(50), Percent(50)], &[3, 0], Ok(&[Some(1), None]));
        check(
            &[Percent(5), Rest],
            &[11, 0],
            Err("phase 1: 5 % of 11 devices is less than one"),
        );
        check(
            &[Group("beta".to_owned()), Rest],
            &[0, 11],
            Err("phase 1: no device of it is in group \"beta\""),
        );
        check(
            &[Count(11), Rest],
            &[11, 0],
            Err("nothing is left for phase 2 of 11 devices"),
        );
    }

    #[test]
    fn a_phase_waits_for_what_it_was_made_to_wait_for() {
        let mut phases = vec![
            phase(Size::Count(2), Begins::At(1_000)),
            phase(Size::Count(2), Begins::After(500)),
            phase(Size::Rest, Begins::After(0)),
        ];
        phases[2].pause = true;
        lay_out(&mut phases, &[10, 0, 0]).unwrap();
        let mut progress = Progress::default();
        let check = |progress: &Progress, now, begun, next| {
            assert_eq!(standing(&phases, progress, now), Standing { begun, next });
        };
        check(&progress, 999, 0, Next::At(1_000));
        check(&progress, 1_000, 1, Next::Finish);
        (progress.started, progress.active) = (2, 1);
        check(&progress, 2_000, 1, Next::Finish);
        (progress.active, progress.last_done) = (0, 2_000);
        check(&progress, 2_001, 1, Next::At(2_500));
        check(&progress, 2_500, 2, Next::Finish);
        (progress.started, progress.last_done) = (4, 3_000);
        check(&progress, 3_500, 2, Next::Word);
        progress.begun = 3;
        check(&progress, 3_500, 3, Next::Never);
    }

    #[test]
    fn a_phase_whose_devices_have_it_already_does_not_wait_for_others() {
        let mut phases = vec![
            phase(Size::Group("beta".to_owned()), Begins::After(0)),
            phase(Size::Rest, Begins::After(0)),
        ];
        lay_out(&mut phases, &[3, 7]).unwrap();
        let progress = Progress {
            started: 1,
            settled: 2,
            ..Progress::default()
        };
        assert_eq!(standing(&phases, &progress, 0).begun, 2);
    }

    #[test]
    fn devices_of_a_group_wait_for_their_phase() {
        let phases = [
            phase(Size::Group("lab".to_owned()), Begins::After(0)),
            phase(Size::Count(5), Begins::After(0)),
            phase(Size::Group("beta".to_owned()), Begins::After(0)),
            phase(Size::Rest, Begins::After(0)),
        ];
        for (group, expected) in [
            (Some("lab"), 0),
            (Some("beta"), 2),
            (Some("x"), 1),
            (None, 1),
        ] {
            assert_eq!(earliest(&phases, group), expected, "{group:?}");
        }
        assert_eq!(earliest(&[], None), 0);
    }

    #[test]
    fn phases_that_make_no_sense_are_refused() {
        let new = NewPhase::default;
        let sized = |percent| NewPhase {
            batch_size: Some(percent),
            ..new()
        };
        let at = |text: &str| NewPhase {
            start_ts: Some(text.parse().unwrap()),
            ..sized(10)
        };
        for wire in [
            vec![sized(0)],
            vec![sized(101)],
            vec![sized(60), sized(60)],
            vec![sized(60), sized(30)],
            vec![sized(60)],
            vec![NewPhase {
                batch_count: Some(3),
                ..new()
            }],
            vec![new(), new()],
            vec![NewPhase {
                batch_count: Some(0),
                ..new()
            }],
            vec![NewPhase {
                batch_count: Some(1),
                ..sized(1)
            }],
            vec![NewPhase {
                group: Some("g".to_owned()),
                ..new()
            }],
            vec![NewPhase {
                wait_seconds: Some(1),
                ..at("2026-11-24T00:00:00Z")
            }],
            vec![NewPhase {
                wait_seconds: Some(u64::MAX),
                ..new()
            }],
            vec![
                at("2026-11-24T00:00:01Z"),
                at("2026-11-24T00:00:00Z"),
                new(),
            ],
            vec![sized(1); 101],
        ] {
            assert!(Phase::all_from_wire(&wire).is_err(), "{wire:?}");
        }
        let good = [
            at("2026-11-24T00:00:00Z"),
            NewPhase {
                pause: true,
                ..sized(20)
            },
            new(),
        ];
        let parsed = Phase::all_from_wire(&good).unwrap();
        assert_eq!(parsed.iter().map(Phase::to_wire).collect::<Vec<_>>(), good);
    }
}
