//! Which scripts of a directory form one set.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use log::warn;

use crate::{Action, Error, ScriptName, State};

/// Most directory entries that are looked at; a directory with more is an error.
pub const MAX_ENTRIES: usize = 65_536;

/// The scripts of `directory` that belong to `state` and `action`, in the order in which they run.
///
/// Files with other names are ignored. One with the right name that cannot be executed is skipped
/// with a warning. A directory that does not exist has no scripts.
///
/// # Errors
/// [`Error::Directory`] if it cannot be read, [`Error::TooManyEntries`] beyond [`MAX_ENTRIES`].
pub fn list(directory: &Path, state: State, action: Action) -> Result<Vec<ScriptName>, Error> {
    let failed = |source| Error::Directory {
        path: directory.to_owned(),
        source,
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(failed(err)),
    };
    let mut names = Vec::new();
    for (count, entry) in entries.enumerate() {
        if count >= MAX_ENTRIES {
            return Err(Error::TooManyEntries(directory.to_owned()));
        }
        let entry = entry.map_err(failed)?;
        let Ok(name) = ScriptName::parse(entry.file_name()) else {
            continue;
        };
        if (name.state(), name.action()) == (state, action) && can_run(&name, &entry.path()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Whether it is a file, or a link to one, with an execute bit.
fn can_run(name: &ScriptName, path: &Path) -> bool {
    const ANY_EXECUTE: u32 = 0o111;
    match fs::metadata(path) {
        Err(err) => warn!("skipping state script \"{name}\": {err}"),
        Ok(meta) if !meta.is_file() => warn!("skipping state script \"{name}\": not a file"),
        Ok(meta) if meta.permissions().mode() & ANY_EXECUTE == 0 => {
            warn!("skipping state script \"{name}\": not executable");
        }
        Ok(_) => return true,
    }
    false
}
