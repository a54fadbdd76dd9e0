//! Putting the scripts of an artifact where they are run from.
//!
//! ```text
//! <dir>      the set that is run: whole, or not there
//! <dir>.new  a set being written; never run
//! <dir>.old  a set being deleted; never run
//! ```
//!
//! The power may go at any instant, so a set comes and goes by one rename each, and content is
//! durable before the rename that makes it count. What an interrupted call left behind is removed
//! by the next one.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::{Error, ScriptName, version};

/// Mode of the directory and the files in it: for us alone, and executable.
const MODE: u32 = 0o700;

/// Replaces the scripts in `dir` by these (file name and content), and makes that durable.
///
/// If it fails or is interrupted, `dir` has either all the old scripts or none. With no scripts it
/// is the same as [`clear`]. The parent of `dir` must exist.
///
/// # Errors
/// [`Error::Name`] for a name that is not a state script's, [`Error::Store`] for what the file
/// system refuses, which includes a name that comes twice.
pub fn store<'a>(
    dir: &Path,
    scripts: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<(), Error> {
    clear(dir)?;
    let mut scripts = scripts.into_iter().peekable();
    if scripts.peek().is_none() {
        return Ok(());
    }
    let new = beside(dir, ".new");
    DirBuilder::new()
        .mode(MODE)
        .create(&new)
        .map_err(because("create directory", &new))?;
    for (name, content) in scripts {
        let name = ScriptName::parse(name)?;
        write(&new.join(name.as_os_str()), content)?;
    }
    write(&new.join(version::FILE_NAME), version::CURRENT.as_bytes())?;
    sync(&new)?;
    // Everything in it is on the disk: from here on the set counts.
    rename(&new, dir)?;
    sync(parent(dir))
}

/// Removes the scripts in `dir`, and makes that durable. There need not be any.
///
/// # Errors
/// [`Error::Store`] for what the file system refuses.
pub fn clear(dir: &Path) -> Result<(), Error> {
    let (new, old) = (beside(dir, ".new"), beside(dir, ".old"));
    remove(&new)?;
    remove(&old)?;
    match fs::symlink_metadata(dir) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return sync(parent(dir)),
        Err(err) => return Err(because("look at", dir)(err)),
        Ok(_) => rename(dir, &old)?,
    }
    // Half a set must never be seen under the name that counts, so first the name goes for good.
    sync(parent(dir))?;
    remove(&old)
}

fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let attempt = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(path)?;
        file.write_all(content)?;
        // Whatever the umask took away.
        file.set_permissions(Permissions::from_mode(MODE))?;
        file.sync_all()
    };
    attempt().map_err(because("write", path))
}

/// Removes a directory with all that is in it, or whatever else has this name, without following
/// links.
fn remove(path: &Path) -> Result<(), Error> {
    let removed = match fs::remove_dir_all(path) {
        Err(err) if err.kind() == io::ErrorKind::NotADirectory => fs::remove_file(path),
        other => other,
    };
    match removed {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(because("remove", path)),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a directory, not a file: its content has been synced, the caller syncs the parent"
)]
fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(because("rename", from))
}

fn sync(directory: &Path) -> Result<(), Error> {
    let attempt = || File::open(directory)?.sync_all();
    attempt().map_err(because("sync", directory))
}

fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    dir.with_file_name(name)
}

fn parent(dir: &Path) -> &Path {
    match dir.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    }
}

fn because(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Store {
        action,
        path,
        source,
    }
}
