//! A root file system from which programs of this machine run: little more than directories on
//! which the machine's own are seen.
//!
//! ```text
//! /usr /dev /sys   the machine's
//! /proc /tmp /run  fresh
//! ```

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

const DIRECTORIES: [&str; 9] = [
    "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var/lib",
];

/// What programs need of the machine's configuration. Debian finds some programs and libraries
/// through the alternatives.
const COPIED: [&str; 5] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/ld.so.cache",
    "/etc/alternatives",
];

/// Puts the files of such a root file system into `tree`, and makes these further directories.
///
/// # Errors
/// Those of `run`, which runs a command; a directory that cannot be made.
pub fn plant(
    tree: &Path,
    directories: &[&str],
    run: impl FnOnce(&mut Command) -> Result<Vec<u8>>,
) -> Result<()> {
    for directory in DIRECTORIES.iter().chain(directories) {
        fs::create_dir_all(tree.join(directory))?;
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        symlink(Path::new("usr").join(name), tree.join(name))?;
    }
    let mut copy = Command::new("cp");
    copy.arg("--archive").args(COPIED).arg(tree.join("etc"));
    run(&mut copy).map(drop)
}

/// Mounts on its directories, wherever it is mounted itself, what stands in the table above.
///
/// # Errors
/// Needs root.
pub fn furnish(root: &Path) -> Result<()> {
    attach(Path::new("/usr"), root, "usr", None, MsFlags::MS_BIND)?;
    for tree in ["/dev", "/sys"] {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        attach(Path::new(tree), root, tree, None, flags)?;
    }
    for (kind, place) in [("proc", "proc"), ("tmpfs", "tmp"), ("tmpfs", "run")] {
        attach(Path::new(kind), root, place, Some(kind), MsFlags::empty())?;
    }
    Ok(())
}

/// Mounts something on the directory or file `place` in `root`.
///
/// # Errors
/// Needs root, and what is named.
pub fn attach(
    source: &Path,
    root: &Path,
    place: &str,
    kind: Option<&str>,
    flags: MsFlags,
) -> Result<()> {
    let place = root.join(place.trim_start_matches('/'));
    let no_options: Option<&str> = None;
    mount(Some(source), &place, kind, flags, no_options)
        .with_context(|| format!("cannot mount {} on {}", source.display(), place.display()))
}
