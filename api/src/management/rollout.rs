//! How a deployment goes through its devices: phases, limits, windows; and saved filters, which are dynamic groups.
//!
//! `phases`, `batch_size`, `start_ts`, `retries`, `filter_id` and `max_devices` are what Mender's paid servers call them;
//! the rest is ours.

use serde::{Deserialize, Serialize};

use crate::management::{DeploymentFilter, Filter};
use crate::timestamp::Timestamp;

/// How a deployment to be made is to go through its devices. By default everybody at once, once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRollout {
    /// One after the other; all at once if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<NewPhase>,
    /// How often a device on which it fails is given it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// How many devices may be at it at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u64>,
    /// When failures stop it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_on_failures: Option<StopOnFailures>,
    /// When devices may be given it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_window: Option<MaintenanceWindow>,
    /// After how many seconds without a word from it a device that is at it gives its place up; 0 for never, as the
    /// server is set without this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_after_seconds: Option<u64>,
}

/// A phase of a deployment to be made: how many further devices, and from when on. The last phase takes all that are
/// left: it has no size, or makes the percentages 100.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPhase {
    /// This many percent of all devices, rounded down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u8>,
    /// This many devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_count: Option<u64>,
    /// The devices of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// From this time on, however the phase before goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ts: Option<Timestamp>,
    /// This long after all devices of the phase before are done. Zero without this and without `start_ts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<u64>,
    /// Only when somebody says so, after all else is fulfilled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pause: bool,
}

/// When failures stop a deployment: what is reached first counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopOnFailures {
    /// This many devices failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// This many percent of the devices that are done failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// The percentage counts from this many devices on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<u64>,
    /// Devices that are lost count as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

/// The times at which devices may be given something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceWindow {
    /// `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`: the days on which it begins; every day if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<String>,
    /// When it begins, `22:30`.
    pub start: String,
    /// How long it is open.
    pub duration_minutes: u32,
    /// Whose clock counts, `Europe/Berlin`; UTC without this.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub time_zone: String,
}

/// A phase as it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// What it was made as.
    #[serde(flatten)]
    pub made: NewPhase,
    /// How many devices have begun in it.
    pub device_count: u64,
    /// How many devices it is for, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// How far it is.
    pub state: PhaseState,
}

/// How far a phase is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PhaseState {
    /// Its time has not come.
    Waiting,
    /// Devices begin in it.
    Current,
    /// A later one is the current one, or the deployment has ended.
    Past,
}

/// How a deployment goes through its devices at this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Whether it is paused: nobody begins.
    pub paused: bool,
    /// Who paused it: `operator`, `failures`, or `phase` if the next phase waits for somebody's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<String>,
    /// Why no device begins now, for people; absent if one may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holding: Option<String>,
    /// How many devices are at it.
    pub active: u64,
    /// How many devices have begun and were not heard of for so long that others have their places.
    #[serde(default)]
    pub lost: u64,
    /// How long that is, seconds; 0 for ever, absent if it is as the server is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_after_seconds: Option<u64>,
    /// How many devices may be at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u64>,
    /// When failures stop it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_on_failures: Option<StopOnFailures>,
    /// When devices may be given something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_window: Option<MaintenanceWindow>,
    /// Whether devices that come to fit the filter later get it as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continuous: bool,
}

/// A filter to be saved: a dynamic group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NewFilter {
    /// What to call it.
    #[serde(default)]
    pub name: String,
    /// All of these have to hold.
    #[serde(default)]
    pub terms: Vec<Filter>,
}

/// A saved filter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedFilter {
    /// Identifies it.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// All of these have to hold.
    pub terms: Vec<Filter>,
}

/// A standing order to be given: always the newest release with a tag.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NewStandingOrder {
    /// Releases with this tag.
    #[serde(default)]
    pub tag: String,
    /// To the devices of this group; to all without this and without `filter_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// To the devices of this saved filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter_id: Option<String>,
    /// How each release goes through them: phases, limits, window.
    #[serde(flatten)]
    pub rollout: NewRollout,
}

/// A standing order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StandingOrder {
    /// Identifies it.
    pub id: String,
    /// Releases with this tag.
    pub tag: String,
    /// Which devices.
    pub filter: DeploymentFilter,
    /// The release of the moment, if there has been one.
    #[serde(default)]
    pub release: Option<String>,
    /// Its deployment.
    #[serde(default)]
    pub deployment: Option<String>,
}

/// The release that a device stays with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Its name.
    pub release: String,
}

/// A deployment that a device has not begun.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingDeployment {
    /// The deployment.
    pub deployment_id: String,
    /// What it is called.
    pub name: String,
    /// The name of its artifact.
    pub artifact_name: String,
    /// Why the device has not begun it, for people.
    pub reason: String,
}
