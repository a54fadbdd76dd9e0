//! Mounts that nobody else sees.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// What this process mounts from now on nobody else sees, and it is gone when the process is, however that ends.
///
/// # Errors
/// Needs root.
pub fn leave_mounts() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let nothing: Option<&Path> = None;
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(nothing, "/", nothing, flags, nothing)
}
