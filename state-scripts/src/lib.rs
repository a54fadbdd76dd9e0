//! State scripts: their names, their order, and running them.
//!
//! A state script is an executable that integrators put into a device's root file system or into
//! an artifact, to be run when an update enters a state, leaves it or fails in it: to ask a person,
//! to stop a service, to check that the new system is healthy. The rules are Mender's, so scripts
//! written for it run unchanged.
//!
//! ```text
//! <scripts dir>/Download_Enter_50_ask-user      rootfs scripts: Idle, Sync, Download
//! <data dir>/scripts/ArtifactCommit_Enter_10_x  artifact scripts: all Artifact* states
//!                │        │     │  └ free text, no white space
//!                │        │     └ two digits: the order within the set
//!                │        └ Enter, Leave or Error
//!                └ one of nine states
//! ```
//!
//! * [`ScriptName`], [`State`], [`Action`] and [`list()`]: which files count, and in which order.
//! * [`store()`]: puts the scripts of an artifact where they are run from, whole or not at all.
//! * [`Runner`]: runs one set; [`mode_of`] says which sets exist and whether a failure ends them.
//! * [`child`]: the supervised child process underneath. The agent runs update modules, identity
//!   and inventory scripts and the reboot command through it as well.
//!
//! Nothing here starts a thread, waits without a limit, or keeps more than a bounded part of what
//! a script prints.

pub mod child;
mod error;
mod list;
mod mode;
mod name;
mod run;
mod store;
mod version;
mod wait;

pub use error::{Error, Failure};
pub use list::{MAX_ENTRIES, list};
pub use mode::{OnError, mode_of};
pub use name::{Action, Origin, ScriptName, State};
pub use run::Runner;
pub use store::{clear, store};
pub use version::check as check_version;
