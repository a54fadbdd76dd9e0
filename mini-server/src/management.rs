//! What operators ask for: handlers, one file for each concern (spec `management-api`).

pub mod artifacts;
pub mod audit;
pub mod deployment_devices;
pub mod deployments;
pub mod devices;
pub mod filters;
pub mod groups;
pub mod inventory;
pub mod log_level;
pub mod login;
pub mod monitor;
pub mod pins;
pub mod reframing;
pub mod releases;
pub mod rollouts;
pub mod standing_orders;
pub mod tags;
pub mod tokens;
pub mod upload;
pub mod users;
pub mod webhooks;
