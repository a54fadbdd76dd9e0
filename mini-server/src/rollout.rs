//! Which artifact a device gets now, or nothing, and why. Pure: no I/O, no clock, no log.
//!
//! ```text
//! a device asks -> choose(what is open for it, now) -> answer(what it says it has, artifacts of that name)
//!                    | the one it has begun          | the artifact that fits best -> offered
//!                    | else the oldest that may begin | it has it already           -> settled
//!                    | else nothing, until when      | none fits                   -> settled, with the reason
//!
//! gate       may it begin now? from  plan      what was asked for: phases, cap, threshold, window
//!                                    progress  counters, and who has stopped it
//! ```
//!
//! Spec `device-api` §2.5 and §2.6.

mod fit;
mod gate;
mod openings;
mod phase;
pub mod phase_text;
mod plan;
mod progress;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod threshold;
mod window;

use tandem_api::DeploymentStatus;
use tandem_api::device::Opening;
use tandem_artifact::ARTIFACT_NAME;

pub use fit::{Candidate, Forecast, Provides, forecast};
pub use gate::{Asker, Held, hold};
pub use phase::{Begins, Next, Phase, Size, Standing, earliest, standing};
pub use plan::Plan;
pub use progress::{Halt, Place, Progress, StoppedBy};
pub use threshold::{Threshold, parse_stop};
pub use window::Window;

use crate::store::Id;
use fit::{best, misfits};

/// A deployment that is open for a device: not yet asked for, or begun and not final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Which deployment.
    pub deployment: Id,
    /// What it is called.
    pub name: String,
    /// Its place in the order in which deployments were made, or in which the device joined them.
    pub sequence: i64,
    /// How far it is; `None` if the device has not asked yet.
    pub status: Option<DeploymentStatus>,
    /// When its place was given up because nothing was heard of it, ms.
    pub lost: Option<i64>,
    /// The artifact that the device had when it was offered this one.
    pub found_name: Option<String>,
    /// The artifact that was chosen.
    pub artifact: Option<Id>,
    /// The name of its artifact.
    pub artifact_name: String,
    /// Whether a device gets it that has an artifact of this name.
    pub forced: bool,
    /// The phase in which the device may begin first.
    pub earliest: usize,
    /// What was asked for when it was made.
    pub plan: Plan,
    /// How far it is with all devices.
    pub progress: Progress,
}

/// All that is open for a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prospects {
    /// In the order in which they were made.
    pub open: Vec<Open>,
    /// The place of the newest deployment that the device is done with.
    pub newest_done: Option<i64>,
    /// The release that the device stays with.
    pub pinned: Option<String>,
    /// When devices of its group may be given something.
    pub window: Option<Window>,
}

/// Which deployment a device is to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn<'a> {
    /// This one.
    Take(&'a Open),
    /// None now: before this time, ms, only people can change that. `None` if other devices can.
    Wait(Option<i64>),
}

/// The deployment that a device is to be given: the oldest that it has begun; else the oldest that it may begin now and
/// that was made after the newest that it is done with, for nobody gets an older release after a newer one.
///
/// One that may not begin yet does not stand in the way of a newer one: what is stopped for its failures must not keep
/// the repair from the devices.
#[must_use]
pub fn choose(prospects: &Prospects, now: i64) -> Turn<'_> {
    if let Some(begun) = prospects.open.iter().find(|open| open.is_under_way()) {
        return Turn::Take(begun);
    }
    let mut until = Some(i64::MAX);
    for open in prospects.open.iter().filter(|open| prospects.is_next(open)) {
        match prospects.hold(open, now) {
            None => return Turn::Take(open),
            Some(held) => until = until.zip(held.until()).map(|(a, b)| a.min(b)),
        }
    }
    Turn::Wait(until)
}

impl Open {
    /// Whether the device is at it. Who was only offered it before it was stopped is not, nor who was lost.
    fn is_under_way(&self) -> bool {
        match self.status {
            None => false,
            Some(DeploymentStatus::Pending) => self.progress.halt.is_none(),
            Some(_) => self.lost.is_none() || self.progress.halt.is_none(),
        }
    }
}

impl Prospects {
    /// Whether nothing newer was done.
    fn is_next(&self, open: &Open) -> bool {
        Some(open.sequence) > self.newest_done
    }

