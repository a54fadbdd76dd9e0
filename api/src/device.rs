//! The device API: what a device sends to the server and what it gets.
//!
//! ```text
//! POST AUTH_REQUESTS             AuthRequest, signed      200 token | 401 not (yet) accepted
//! POST NEXT_V2                   NextRequest              200 NextDeployment | 204 nothing to do
//! POST NEXT_V1                   provides alone           (for servers and clients without v2)
//! PUT  status_path(deployment)   StatusReport             204 | 409 aborted
//! PUT  log_path(deployment)      LogUpload                204
//! PUT  INVENTORY                 [Attribute]              200
//! ```

mod auth;
mod deployment;
mod inventory;

pub use auth::AuthRequest;
pub use deployment::{
    LogMessage, LogUpload, NextArtifact, NextDeployment, NextRequest, Opening, Source, StatusReport,
};
pub use inventory::{Attribute, AttributeValue};

/// Where a device asks for a token.
pub const AUTH_REQUESTS: &str = "/api/devices/v1/authentication/auth_requests";

/// Where a device asks for its next deployment.
pub const NEXT_V2: &str = "/api/devices/v2/deployments/device/deployments/next";

/// The same, for servers that do not know the second version.
pub const NEXT_V1: &str = "/api/devices/v1/deployments/device/deployments/next";

/// Where a device puts what is known about it.
pub const INVENTORY: &str = "/api/devices/v1/inventory/device/attributes";

/// Where a device reports how `deployment` goes.
#[must_use]
pub fn status_path(deployment: &str) -> String {
    format!("/api/devices/v1/deployments/device/deployments/{deployment}/status")
}

/// Where a device puts the log of `deployment`.
#[must_use]
pub fn log_path(deployment: &str) -> String {
    format!("/api/devices/v1/deployments/device/deployments/{deployment}/log")
}

/// Where a device asks whether it may go on with `deployment`.
#[must_use]
pub fn control_map_path(deployment: &str) -> String {
    format!("/api/devices/v2/deployments/device/deployments/{deployment}/update_control_map")
}
