//! The verbs with which an operator works without a browser.
//!
//! Every verb is one or a few requests of the management API, so it does the same from anywhere:
//!
//! ```text
//! --server URL --token T   HTTPS
//! --data DIR               while the server runs: its socket in DIR (whoever may open that may do anything)
//!                          else: the server's own code in this process, over DIR
//! ```
//!
//! The running server's memory is therefore never wrong about what a verb has changed.

pub mod artifacts;
pub mod audit;
pub mod backup;
pub mod client;
pub mod deployments;
pub mod devices;
pub mod filters;
pub mod groups;
pub mod log_level;
pub mod migrate;
pub mod output;
pub mod progress;
pub mod rollout_args;
pub mod standing_orders;
pub mod tokens;
pub mod users;
pub mod webhooks;
