//! Who a device says it is.

use serde::{Deserialize, Serialize};

/// The body of an auth request. Its exact bytes are signed with the device's key; the signature is in the header
/// [`SIGNATURE`](crate::SIGNATURE).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthRequest {
    /// The identity: a JSON object, as a string.
    #[serde(default)]
    pub id_data: String,
    /// The public key: PEM, `PUBLIC KEY`.
    #[serde(default)]
    pub pubkey: String,
    /// The customer of a hosted server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_token: Option<String>,
}
