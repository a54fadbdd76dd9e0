//! What an unclean stop means: the judgement about the effect that was in progress.
//!
//! In one line: *install to commit interrupted, roll back; reboot interrupted, go on; after the
//! commit, finish; error states, repeat.*

use super::{Mode, Point, State, Step, after_error, give_up, restored, set_back, settle, spoil};
use crate::record::{Health, Record};
use crate::slots::Slot;

/// What the kernel and the boot loader say; they are believed over the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Boot {
    /// The root part that runs; `None` when it is neither of the two.
    pub(crate) running: Option<Slot>,
    /// The boot loader counts a trial boot.
    pub(crate) upgrade_available: bool,
}

impl Boot {
    /// For deployments that have nothing to do with the boot loader.
    pub(crate) const UNKNOWN: Boot = Boot {
        running: None,
        upgrade_available: false,
    };
}

/// The record of a deployment that was interrupted at its point, by a power cut, a signal or a
/// crash. What waits for a person waits on.
pub(crate) fn resume(mut record: Record, boot: Boot) -> Record {
    let Some(deployment) = &record.deployment else {
        // Reports that are due are delivered before anything else happens.
        let due = record.at.state == State::Cleanup && !record.reports.is_empty();
        record.at = if due { record.at } else { Point::IDLE };
        return record;
    };
    if deployment.paused {
        return record;
    }
    record.at = match set_back(&mut record) {
        true => judged(&mut record, boot),
        false => give_up(&mut record),
    };
    record
}

/// The point from which an interrupted deployment goes on.
fn judged(record: &mut Record, boot: Boot) -> Point {
    let at = record.at;
    let mode = record.mode();
    match (at.state, at.step) {
        // The server still offers it.
        (State::Idle | State::Sync, _) | (State::Download, Step::Report) => {
            record.deployment = None;
            Point::IDLE
        }
        (State::Download, Step::Open) => at,
        // What the built-in handler has written stays in the slot: read the header again, go on.
        (State::Download, Step::Main) if mode == Mode::Managed && is_rootfs_image(record) => {
            Point::new(State::Download, Step::Open)
        }
        // What stands in the root part has been read back; nobody else writes to it.
        (State::ArtifactInstall, Step::Await) if is_rootfs_image(record) => at,
        (State::Download, _) | (State::ArtifactInstall, Step::Await | Step::Report) => {
            restored(record);
            settle(record)
        }
        (State::ArtifactReboot | State::ArtifactCommit, Step::Ask) if mode == Mode::Standalone => {
            at
        }
        // The interruption was the reboot, or as good as one. Which system came up is verified.
        (State::ArtifactReboot, Step::Enter | Step::Main) => {
            Point::new(State::ArtifactReboot, Step::Verify)
        }
        (State::ArtifactCommit, Step::Main) if is_permanent(record, boot) => {
            if let Some(deployment) = &mut record.deployment {
                deployment.committed = true;
            }
            Point::new(State::ArtifactCommit, Step::Leave)
        }
        (State::ArtifactCommit, Step::Leave) => at,
        (State::ArtifactCommit, Step::Error) => {
            spoil(record);
            after_error(record)
        }
        (State::ArtifactInstall | State::ArtifactReboot | State::ArtifactCommit, _) => {
            spoil(record);
            Point::first(State::ArtifactRollback, mode)
        }
        (State::ArtifactRollback, Step::Ask) => at,
        // Scripts and handler undo the same things again; whether they succeed counts this time.
        (State::ArtifactRollback, _) | (State::ArtifactRollbackReboot, Step::Ask) => {
            restored(record);
            Point::new(State::ArtifactRollback, Step::Enter)
        }
        (State::ArtifactRollbackReboot, _) => {
            restored(record);
            Point::new(State::ArtifactRollbackReboot, Step::Verify)
        }
        (State::ArtifactFailure, _) => {
            if let Some(deployment) = &mut record.deployment {
                deployment.health = match deployment.rolled_back {
                    true => Health::Restored,
                    false => Health::Inconsistent,
                };
            }
            Point::first(State::ArtifactFailure, mode)
        }
        (State::Cleanup, _) => Point::first(State::Cleanup, mode),
    }
}

/// Whether the payload is the one that this program handles itself.
fn is_rootfs_image(record: &Record) -> bool {
    record
        .deployment
        .as_ref()
        .is_some_and(|deployment| deployment.target.is_some())
}

/// Whether the boot loader has already been told that the new system is there to stay.
///
/// DIFFERS: Mender's client rolls a committed system back when the power goes between the write
/// to the environment and the one to its record.
fn is_permanent(record: &Record, boot: Boot) -> bool {
    let target = record
        .deployment
        .as_ref()
        .and_then(|deployment| deployment.target);
    target.is_some() && boot.running == target && !boot.upgrade_available
}
