//! The pages for people: HTML made here, a little script that pages work without, one style sheet.
//!
//! ```text
//! request -> surface (cookie, origin) -> handler -> store, and what `management` does -> template -> answer (headers)
//! ```
//!
//! Cookies count here and nowhere else, so no other site can make a browser use the APIs with them; what changes
//! something here has to come from a page of ours (`origin.rs`). Everything from outside is escaped by the templates and
//! made harmless by `wording.rs`. No page refers to anything but this server.

pub(crate) mod answer;
pub(crate) mod assets;
pub(crate) mod audit;
mod chart;
pub(crate) mod cookie;
pub(crate) mod deployment;
pub(crate) mod deployments;
pub(crate) mod device;
pub(crate) mod device_log;
pub(crate) mod devices;
pub(crate) mod docs;
pub(crate) mod events;
mod form;
mod frame;
mod identity_text;
pub(crate) mod import;
pub(crate) mod new_deployment;
pub(crate) mod origin;
pub(crate) mod overview;
mod pager;
pub(crate) mod people;
mod preview;
pub(crate) mod release;
pub(crate) mod releases;
mod rollout;
pub(crate) mod settings;
pub(crate) mod sign_in;
pub(crate) mod standing;
pub(crate) mod start;
mod status_text;
pub(crate) mod webhooks;
mod wording;
