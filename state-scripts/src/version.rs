//! The `version` file of a script directory.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::Error;

/// Name of the file, in the directory of the scripts it speaks of.
pub(crate) const FILE_NAME: &str = "version";

/// What is written beside the scripts of an artifact.
pub(crate) const CURRENT: &str = "3";

/// Versions of the script interface that can be run; 2 and 3 do not differ for a script.
const SUPPORTED: [&str; 2] = ["2", CURRENT];

/// As much of the file as is looked at, in bytes.
const READ_LIMIT: u64 = 64;

/// Checks that the scripts in `directory` are of a version that can be run: its file `version`
/// starts with the word `2` or `3`, or there is no such file.
///
/// It is checked before every set. The agent also checks the rootfs scripts just before it commits,
/// so that a new root file system with scripts it cannot run is rolled back.
///
/// # Errors
/// [`Error::Version`] for another or an empty word, [`Error::VersionFile`] if it cannot be read.
pub fn check(directory: &Path) -> Result<(), Error> {
    let path = directory.join(FILE_NAME);
    let bytes = match read(&path) {
        Ok(bytes) => bytes,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::VersionFile { path, source }),
    };
    let text = String::from_utf8_lossy(&bytes);
    let found = text.split_ascii_whitespace().next().unwrap_or_default();
    if SUPPORTED.contains(&found) {
        Ok(())
    } else {
        let found = found.to_owned();
        Err(Error::Version { path, found })
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe that someone put there must not wait for its other end.
    let flags = OFlag::O_NONBLOCK.bits();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let mut bytes = Vec::new();
    file.take(READ_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}
