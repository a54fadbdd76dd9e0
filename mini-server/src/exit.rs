//! The exit codes; scripts rely on them.

use std::fmt;
use std::process::ExitCode;

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked.
    Success,
    /// It did not.
    Failure,
    /// It was not called in the right way.
    Usage,
    /// What it was to work on is not there.
    Missing,
    /// The server could not be reached.
    Unreachable,
    /// The server does not allow it.
    Refused,
}

/// For `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  not done
  2  called in a wrong way
  3  there is no such user, token, device, artifact, deployment, filter or group
  4  the server cannot be reached, or its certificate is not trusted
  5  the server does not allow it: no token, a wrong one, or one that is no longer good";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::Missing => 3,
            Exit::Unreachable => 4,
            Exit::Refused => 5,
        })
    }
}

/// A failure that has an exit code of its own; the causes come before it.
#[derive(Debug)]
pub struct Because(pub Exit, pub String);

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

impl std::error::Error for Because {}

/// The exit code of a failure.
#[must_use]
pub fn of(err: &anyhow::Error) -> Exit {
    err.downcast_ref::<Because>()
        .map_or(Exit::Failure, |because| because.0)
}
