//! What can go wrong.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use crate::ScriptName;
use crate::child::Ending;

/// Why something could not be done with state scripts, or with a child process.
#[derive(Debug)]
pub enum Error {
    /// A word that is neither a state nor an action.
    Word(String),
    /// A file name that is not that of a state script.
    Name(OsString),
    /// The `version` file of a script directory names a version that cannot be run.
    Version {
        /// The `version` file.
        path: PathBuf,
        /// Its first word, empty if it has none.
        found: String,
    },
    /// The `version` file of a script directory cannot be read.
    VersionFile {
        /// The `version` file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A script directory cannot be listed.
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A script directory has more than [`MAX_ENTRIES`](crate::MAX_ENTRIES) entries.
    TooManyEntries(PathBuf),
    /// A program cannot be started.
    Start {
        /// Its path.
        program: OsString,
        /// What the system said.
        source: io::Error,
    },
    /// A script of the set has failed.
    Failed {
        /// The first that did.
        script: ScriptName,
        /// How.
        failure: Failure,
        /// How many scripts after it failed as well.
        others: usize,
    },
    /// The run was ended by the stop descriptor.
    Stopped,
    /// The scripts of an artifact cannot be put in place.
    Store {
        /// What was attempted.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// How a script failed.
#[derive(Debug)]
pub enum Failure {
    /// It ended in this way, which is neither exit code 0 nor 21.
    Ended(Ending),
    /// It asked to be run again later for longer than this, and was given up.
    RetriedTooLong(Duration),
    /// It could not be started.
    NotStarted(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(
                f,
                "no state or action is called \"{}\"",
                word.escape_debug()
            ),
            Self::Name(name) => write!(
                f,
                "\"{}\" is not a name for a state script, which must be \
                 <State>_<Enter|Leave|Error>_<two digits>[_<text without spaces>]",
                name.to_string_lossy().escape_debug()
            ),
            Self::Version { path, found } => write!(
                f,
                "{} asks for script version \"{}\", supported are 2 and 3",
                path.display(),
                found.escape_debug()
            ),
            Self::VersionFile { path, .. } => {
                write!(f, "cannot read the script version in {}", path.display())
            }
            Self::Directory { path, .. } => {
                write!(f, "cannot list the state scripts in {}", path.display())
            }
            Self::TooManyEntries(path) => write!(
                f,
                "{} has more than {} entries, which is more than a script directory may have",
                path.display(),
                crate::MAX_ENTRIES
            ),
            Self::Start { program, .. } => {
                write!(
                    f,
                    "cannot start {}",
                    program.to_string_lossy().escape_debug()
                )
            }
            Self::Failed {
                script,
                failure,
                others,
            } => {
                write!(f, "state script \"{script}\" failed: {failure}")?;
                match others {
                    0 => Ok(()),
                    1 => f.write_str(" (and another failed after it)"),
                    more => write!(f, " (and {more} others failed after it)"),
                }
            }
            Self::Stopped => f.write_str("asked to stop while running state scripts"),
            Self::Store { action, path, .. } => write!(f, "cannot {action} {}", path.display()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(ending) => ending.fmt(f),
            Self::RetriedTooLong(limit) => {
                write!(f, "it asked to be run again later for more than {limit:?}")
            }
            Self::NotStarted(_) => f.write_str("it cannot be started"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::VersionFile { source, .. }
            | Self::Directory { source, .. }
            | Self::Start { source, .. }
            | Self::Store { source, .. } => Some(source),
            Self::Failed {
                failure: Failure::NotStarted(source),
                ..
            } => Some(source),
            Self::Failed { .. }
            | Self::Word(_)
            | Self::Name(_)
            | Self::Version { .. }
            | Self::TooManyEntries(_)
            | Self::Stopped => None,
        }
    }
}
