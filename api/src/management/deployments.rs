//! Deployments as an operator sees them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::management::{Artifact, Filter, NewRollout, Phase, Rollout};
use crate::status::DeploymentStatus;
use crate::timestamp::Timestamp;

/// A deployment to be made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NewDeployment {
    /// What to call it: 1 to 256 bytes.
    #[serde(default)]
    pub name: String,
    /// Which artifact: the best that fits of all that have this name.
    #[serde(default)]
    pub artifact_name: String,
    /// To these devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// To all that are accepted now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all_devices: bool,
    /// Also to devices that have an artifact of this name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force_installation: bool,
    /// To the devices of this saved filter, also to those that come to fit it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter_id: Option<String>,
    /// Also to devices that come to be among those it is for later: accepted, or put into the group.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continuous: bool,
    /// With `filter_id` or `continuous`: no further devices join when it has so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_devices: Option<u64>,
    /// How it is to go through its devices.
    #[serde(flatten)]
    pub rollout: NewRollout,
    /// What this version does not know. A server that would ignore some of it must refuse instead.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// Identifies the deployment.
    pub id: String,
    /// What its maker called it.
    pub name: String,
    /// The name of its artifact.
    pub artifact_name: String,
    /// When it was made.
    pub created: Timestamp,
    /// When its last device was done, or it was aborted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// How far it is.
    pub status: DeploymentState,
    /// How many devices have asked for it.
    pub device_count: u64,
    /// How many devices it is for.
    pub max_devices: u64,
    /// The artifacts that have its name.
    #[serde(default)]
    pub artifacts: Vec<String>,
    /// The groups it was made for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// `software`
    #[serde(rename = "type")]
    pub kind: String,
    /// As in [`NewDeployment`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force_installation: bool,
    /// Counts by status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistics: Option<Statistics>,
    /// One after the other; all at once if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<Phase>,
    /// How often a device on which it fails is given it again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// What devices must fulfil to get it, if it is for a filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<DeploymentFilter>,
    /// How it goes at this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// The filter of a deployment, as it was when the deployment was made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DeploymentFilter {
    /// Identifies it; it may be gone meanwhile.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// What it was called.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// All of these have to hold.
    pub terms: Vec<Filter>,
}

/// How far a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeploymentState {
    /// No device has begun.
    Pending,
    /// Some have.
    InProgress,
    /// All are done.
    Finished,
}

impl DeploymentState {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "inprogress",
            Self::Finished => "finished",
        }
    }
}

/// How many devices have which status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// All statuses, also those that no device has.
    pub status: BTreeMap<DeploymentStatus, u64>,
    /// The bytes that the devices were given to download.
    pub total_size: u64,
}

/// The statistics of one of several deployments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatisticsOf {
    /// Which deployment.
    pub id: String,
    /// Counts by status.
    pub stats: BTreeMap<DeploymentStatus, u64>,
}

/// How a deployment goes on one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceDeployment {
    /// The device.
    pub id: String,
    /// How far it is.
    pub status: DeploymentStatus,
    /// When the device asked for it.
    pub created: Timestamp,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// Whether there is a log.
    pub log: bool,
    /// What exactly it does, or why it ended so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub substate: Option<String>,
    /// The artifact that was chosen for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Artifact>,
}

/// One deployment of the history of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceHistory {
    /// Identifies the entry.
    pub id: String,
    /// The deployment.
    pub deployment: Deployment,
    /// How it went on the device.
    pub device: DeviceDeployment,
}
