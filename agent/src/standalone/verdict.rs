//! What came of a verb, in words for people and for `grep`. The lines are part of the interface:
//!
//! ```text
//! the update module cannot roll back: committing at once
//!
//! installed, not committed            one of these
//! installed and committed
//! committed
//! downloaded, not installed
//! download failed
//! installation failed
//! commit failed
//! cleaned up
//! interrupted
//!
//! run 'tandem commit' to keep it, or 'tandem rollback' to undo it
//! run 'tandem resume' to go on
//! rolled back                         and what else is to be said
//! rollback failed: the system may be inconsistent
//! no rollback possible: the system may be inconsistent
//! the system is as it was
//! a step after the commit failed
//! cleanup failed
//! reboot needed
//! ```

use crate::drive::{Driven, Halt};
use crate::exit::Exit;
use crate::machine::{Mode, Outcome, Point, State, Step, spoils};
use crate::record::Reboot;

/// Nothing has been changed.
pub(super) const UNTOUCHED: &str = "the system is as it was";

/// What one run came to.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    downloaded: bool,
    installed: bool,
    committed: bool,
    cleaned: bool,
    commits_at_once: bool,
    failed: Option<State>,
    after_commit_failed: bool,
    cleanup_failed: bool,
    rolled_back: bool,
    rollback_failed: bool,
    no_rollback: bool,
    paused: Option<Point>,
    interrupted: bool,
    unsaved: bool,
    reboot: bool,
}

impl Verdict {
    /// Judges by what was performed. `reboot_selects_another`: the next boot would start another
    /// root part than the one that runs.
    pub(super) fn of(driven: &Driven, reboot_selects_another: bool) -> Verdict {
        let mut verdict = Verdict {
            paused: (driven.halt == Halt::Paused).then_some(driven.record.at),
            interrupted: driven.halt == Halt::Interrupted,
            unsaved: driven.unsaved,
            ..Verdict::default()
        };
        for (at, outcome) in &driven.journey {
            if *outcome == Outcome::Failed {
                verdict.failed_at(*at);
            } else {
                verdict.went_well(*at, outcome);
            }
        }
        verdict.reboot |= verdict.rolled_back && reboot_selects_another;
        verdict
    }

    fn went_well(&mut self, at: Point, outcome: &Outcome) {
        match (at.state, at.step, outcome) {
            (State::Download, Step::Leave, _) => self.downloaded = true,
            (State::ArtifactInstall, Step::Leave, _) => self.installed = true,
            (State::ArtifactCommit, Step::Main, _) => self.committed = true,
            (State::ArtifactRollback, Step::Main, _) => self.rolled_back = true,
            (State::Cleanup, Step::Main, _) => self.cleaned = true,
            (State::ArtifactCommit, Step::Ask, Outcome::RollbackSupported(false)) => {
                self.commits_at_once = true;
            }
            (State::ArtifactRollback, Step::Ask, Outcome::RollbackSupported(false)) => {
                self.no_rollback = true;
            }
            (_, _, Outcome::Reboot(Reboot::Yes | Reboot::Automatic)) => self.reboot = true,
            // An artifact without payload is done when its header is.
            (State::Download, Step::Open, Outcome::Opened(contents, _))
                if contents.payload.is_none() =>
            {
                self.installed = true;
                self.committed = true;
            }
            _ => {}
        }
    }

    fn failed_at(&mut self, at: Point) {
        if at.state == State::Cleanup {
            self.cleanup_failed = true;
            return;
        }
        if !spoils(at, Mode::Standalone) {
            return;
        }
        match (at.state, at.step) {
            (State::ArtifactCommit, Step::Leave) => self.after_commit_failed = true,
            (State::ArtifactRollback | State::ArtifactFailure, _) => self.rollback_failed = true,
            // The questions after the installation are part of it to those who wait for it.
            (State::ArtifactReboot | State::ArtifactCommit, Step::Ask) => {
                self.failed.get_or_insert(State::ArtifactInstall);
            }
            (state, _) => {
                self.failed.get_or_insert(state);
            }
        }
    }

    /// The lines, and the exit code.
    pub(super) fn into_words(self) -> (Vec<String>, Exit) {
        let mut lines = Vec::new();
        if self.commits_at_once {
            lines.push("the update module cannot roll back: committing at once");
        }
        let waits_for_commit = self.paused == Some(Point::new(State::ArtifactCommit, Step::Enter));
        lines.extend(match (self.interrupted, self.failed) {
            (true, _) => Some("interrupted"),
            (_, Some(State::Download)) => Some("download failed"),
            (_, Some(State::ArtifactCommit)) => Some("commit failed"),
            (_, Some(_)) => Some("installation failed"),
            _ if self.installed && self.committed => Some("installed and committed"),
            _ if self.committed => Some("committed"),
            _ if self.installed => Some("installed, not committed"),
            _ if self.downloaded => Some("downloaded, not installed"),
            _ if self.cleaned && !self.rolled_back => Some("cleaned up"),
            _ => None,
        });
        if waits_for_commit {
            lines.push("run 'tandem commit' to keep it, or 'tandem rollback' to undo it");
        } else if self.paused.is_some() || self.interrupted {
            lines.push("run 'tandem resume' to go on");
        }
        if self.rollback_failed {
            lines.push("rollback failed: the system may be inconsistent");
        } else if self.no_rollback {
            lines.push("no rollback possible: the system may be inconsistent");
        } else if self.rolled_back {
            lines.push("rolled back");
        } else if self.failed == Some(State::Download) {
            lines.push(UNTOUCHED);
        }
        if self.after_commit_failed {
            lines.push("a step after the commit failed");
        }
        if self.cleanup_failed {
            lines.push("cleanup failed");
        }
        if self.reboot {
            lines.push("reboot needed");
        }
        let failed = self.failed.is_some()
            || self.interrupted
            || self.unsaved
            || self.rollback_failed
            || self.after_commit_failed
            || self.cleanup_failed;
        let exit = match (failed, self.reboot) {
            (true, _) => Exit::Failure,
            (false, true) => Exit::RebootNeeded,
            (false, false) => Exit::Success,
        };
        (lines.into_iter().map(str::to_owned).collect(), exit)
    }
}
