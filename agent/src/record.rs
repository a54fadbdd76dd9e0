//! What survives a power cut: what is installed, the deployment in progress, and the reports
//! that no server has acknowledged yet. [`mod@file`] keeps it on disk.

pub(crate) mod file;

use serde::{Deserialize, Serialize};
use tandem_artifact::Provides;

use crate::machine::{Mode, Point, State};
use crate::opening::Opening;
use crate::slots::Slot;

/// Everything that the device remembers. One document, replaced as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// What is installed and committed; the artifact's name and group are among the provides.
    pub(crate) installed: Provides,
    /// Where the machine is.
    pub(crate) at: Point,
    /// The deployment in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deployment: Option<Deployment>,
    /// Final reports that the server has not acknowledged, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) reports: Vec<FinalReport>,
}

/// One update order and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deployment {
    /// Who ordered it.
    pub(crate) origin: Origin,
    /// What the artifact's header says; `None` until it has been read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact: Option<Contents>,
    /// The root part that receives a `rootfs-image`; `None` for every other type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<Slot>,
    /// Stopped on purpose in front of the record's point, waiting for a person.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) paused: bool,
    /// What the device would be left with if the deployment ended now.
    pub(crate) health: Health,
    /// The new software has been made permanent: nothing after this undoes it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) committed: bool,
    /// The rollback, including its reboot, went through.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) rolled_back: bool,
    /// The payload's last answer to whether a reboot is needed.
    #[serde(default, skip_serializing_if = "Reboot::is_no")]
    pub(crate) reboot: Reboot,
    /// How often the machine has been set back: restarts of the agent and repeated rollback
    /// reboots. Bounded by [`crate::machine::MAX_SETBACKS`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) setbacks: u32,
}

/// Who ordered a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum Origin {
    /// A person or program at the command line.
    Standalone {
        /// The file or address as it was given.
        source: String,
    },
    /// A server.
    Server {
        /// The deployment's id there.
        id: String,
        /// Where the artifact is to be had.
        url: String,
        /// When it may be installed; at any time if it does not say. Forgotten when that begins, so that no other
        /// agent ever reads of it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        openings: Vec<Opening>,
    },
}

/// The header facts that are needed after the artifact itself is gone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contents {
    /// The artifact's name.
    pub(crate) name: String,
    /// The artifact's group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    /// The payload's type; `None` for an artifact that only changes provides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<String>,
    /// What the payload provides; `None` when the artifact does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) provides: Option<Provides>,
    /// Patterns of provides that the payload replaces; `None` when the artifact does not say,
    /// which is not the same as none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) clears_provides: Option<Vec<String>>,
}

/// What the device would be left with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Health {
    /// Nothing has failed: the new software.
    Good,
    /// Something has failed and nothing puts the old software back: a mixture, which the
    /// artifact's name will say.
    Inconsistent,
    /// Something has failed, and the old software is being or has been put back.
    Restored,
}

/// How a payload wants to be started.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(crate) enum Reboot {
    /// It runs already.
    #[default]
    No,
    /// The update module reboots what it updated.
    Yes,
    /// The device reboots.
    Automatic,
}

/// The end of a server's deployment, until the server knows of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FinalReport {
    /// The deployment's id.
    pub(crate) deployment: String,
    /// How it ended.
    pub(crate) verdict: Verdict,
}

/// How a deployment ended, as the server is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Verdict {
    /// The device runs the new software, for good.
    Success,
    /// It does not, or not as intended.
    Failure,
}

impl Record {
    /// The record of a device that has nothing to do.
    pub(crate) fn new(installed: Provides) -> Record {
        Record {
            installed,
            at: Point::IDLE,
            deployment: None,
            reports: Vec::new(),
        }
    }

    /// What is worth keeping over a restart: while nothing is in progress, not where the daemon is
    /// in its round. An offer counts when it is taken up.
    pub(crate) fn lasting(&self) -> Record {
        let mut record = self.clone();
        if matches!(self.at.state, State::Idle | State::Sync) {
            record.at = Point::IDLE;
            record.deployment = None;
        }
        record
    }

    /// Which walk of steps applies.
    pub(crate) fn mode(&self) -> Mode {
        match self
            .deployment
            .as_ref()
            .map(|deployment| &deployment.origin)
        {
            Some(Origin::Standalone { .. }) => Mode::Standalone,
            Some(Origin::Server { .. }) | None => Mode::Managed,
        }
    }
}

impl Deployment {
    /// A deployment at its beginning.
    pub(crate) fn new(origin: Origin) -> Deployment {
        Deployment {
            origin,
            artifact: None,
            target: None,
            paused: false,
            health: Health::Good,
            committed: false,
            rolled_back: false,
            reboot: Reboot::No,
            setbacks: 0,
        }
    }
}

impl Origin {
    /// When it may be installed; at any time without any.
    pub(crate) fn openings(&self) -> &[Opening] {
        match self {
            Origin::Server { openings, .. } => openings,
            Origin::Standalone { .. } => &[],
        }
    }

    /// The time has come: it is not asked for again, and whoever reads the record from now on need not know of it.
    pub(crate) fn forget_openings(&mut self) {
        if let Origin::Server { openings, .. } = self {
            openings.clear();
        }
    }
}

impl Reboot {
    /// Whether the payload runs without a reboot.
    fn is_no(&self) -> bool {
        *self == Reboot::No
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}
