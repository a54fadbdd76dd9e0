//! What the device was doing when the power went, and what may be found afterwards; pure.
//!
//! The variables of the boot environment, by phase: the selected root part, `upgrade_available`,
//! `bootcount`. Where two lines stand, a write is under way and either of its ends may be found.
//!
//! | phase | allowed |
//! |---|---|
//! | Installing | A 0 *; B 1 0 |
//! | Installed | B 1 0 |
//! | Starting | B 1 0; B 1 1 |
//! | Trial | B 1 1 |
//! | Committing | B 1 1; B 0 * |
//! | Committed | B 0 * |
//! | RollingBack | B 1 1; A 0 * |
//! | FallingBack | B 1 1; B 1 2; A 0 * |
//! | RolledBack, FellBack, Resumed | A 0 * |

use clap::ValueEnum;

/// What the device is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Phase {
    /// `tandem install` runs.
    Installing,
    /// It said that the new system is installed.
    Installed,
    /// The boot loader starts the new system for the first time.
    Starting,
    /// The new system runs on trial.
    Trial,
    /// `tandem commit` runs.
    Committing,
    /// It said that the new system stays.
    Committed,
    /// `tandem rollback` runs.
    RollingBack,
    /// It said that the old system is back.
    RolledBack,
    /// The boot loader finds the new system not committed.
    FallingBack,
    /// It started the old system; `tandem resume` runs.
    FellBack,
    /// It said that the update is over.
    Resumed,
}

/// What the boot environment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The number of the selected root part: 2 is A, 3 is B.
    pub(crate) part: u32,
    /// The selected root part is on trial.
    pub(crate) trial: bool,
    /// How often it has been tried.
    pub(crate) count: u32,
}

impl Phase {
    /// Whether the power may leave the boot environment like this.
    pub(crate) const fn allows(self, facts: Facts) -> bool {
        let Facts { part, trial, .. } = facts;
        let old = part == 2 && !trial;
        let new = part == 3 && !trial;
        match self {
            Phase::Installing => old || tried_is(facts, 0),
            Phase::Installed => tried_is(facts, 0),
            Phase::Starting => tried_is(facts, 0) || tried_is(facts, 1),
            Phase::Trial => tried_is(facts, 1),
            Phase::Committing => tried_is(facts, 1) || new,
            Phase::Committed => new,
            Phase::RollingBack => tried_is(facts, 1) || old,
            Phase::FallingBack => tried_is(facts, 1) || tried_is(facts, 2) || old,
            Phase::RolledBack | Phase::FellBack | Phase::Resumed => old,
        }
    }

    /// The new system, if it starts on trial after the power cut, can be kept: what `install` said
    /// is true.
    pub(crate) const fn keeps_trial(self) -> bool {
        matches!(self, Phase::Installed | Phase::Starting)
    }

    /// Nothing is left to be done about the update.
    pub(crate) const fn is_over(self) -> bool {
        matches!(self, Phase::Committed | Phase::RolledBack | Phase::Resumed)
    }
}

/// Whether the new system is on trial and has been tried so often.
const fn tried_is(facts: Facts, times: u32) -> bool {
    facts.part == 3 && facts.trial && facts.count == times
}
