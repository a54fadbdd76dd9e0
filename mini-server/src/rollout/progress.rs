//! How far a deployment is, as far as it matters for who may begin. Pure: the store keeps it in the row of the
//! deployment, and changes it in the transaction in which a device begins or is done.

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
    /// Those of them that are not done.
    pub active: u64,
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

    /// A device is done that had the status `before`, and has `after` now: so may the whole deployment be, for now.
    pub fn finish(
        &mut self,
        plan: &Plan,
        before: Option<DeploymentStatus>,
        after: DeploymentStatus,
        now: i64,
    ) {
        // What has begun by now does not end because something is counted differently from now on.
        self.begun = standing(&plan.phases, self, now).begun;
        match before {
            None => self.settled = self.settled.saturating_add(1),
            Some(_) => self.active = self.active.saturating_sub(1),
        }
        self.last_done = self.last_done.max(now);
        match after {
            DeploymentStatus::Success if before.is_some() => {
                self.updated = self.updated.saturating_add(1);
            }
            DeploymentStatus::Failure => {
                self.failed = self.failed.saturating_add(1);
                let reached = plan
                    .threshold
                    .and_then(|threshold| threshold.reached(self.failed, self.updated));
                if let (Some(reason), None) = (reached, &self.halt) {
                    self.halt = Some(Halt {
                        by: StoppedBy::Failures,
                        reason,
                        at: now,
                    });
                }
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
            (self.failed, self.updated) = (0, 0);
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