    /// Why the device is not given an artifact of this deployment now; `None` if it is.
    #[must_use]
    pub fn hold(&self, open: &Open, now: i64) -> Option<Held> {
        let asker = Asker {
            status: open.status,
            lost: open.lost.is_some(),
            earliest: open.earliest,
            window: self.window.as_ref(),
        };
        hold(&open.plan, &open.progress, asker, now)
    }

    /// When the device may begin to install this deployment, from `now` on; nothing if it may at any time.
    #[must_use]
    pub fn openings(&self, open: &Open, now: i64) -> Vec<Opening> {
        let windows: Vec<&Window> = open.plan.window.iter().chain(&self.window).collect();
        openings::openings(&windows, now)
    }

    /// The deployments that the device has not begun, and why not yet, for people.
    #[must_use]
    pub fn waiting(&self, now: i64) -> Vec<(&Open, String)> {
        let waiting = self.open.iter().filter(|open| open.status.is_none());
        let with_reason = waiting.map(|open| {
            let why = if !self.is_next(open) {
                "it has had a newer deployment".to_owned()
            } else if let Some(release) = self.pinned_elsewhere(open) {
                format!("the device is pinned to {release:?}: it will be told that nothing fits")
            } else {
                match self.hold(open, now) {
                    Some(held) => held.to_string(),
                    None => "it gets it when it asks next".to_owned(),
                }
            };
            (open, why)
        });
        with_reason.collect()
    }

    /// The release that the device stays with, if it is another one than that of the deployment.
    #[must_use]
    pub fn pinned_elsewhere(&self, open: &Open) -> Option<&str> {
        self.pinned
            .as_deref()
            .filter(|release| *release != open.artifact_name)
    }
}

/// The answer to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It gets this artifact.
    Offer {
        /// Which.
        artifact: Id,
    },
    /// It is done with the deployment; nothing is downloaded.
    Settle {
        /// The final status.
        status: DeploymentStatus,
        /// Why, for people.
        reason: String,
    },
}

/// What a device is told that has this deployment open and stays with the release `pinned`, if with any, where
/// `candidates` are the artifacts of the deployment's name.
#[must_use]
pub fn answer(
    open: &Open,
    pinned: Option<&str>,
    device: &Provides,
    candidates: &[Candidate],
) -> Answer {
    let has_it = device.get(ARTIFACT_NAME) == Some(&open.artifact_name);
    let had_it = open.found_name.as_ref() == Some(&open.artifact_name);
    match open.status {
        None | Some(DeploymentStatus::Pending) if has_it && !open.forced => {
            return settle(
                DeploymentStatus::AlreadyInstalled,
                "the device had this artifact when it asked".to_owned(),
            );
        }
        // DIFFERS: Mender's server calls this a failure (409): the device has what it was to get, so its last report
        // was lost and not the update. Where it had the artifact from the beginning nothing can be said.
        Some(status) if status != DeploymentStatus::Pending && has_it && !had_it => {
            return settle(
                DeploymentStatus::Success,
                "inferred: the device asked again and has the artifact".to_owned(),
            );
        }
        // Whoever is at it already is not stopped half-way.
        None | Some(DeploymentStatus::Pending)
            if pinned.is_some_and(|release| release != open.artifact_name) =>
        {
            return settle(
                DeploymentStatus::NoArtifact,
                format!("the device is pinned to {:?}", pinned.unwrap_or_default()),
            );
        }
        _ => {}
    }
    match best(open.artifact, device, candidates) {
        Some(artifact) => Answer::Offer {
            artifact: artifact.id,
        },
        None => settle(
            DeploymentStatus::NoArtifact,
            misfits(&open.artifact_name, device, candidates),
        ),
    }
}

fn settle(status: DeploymentStatus, reason: String) -> Answer {
    Answer::Settle { status, reason }
}

/// What a report of a device is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It is the status from now on.
    Counts,
    /// The deployment is final on this device: the first final status stands, this one is history.
    Late,
    /// Somebody else has ended the deployment: the device is told so.
    Refused,
    /// The device was never offered this deployment.
    Unknown,
}

/// What a report is worth for a deployment that has the status `before` on the device.
#[must_use]
pub fn judge_report(before: Option<DeploymentStatus>, _report: DeploymentStatus) -> Report {
    match before {
        None => Report::Unknown,
        Some(DeploymentStatus::Aborted | DeploymentStatus::Decommissioned) => Report::Refused,
        Some(before) if before.is_final() => Report::Late,
        Some(_) => Report::Counts,
    }
}
