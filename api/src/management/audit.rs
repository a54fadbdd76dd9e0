//! The audit log.

use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;

/// A line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its number; later lines have higher ones.
    pub number: i64,
    /// When.
    pub time: Timestamp,
    /// Who.
    pub actor: AuditActor,
    /// What was done.
    pub action: String,
    /// With what.
    pub object: AuditObject,
    /// What is different now.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub change: String,
    /// `done`, or why not.
    pub outcome: String,
}

/// Who has done something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditActor {
    /// What kind of somebody: `user`, `device`, `cli` (on the server itself), `server`, `unknown`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who, if it is a user or a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The e-mail address of the user at that time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// The name of the personal access token that was used, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// From which address; absent for the server itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
}

/// With what something was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditObject {
    /// What kind of thing.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// What it was called at that time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}
