//! Whom the server tells of what happens.

use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;

/// Somebody who is told of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Identifies it.
    pub id: String,
    /// Where events are sent to.
    pub url: String,
    /// Which events.
    pub events: Vec<String>,
    /// Since when.
    pub created_ts: Timestamp,
    /// How often in a row it did not take anything.
    pub failures: u64,
    /// How many events it is still to be told of.
    pub waiting: u64,
    /// What came of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_outcome: Option<String>,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<Timestamp>,
}

/// Somebody who is to be told of events.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewWebhook {
    /// Where events are to be sent to: `https://host/path`.
    pub url: String,
    /// Which events; all if empty.
    #[serde(default)]
    pub events: Vec<String>,
    /// What bodies are to be signed with, 16 to 256 characters; made up if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Whether the address may be `http://`: anybody on the way can read what is sent.
    #[serde(default)]
    pub allow_http: bool,
}

/// A webhook that was made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeWebhook {
    /// Identifies it.
    pub id: String,
    /// What bodies are signed with; it is not shown again.
    pub secret: String,
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookTest {
    /// Whether the receiver took it.
    pub taken: bool,
    /// The status of its answer, or why there was none.
    pub outcome: String,
}
