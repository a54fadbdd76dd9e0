//! What goes over the wire between devices, operators and the server: JSON bodies, paths and header names of
//! Mender's device and management APIs, and nothing that does I/O.
//!
//! [`device`] is what a device says and hears, [`management`] what an operator's tools do. The types are used on both
//! sides: unknown fields are ignored, absent optional fields are left out when written. The facts are in the
//! specifications `device-api` and `management-api`, captured from the real programs.

pub mod device;
mod error_body;
pub mod management;
mod status;
mod timestamp;

pub use error_body::ErrorBody;
pub use status::{DeploymentStatus, NotAStatus};
pub use timestamp::{NotATimestamp, Timestamp};

/// Identifies a request in the logs of both sides; echoed by the server if it has a usable form.
pub const REQUEST_ID: &str = "x-men-requestid";

/// Base64 of the signature of the exact body bytes of an auth request.
pub const SIGNATURE: &str = "x-men-signature";

/// The number of all items, beside a page of them.
pub const TOTAL_COUNT: &str = "x-total-count";
