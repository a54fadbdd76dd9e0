//! What statuses are called on pages, and which colour they have. Pure.

use tandem_api::DeploymentStatus;
use tandem_api::management::{AuthSetStatus, DeploymentState, DeviceStatus};

use crate::rollout::StoppedBy;
use crate::store::DeploymentRow;

/// A status as a page shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// In words.
    pub(super) label: &'static str,
    /// The class of the style sheet: `ok`, `bad`, `warn`, `busy` or `idle`.
    pub(super) class: &'static str,
}

const fn mark(label: &'static str, class: &'static str) -> Mark {
    Mark { label, class }
}

impl From<DeploymentStatus> for Mark {
    fn from(status: DeploymentStatus) -> Self {
        match status {
            DeploymentStatus::Pending => mark("Offered", "busy"),
            DeploymentStatus::Downloading => mark("Downloading", "busy"),
            DeploymentStatus::PauseBeforeInstalling => mark("Waits to install", "warn"),
            DeploymentStatus::Installing => mark("Installing", "busy"),
            DeploymentStatus::PauseBeforeRebooting => mark("Waits to reboot", "warn"),
            DeploymentStatus::Rebooting => mark("Rebooting", "busy"),
            DeploymentStatus::PauseBeforeCommitting => mark("Waits to commit", "warn"),
            DeploymentStatus::Success => mark("Updated", "ok"),
            DeploymentStatus::Failure => mark("Failed", "bad"),
            DeploymentStatus::AlreadyInstalled => mark("Had it already", "ok"),
            DeploymentStatus::NoArtifact => mark("Nothing fits", "warn"),
            DeploymentStatus::Aborted => mark("Aborted", "idle"),
            DeploymentStatus::Decommissioned => mark("Decommissioned", "idle"),
        }
    }
}

impl From<DeviceStatus> for Mark {
    fn from(status: DeviceStatus) -> Self {
        match status {
            DeviceStatus::Accepted => mark("Accepted", "ok"),
            DeviceStatus::Preauthorized => mark("Expected", "idle"),
            DeviceStatus::Pending => mark("Pending", "warn"),
            DeviceStatus::Rejected => mark("Rejected", "bad"),
            DeviceStatus::Noauth => mark("No key", "idle"),
        }
    }
}

impl From<AuthSetStatus> for Mark {
    fn from(status: AuthSetStatus) -> Self {
        match status {
            AuthSetStatus::Accepted => DeviceStatus::Accepted.into(),
            AuthSetStatus::Preauthorized => DeviceStatus::Preauthorized.into(),
            AuthSetStatus::Pending => DeviceStatus::Pending.into(),
            AuthSetStatus::Rejected => DeviceStatus::Rejected.into(),
        }
    }
}

impl From<&DeploymentRow> for Mark {
    fn from(deployment: &DeploymentRow) -> Self {
        let counted = |status| deployment.statistics.get(&status).copied().unwrap_or(0);
        let stopped = deployment.progress.halt.as_ref().map(|halt| halt.by);
        match deployment.state {
            DeploymentState::Pending | DeploymentState::InProgress
                if stopped == Some(StoppedBy::Failures) =>
            {
                mark("Stopped itself", "bad")
            }
            DeploymentState::Pending | DeploymentState::InProgress if stopped.is_some() => {
                mark("Paused", "warn")
            }
            DeploymentState::Pending => mark("Waiting for devices", "busy"),
            DeploymentState::InProgress => mark("Running", "busy"),
            DeploymentState::Finished if deployment.aborted => mark("Aborted", "idle"),
            DeploymentState::Finished if counted(DeploymentStatus::Failure) > 0 => {
                mark("Finished with failures", "bad")
            }
            DeploymentState::Finished => mark("Finished", "ok"),
        }
    }
}

/// How far along a device is, of [`STEPS`]; `None` if it has ended otherwise than well.
pub(super) fn step(status: DeploymentStatus) -> Option<usize> {
    match status {
        DeploymentStatus::Pending => Some(0),
        DeploymentStatus::Downloading => Some(1),
        DeploymentStatus::PauseBeforeInstalling | DeploymentStatus::Installing => Some(2),
        DeploymentStatus::PauseBeforeRebooting | DeploymentStatus::Rebooting => Some(3),
        DeploymentStatus::PauseBeforeCommitting => Some(4),
        DeploymentStatus::Success | DeploymentStatus::AlreadyInstalled => Some(5),
        DeploymentStatus::Failure
        | DeploymentStatus::NoArtifact
        | DeploymentStatus::Aborted
        | DeploymentStatus::Decommissioned => None,
    }
}

/// What a device goes through.
pub(super) const STEPS: [&str; 5] = ["Offered", "Download", "Install", "Reboot", "Commit"];
