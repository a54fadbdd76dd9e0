//! The decisions of the boot contract, free of I/O: what may be done in which situation, and
//! which variables change. The rules are those of Mender's `rootfs-image` update module, so that
//! a boot loader set up for it needs no change.
//!
//! | change | variables, in one atomic write |
//! |---|---|
//! | arm `S` | `mender_boot_part`, `mender_boot_part_hex` = `S`; `upgrade_available` = 1; `bootcount` = 0 |
//! | commit | `upgrade_available` = 0 |
//! | disarm to `S` | `mender_boot_part`, `mender_boot_part_hex` = `S`; `upgrade_available` = 0 |

use std::fmt;

use crate::slots::Slot;

/// What the boot environment and the kernel say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The root part that the boot loader starts next.
    pub(crate) selected: Slot,
    /// The selected root part is on trial: if it is not committed in this boot, the next one
    /// starts the other.
    pub(crate) upgrade_available: bool,
    /// The root part that runs; `None` when `/` is neither.
    pub(crate) running: Option<Slot>,
}

/// One change of the boot environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Start this root part next, on trial.
    Arm(Slot),
    /// The running root part, on trial so far, stays.
    Commit,
    /// Start this root part next and from then on.
    Disarm(Slot),
}

/// Why the boot environment does not allow something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A trial is on, and neither committed nor rolled back.
    OnTrial,
    /// No trial is on: the boot loader has gone back by itself.
    NotOnTrial,
    /// The environment selects one root part, another one runs.
    Mismatch {
        /// The one that the environment selects.
        selected: Slot,
        /// The one that runs.
        running: Option<Slot>,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::OnTrial => write!(
                f,
                "the running system is itself on trial (upgrade_available is 1): commit it or roll it back first"
            ),
            Refusal::NotOnTrial => write!(
                f,
                "no trial is on (upgrade_available is not 1): the boot loader has gone back to the previous system"
            ),
            Refusal::Mismatch {
                selected,
                running: Some(running),
            } => write!(
                f,
                "the boot environment selects rootfs part {selected}, but {running} is running"
            ),
            Refusal::Mismatch {
                selected,
                running: None,
            } => write!(
                f,
                "the boot environment selects rootfs part {selected}, but / is on neither of the two (check rootfs_part_a, rootfs_part_b and root_device)"
            ),
        }
    }
}

impl std::error::Error for Refusal {}

impl Facts {
    /// The root part that may be overwritten: only while the running one is committed, since
    /// otherwise the other one is what the boot loader falls back to.
    ///
    /// # Errors
    /// When a trial is on, or the environment and the running system do not agree.
    pub(crate) fn writable(self) -> Result<Slot, Refusal> {
        if self.upgrade_available {
            return Err(Refusal::OnTrial);
        }
        Ok(self.agreed()?.other())
    }

    /// The change that arms `target`, which has just been written and checked.
    ///
    /// # Errors
    /// When it is not the root part that may be overwritten.
    pub(crate) fn arm(self, target: Slot) -> Result<Change, Refusal> {
        if self.writable()? != target {
            return Err(Refusal::Mismatch {
                selected: self.selected,
                running: self.running,
            });
        }
        Ok(Change::Arm(target))
    }

    /// Whether the reboot has brought `target`, on trial.
    ///
    /// # Errors
    /// When it has not.
    pub(crate) fn verify_trial(self, target: Slot) -> Result<(), Refusal> {
        if !self.upgrade_available {
            return Err(Refusal::NotOnTrial);
        }
        match self.agreed()? {
            running if running == target => Ok(()),
            _ => Err(Refusal::Mismatch {
                selected: self.selected,
                running: self.running,
            }),
        }
    }

    /// The change that makes `target`, which runs on trial, permanent.
    ///
    /// # Errors
    /// When it is not what runs on trial.
    pub(crate) fn commit(self, target: Slot) -> Result<Change, Refusal> {
        self.verify_trial(target)?;
        Ok(Change::Commit)
    }

    /// The change that goes back from `target`: always the root part that ran before, whatever
    /// the environment says by now.
    pub(crate) const fn roll_back(target: Slot) -> Change {
        Change::Disarm(target.other())
    }

    /// Whether the system that ran before `target` runs and stays.
    ///
    /// DIFFERS: Mender's module is content with any system that runs and is selected.
    ///
    /// # Errors
    /// When a trial is still on, or another system runs or is selected.
    pub(crate) fn verify_rolled_back(self, target: Slot) -> Result<(), Refusal> {
        if self.upgrade_available {
            return Err(Refusal::OnTrial);
        }
        match self.agreed()? {
            running if running == target.other() => Ok(()),
            _ => Err(Refusal::Mismatch {
                selected: self.selected,
                running: self.running,
            }),
        }
    }

    /// The root part that runs and is selected.
    fn agreed(self) -> Result<Slot, Refusal> {
        match self.running {
            Some(running) if running == self.selected => Ok(running),
            running => Err(Refusal::Mismatch {
                selected: self.selected,
                running,
            }),
        }
    }
}
