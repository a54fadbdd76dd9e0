//! What becomes of a deployment on one device.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The status of a deployment on one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeploymentStatus {
    /// Offered, and nothing heard since.
    Pending,
    /// The device downloads and stores the artifact.
    Downloading,
    /// The device waits for leave to install.
    PauseBeforeInstalling,
    /// The device installs, or is about to commit.
    Installing,
    /// The device waits for leave to reboot.
    PauseBeforeRebooting,
    /// The device reboots.
    Rebooting,
    /// The device waits for leave to commit.
    PauseBeforeCommitting,
    /// Final: the new artifact runs.
    Success,
    /// Final: the artifact could not be installed.
    Failure,
    /// Final: the device had the artifact already.
    AlreadyInstalled,
    /// Final, said by the server: no artifact of that name fits the device.
    NoArtifact,
    /// Final, said by the server: an operator stopped it.
    Aborted,
    /// Final, said by the server: the device is no longer managed.
    Decommissioned,
}

impl DeploymentStatus {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Pending,
        Self::Downloading,
        Self::PauseBeforeInstalling,
        Self::Installing,
        Self::PauseBeforeRebooting,
        Self::Rebooting,
        Self::PauseBeforeCommitting,
        Self::Success,
        Self::Failure,
        Self::AlreadyInstalled,
        Self::NoArtifact,
        Self::Aborted,
        Self::Decommissioned,
    ];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Downloading => "downloading",
            Self::PauseBeforeInstalling => "pause_before_installing",
            Self::Installing => "installing",
            Self::PauseBeforeRebooting => "pause_before_rebooting",
            Self::Rebooting => "rebooting",
            Self::PauseBeforeCommitting => "pause_before_committing",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::AlreadyInstalled => "already-installed",
            Self::NoArtifact => "noartifact",
            Self::Aborted => "aborted",
            Self::Decommissioned => "decommissioned",
        }
    }

    /// Whether nothing comes after it.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Pending
            | Self::Downloading
            | Self::PauseBeforeInstalling
            | Self::Installing
            | Self::PauseBeforeRebooting
            | Self::Rebooting
            | Self::PauseBeforeCommitting => false,
            Self::Success
            | Self::Failure
            | Self::AlreadyInstalled
            | Self::NoArtifact
            | Self::Aborted
            | Self::Decommissioned => true,
        }
    }

    /// Whether a device may report it; the others are the server's own.
    #[must_use]
    pub fn is_reported(self) -> bool {
        match self {
            Self::Pending | Self::NoArtifact | Self::Aborted | Self::Decommissioned => false,
            Self::Downloading
            | Self::PauseBeforeInstalling
            | Self::Installing
            | Self::PauseBeforeRebooting
            | Self::Rebooting
            | Self::PauseBeforeCommitting
            | Self::Success
            | Self::Failure
            | Self::AlreadyInstalled => true,
        }
    }

    /// Whether the device waits for an operator or its user.
    #[must_use]
    pub fn is_pause(self) -> bool {
        matches!(
            self,
            Self::PauseBeforeInstalling | Self::PauseBeforeRebooting | Self::PauseBeforeCommitting
        )
    }
}

impl fmt::Display for DeploymentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that is no [`DeploymentStatus`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAStatus;

impl fmt::Display for NotAStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the status of a deployment")
    }
}

impl std::error::Error for NotAStatus {}

impl FromStr for DeploymentStatus {
    type Err = NotAStatus;

    fn from_str(text: &str) -> Result<Self, NotAStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(NotAStatus)
    }
}

impl Serialize for DeploymentStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for DeploymentStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_read_back_as_it_is_written() {
        for status in DeploymentStatus::ALL {
            assert_eq!(status.to_string().parse(), Ok(status));
        }
        for wrong in ["", "Success", "already_installed", "success "] {
            assert_eq!(wrong.parse::<DeploymentStatus>(), Err(NotAStatus));
        }
    }

    #[test]
    fn what_only_the_server_says_is_final_or_the_beginning() {
        for status in DeploymentStatus::ALL {
            assert!(
                status.is_reported() || status.is_final() || status == DeploymentStatus::Pending
            );
            assert!(!status.is_pause() || status.is_reported() && !status.is_final());
        }
    }
}
