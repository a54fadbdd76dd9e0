//! Which devices are let in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::timestamp::Timestamp;

/// A device as the service that lets devices in sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Identifies the device to operators.
    pub id: String,
    /// What it says it is.
    pub identity_data: Map<String, Value>,
    /// The best of its auth sets.
    pub status: DeviceStatus,
    /// When it first knocked.
    pub created_ts: Timestamp,
    /// When its admission changed last.
    pub updated_ts: Timestamp,
    /// When it was heard from last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_in_time: Option<Timestamp>,
    /// The keys it came with.
    pub auth_sets: Vec<AuthSet>,
    /// Whether it is being removed.
    pub decommissioning: bool,
}

/// A key that a device came with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuthSet {
    /// Identifies the auth set.
    pub id: String,
    /// What the device says it is.
    pub identity_data: Map<String, Value>,
    /// Its public key, PEM.
    pub pubkey: String,
    /// Whether it is let in with this key.
    pub status: AuthSetStatus,
    /// When it came with this key first.
    pub ts: Timestamp,
}

/// Whether a device is let in with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthSetStatus {
    /// Nobody has decided.
    Pending,
    /// It is.
    Accepted,
    /// It is not.
    Rejected,
    /// It will be when it comes.
    Preauthorized,
}

impl AuthSetStatus {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Preauthorized => "preauthorized",
        }
    }
}

/// The status of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceStatus {
    /// Let in with one of its keys.
    Accepted,
    /// Announced by an operator.
    Preauthorized,
    /// Waiting for a decision.
    Pending,
    /// Not let in.
    Rejected,
    /// Without any key.
    Noauth,
}

impl DeviceStatus {
    /// All of them, the best first.
    pub const ALL: [Self; 5] = [
        Self::Accepted,
        Self::Preauthorized,
        Self::Pending,
        Self::Rejected,
        Self::Noauth,
    ];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Preauthorized => "preauthorized",
            Self::Pending => "pending",
            Self::Rejected => "rejected",
            Self::Noauth => "noauth",
        }
    }

    /// The status of a device that has auth sets with these: the best of them.
    #[must_use]
    pub fn of(auth_sets: &[AuthSetStatus]) -> Self {
        let has = |status| auth_sets.contains(&status);
        if has(AuthSetStatus::Accepted) {
            Self::Accepted
        } else if has(AuthSetStatus::Preauthorized) {
            Self::Preauthorized
        } else if has(AuthSetStatus::Pending) {
            Self::Pending
        } else if has(AuthSetStatus::Rejected) {
            Self::Rejected
        } else {
            Self::Noauth
        }
    }
}

impl fmt::Display for DeviceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for AuthSetStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeviceStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not the status of a device: accepted, preauthorized, pending, rejected, noauth"))
    }
}

impl FromStr for AuthSetStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Pending, Self::Accepted, Self::Rejected, Self::Preauthorized]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not the status of an auth set: pending, accepted, rejected, preauthorized"))
    }
}

/// The body of a decision about an auth set, and of the answer to a question about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAuthSetStatus {
    /// What it is to be, or is.
    pub status: AuthSetStatus,
}

/// A device that is to be let in when it comes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preauthorized {
    /// The whole identity, exactly as the device will send it.
    pub identity_data: Map<String, Value>,
    /// The public key that it will come with, PEM.
    pub pubkey: String,
    /// Add the key to the device even if there is a device of this identity.
    #[serde(default)]
    pub force: bool,
}

/// What became of a list of devices that are to be let in when they come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// How many are expected now.
    pub imported: u64,
    /// What is wrong with the others.
    pub problems: Vec<ImportProblem>,
}

/// A device of a list that is not expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportProblem {
    /// Its place in the list, from 0.
    pub index: usize,
    /// Why, for people.
    pub error: String,
}

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// How many.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_device_is_the_best_of_its_auth_sets() {
        use AuthSetStatus::{Accepted, Pending, Preauthorized, Rejected};
        assert_eq!(DeviceStatus::of(&[]), DeviceStatus::Noauth);
        assert_eq!(DeviceStatus::of(&[Rejected]), DeviceStatus::Rejected);
        assert_eq!(
            DeviceStatus::of(&[Rejected, Pending]),
            DeviceStatus::Pending
        );
        assert_eq!(
            DeviceStatus::of(&[Pending, Preauthorized]),
            DeviceStatus::Preauthorized
        );
        assert_eq!(
            DeviceStatus::of(&[Preauthorized, Rejected, Accepted]),
            DeviceStatus::Accepted
        );
    }

    #[test]
    fn every_status_is_read_back_as_it_is_written() {
        for status in DeviceStatus::ALL {
            assert_eq!(status.to_string().parse(), Ok(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        for status in ["pending", "accepted", "rejected", "preauthorized"] {
            assert_eq!(status.parse::<AuthSetStatus>().unwrap().as_str(), status);
        }
        assert!("Pending".parse::<DeviceStatus>().is_err());
    }
}
