//! Everything that can go wrong with the environment, in one place.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Health, Place};

/// Why the environment could not be read or changed.
///
/// Unless said otherwise the stored environment is as it was before.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The configuration file cannot be read.
    ReadConfig {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The configuration file makes no sense.
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line where one line is to blame.
        reason: String,
    },
    /// The configuration file has no such namespace.
    Namespace {
        /// The one that was asked for.
        name: String,
        /// Those that there are; none in the line form.
        known: Vec<String>,
    },
    /// A device or file of the configuration cannot be opened.
    Open {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The configuration asks something of a device that it cannot give.
    Unsuitable {
        /// The copy in question.
        place: Place,
        /// What does not fit.
        reason: &'static str,
    },
    /// The two copies share bytes, or on flash an erase block: writing one destroys the other.
    Overlap(Box<[Place; 2]>),
    /// Somebody else held the lock for all of the time that we were ready to wait.
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long we waited.
        patience: Duration,
    },
    /// No copy is good, so there is nothing to change.
    NoGoodCopy {
        /// The copies and how they were found.
        copies: Vec<(Place, Health)>,
    },
    /// A name that cannot be stored.
    Name {
        /// The name.
        name: Vec<u8>,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A value that cannot be stored: it contains NUL.
    Value {
        /// The variable.
        name: Vec<u8>,
    },
    /// The environment's own `.flags` forbid this change.
    ReadOnly {
        /// The variable.
        name: Vec<u8>,
    },
    /// The configuration's `writelist` does not allow this change.
    NotInWritelist {
        /// The variable.
        name: Vec<u8>,
    },
    /// The variables do not fit into a copy.
    TooBig {
        /// Bytes that the variables take.
        needed: usize,
        /// Bytes that a copy has for them.
        available: usize,
    },
    /// Writing failed. With two copies the current one is untouched, and it depends on how far the
    /// device came which one counts: read again to find out.
    Write {
        /// The copy that was being written.
        place: Place,
        /// What the kernel said.
        source: io::Error,
    },
    /// What was written reads back differently: the medium is worn out or lies. With two copies
    /// the current one is untouched.
    Verify {
        /// The copy that was written.
        place: Place,
    },
    /// The new copy is written, but the old one could not be marked obsolete (NOR flash), so that
    /// either may count. Read again to find out.
    Obsolete {
        /// The old copy.
        place: Place,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file with variables cannot be read.
    ReadScript {
        /// The file, or `-`.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadConfig { path, .. } => {
                write!(out, "cannot read configuration {}", path.display())
            }
            Self::Config { path, reason } => {
                write!(out, "configuration {} is wrong: {reason}", path.display())
            }
            Self::Namespace { name, known } if known.is_empty() => {
                write!(out, "no namespace \"{name}\": the configuration has none")
            }
            Self::Namespace { name, known } => {
                write!(
                    out,
                    "no namespace \"{name}\", there are: {}",
                    known.join(", ")
                )
            }
            Self::Open { path, .. } => write!(out, "cannot open {}", path.display()),
            Self::Unsuitable { place, reason } => write!(out, "cannot use {place}: {reason}"),
            Self::Overlap(places) => {
                let [first, second] = places.as_ref();
                write!(
                    out,
                    "the copies {first} and {second} overlap: writing one would destroy the other"
                )
            }
            Self::Locked { path, patience } => write!(
                out,
                "another program has held the lock {} for {} s; `fuser {0}` names it",
                path.display(),
                patience.as_secs()
            ),
            Self::NoGoodCopy { copies } => {
                write!(out, "no copy of the environment is good")?;
                for (place, health) in copies {
                    write!(out, "; {place} is {health}")?;
                }
                write!(
                    out,
                    "; run `saveenv` in U-Boot, or give its default environment to `fw_setenv -f`"
                )
            }
            Self::Name { name, fault } => {
                write!(out, "{fault} in variable name \"{}\"", name.escape_ascii())
            }
            Self::Value { name } => {
                write!(
                    out,
                    "illegal character NUL in the value of \"{}\"",
                    name.escape_ascii()
                )
            }
            Self::ReadOnly { name } => write!(
                out,
                "variable \"{}\" is read-only by the environment's .flags",
                name.escape_ascii()
            ),
            Self::NotInWritelist { name } => write!(
                out,
                "variable \"{}\" may not be changed by the configuration's writelist",
                name.escape_ascii()
            ),
            Self::TooBig { needed, available } => write!(
                out,
                "the variables take {needed} bytes and the environment has {available}"
            ),
            Self::Write { place, .. } => write!(out, "cannot write the copy {place}"),
            Self::Verify { place } => {
                write!(
                    out,
                    "the copy {place} reads back differently than it was written"
                )
            }
            Self::Obsolete { place, .. } => {
                write!(out, "cannot mark the old copy {place} as obsolete")
            }
            Self::ReadScript { path, .. } => {
                write!(out, "cannot read variables from {}", path.display())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::ReadConfig { source, .. }
            | Self::Open { source, .. }
            | Self::Write { source, .. }
            | Self::Obsolete { source, .. }
            | Self::ReadScript { source, .. } => Some(source),
            Self::Config { .. }
            | Self::Namespace { .. }
            | Self::Unsuitable { .. }
            | Self::Overlap(_)
            | Self::Locked { .. }
            | Self::NoGoodCopy { .. }
            | Self::Name { .. }
            | Self::Value { .. }
            | Self::ReadOnly { .. }
            | Self::NotInWritelist { .. }
            | Self::TooBig { .. }
            | Self::Verify { .. } => None,
        }
    }
}
