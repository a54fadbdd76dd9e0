//! The body of every answer that is an error.

use serde::{Deserialize, Serialize};

/// Why a request was refused. Some answers have no body or plain text instead: a client must tolerate all three.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// For people.
    pub error: String,
    /// As in the header [`REQUEST_ID`](crate::REQUEST_ID).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}
