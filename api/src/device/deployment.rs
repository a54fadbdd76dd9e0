//! Deployments as a device sees them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::status::DeploymentStatus;
use crate::timestamp::Timestamp;

/// The body of a request for the next deployment, version 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextRequest {
    /// All that the device provides, with `artifact_name` and `device_type` among it. Version 1 sends this alone.
    pub device_provides: BTreeMap<String, String>,
    /// Whether the device understands control maps.
    #[serde(default)]
    pub update_control_map: bool,
}

/// A deployment for a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NextDeployment {
    /// Identifies the deployment; never empty.
    pub id: String,
    /// What to install.
    pub artifact: NextArtifact,
    /// Where to pause. Only for devices that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_control_map: Option<Value>,
    /// When it may be installed, if that is not at any time: the maintenance window that is open, and the next ones,
    /// in order. DIFFERS: Mender's server has none, and its client ignores them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintenance_openings: Vec<Opening>,
}

/// A time in which a device may begin to install.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Opening {
    /// When it begins.
    pub from: Timestamp,
    /// When it is over: nothing begins at this moment.
    pub until: Timestamp,
}

/// The artifact of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextArtifact {
    /// Identifies the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Exactly as in the artifact; never empty.
    pub artifact_name: String,
    /// Where the bytes are.
    pub source: Source,
    /// Exactly as in the artifact; at least one.
    pub device_types_compatible: Vec<String>,
}

/// Where to download an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The address; it is all that is needed, no token goes with it.
    pub uri: String,
    /// Until when a download may be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire: Option<Timestamp>,
}

/// The body of a status report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// How far the device is.
    pub status: DeploymentStatus,
    /// What exactly it does, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub substate: Option<String>,
}

/// The body of a log upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogUpload {
    /// The lines. Mender's server refuses an empty list.
    pub messages: Vec<LogMessage>,
}

/// A line of a deployment's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogMessage {
    /// When it was written.
    pub timestamp: Timestamp,
    /// `debug`, `info`, `warning`, `error`.
    pub level: String,
    /// The text; Mender's server refuses an empty one.
    pub message: String,
}
