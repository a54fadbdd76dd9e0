//! How far a deployment is, as far as it matters for who may begin. Pure: the store keeps it in the row of the
//! deployment, and changes it in the transaction in which a device begins or is done.
//!
//! ```text
//! begins --> has a place (active) --> done
//!               | not heard of for long     ^
//!               v                           |
//!            lost: its place is free -------+
//!               `- heard of again, and a place is free: it has one again
//! ```
//!
//! "At once" are the devices that have a place: they have begun, are not done, and were heard of. A device that is lost
//! has given its place up. When it is heard of again it takes a place if one is free; if none is, it is not given the
//! artifact (it has to wait like one that has not begun), but what it reports is taken down: it cannot be stopped
//! half-way without harm.

use tandem_api::DeploymentStatus;

use super::phase::standing;
use super::plan::Plan;

/// Counters and what people, or failures, have said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Phases that have begun for sure; a look at the clock may say that it are more.
    pub begun: usize,
    /// Devices that were given an artifact.
    pub started: u64,
    /// Those of them that have a place: they are not done, and not lost.
    pub active: u64,
    /// Those of them that are lost.
    pub lost: u64,
    /// Those of them that were lost since failures are counted.
    pub missed: u64,
    /// Since when failures are counted, ms: later than all that is not counted.
    pub counting_since: i64,
    /// Devices that were done without being given one.
    pub settled: u64,
    /// Devices that were updated since failures are counted.
    pub updated: u64,
    /// Devices that failed since then.
    pub failed: u64,
    /// When a device was done last, ms.
    pub last_done: i64,
    /// Why nobody begins.
    pub halt: Option<Halt>,
}

/// What a device has of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It has not begun.
    None,
    /// A place: it has begun, and was heard of.
    Held,
    /// None any more: it has begun, and was not heard of for long.
    Lost {
        /// When it was given up, ms.
        at: i64,
    },
}

impl Place {
    /// That of a device with this status, which was given up at `lost`, ms, if it was.
    #[must_use]
    pub fn of(status: Option<DeploymentStatus>, lost: Option<i64>) -> Self {
        match (status, lost) {
            (None, _) => Self::None,
            (Some(_), None) => Self::Held,
            (Some(_), Some(at)) => Self::Lost { at },
        }
    }
}

/// A stop until somebody says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halt {
    /// Who stopped it.
    pub by: StoppedBy,
    /// Why, for people.
    pub reason: String,
    /// When, ms.
    pub at: i64,
}

/// Who stopped a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoppedBy {
    /// A person.
    Operator,
    /// Too many failures.
    Failures,
}

impl StoppedBy {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Failures => "failures",
        }
    }
}

impl std::str::FromStr for StoppedBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "operator" => Ok(Self::Operator),
            "failures" => Ok(Self::Failures),
            other => Err(format!("nobody stops a deployment who is called {other:?}")),
        }
    }
}

impl Progress {
    /// A device is given an artifact.
    pub fn start(&mut self, plan: &Plan, now: i64) {
        self.begun = standing(&plan.phases, self, now).begun;
        self.started = self.started.saturating_add(1);
        self.active = self.active.saturating_add(1);
    }

    /// A device with a place was not heard of for long: its place is free, and the phase does not wait for it. When it
    /// was given up, ms.
    pub fn lose(&mut self, plan: &Plan, now: i64) -> i64 {
        self.begun = standing(&plan.phases, self, now).begun;
        self.active = self.active.saturating_sub(1);
        self.lost = self.lost.saturating_add(1);
        self.missed = self.missed.saturating_add(1);
        self.last_done = self.last_done.max(now);
        self.judge(plan, now);
        now.max(self.counting_since)
    }

    /// A device is heard of again that was given up at `at`, ms; whether it has a place again.
    pub fn find(&mut self, plan: &Plan, at: i64) -> bool {
        let free = plan.cap.is_none_or(|cap| self.active < cap);
        if free {
            self.forget_lost(at);
            self.active = self.active.saturating_add(1);
        }
        free
    }

    fn forget_lost(&mut self, at: i64) {
        self.lost = self.lost.saturating_sub(1);
        // One that was lost before somebody let the deployment go on is not among those that count.
        if at >= self.counting_since {
            self.missed = self.missed.saturating_sub(1);
        }
    }

    /// Stops the deployment if there were too many failures.
    fn judge(&mut self, plan: &Plan, now: i64) {
        let reached = plan
            .threshold
            .and_then(|threshold| threshold.reached(self.failed, self.missed, self.updated));
        if let (Some(reason), None) = (reached, &self.halt) {
            self.halt = Some(Halt {
                by: StoppedBy::Failures,
                reason,
                at: now,
            });
        }
    }

    /// A device is done that had `place`, and has the status `after` now: so may the whole deployment be, for now.
    pub fn finish(&mut self, plan: &Plan, place: Place, after: DeploymentStatus, now: i64) {
        // What has begun by now does not end because something is counted differently from now on.
        self.begun = standing(&plan.phases, self, now).begun;
        match place {
            Place::None => self.settled = self.settled.saturating_add(1),
            Place::Held => self.active = self.active.saturating_sub(1),
            Place::Lost { at } => self.forget_lost(at),
        }
        self.last_done = self.last_done.max(now);
        match after {
            DeploymentStatus::Success if place != Place::None => {
                self.updated = self.updated.saturating_add(1);
            }
            DeploymentStatus::Failure => {
                self.failed = self.failed.saturating_add(1);
                self.judge(plan, now);
            }
            DeploymentStatus::Success
            | DeploymentStatus::AlreadyInstalled
            | DeploymentStatus::NoArtifact
            | DeploymentStatus::Aborted
            | DeploymentStatus::Decommissioned
            | DeploymentStatus::Pending
            | DeploymentStatus::Downloading
            | DeploymentStatus::PauseBeforeInstalling
            | DeploymentStatus::Installing
            | DeploymentStatus::PauseBeforeRebooting
            | DeploymentStatus::Rebooting
            | DeploymentStatus::PauseBeforeCommitting => {}
        }
    }

    /// A person stops it; whether that changes anything.
    pub fn pause(&mut self, reason: &str, now: i64) -> bool {
        let new = self.halt.is_none();
        if new {
            self.halt = Some(Halt {
                by: StoppedBy::Operator,
                reason: reason.to_owned(),
                at: now,
            });
        }
        new
    }

    /// A person lets it go on; whether that changes anything. Failures are counted from here on, else the next one
    /// would stop it again. Where it is a phase that waits for somebody's word, this is it.
    pub fn resume(&mut self, plan: &Plan, now: i64) -> bool {
        if self.halt.take().is_some() {
            (self.failed, self.missed, self.updated) = (0, 0, 0);
            self.counting_since = self.counting_since.max(now).saturating_add(1);
            return true;
        }
        let standing = standing(&plan.phases, self, now);
        match standing.next {
            super::phase::Next::Word => {
                self.begun = standing.begun.saturating_add(1);
                true
            }
            super::phase::Next::Never | super::phase::Next::At(_) | super::phase::Next::Finish => {
                false
            }
        }
    }

    /// A person has the next phase begin, whatever it waits for; whether there is one.
    pub fn advance(&mut self, plan: &Plan, now: i64) -> bool {
        let begun = standing(&plan.phases, self, now).begun;
        let more = begun < plan.phases.len();
        if more {
            self.begun = begun.saturating_add(1);
        }
        more
    }
}
