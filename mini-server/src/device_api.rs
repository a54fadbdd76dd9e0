//! What devices ask for: handlers, one file for each concern (spec `device-api`).

mod address;
pub mod auth_request;
pub mod deployment_status;
pub mod download;
pub mod inventory;
pub mod log_upload;
pub mod next;
