//! The exit codes; scripts rely on them.

use std::process::ExitCode;

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what it was asked.
    Success,
    /// It did not.
    Failure,
    /// There is no update to commit, roll back or resume.
    NothingInProgress,
    /// It did, and the device has to be rebooted. Only if asked for with `--reboot-exit-code`.
    RebootNeeded,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::NothingInProgress => 2,
            Exit::RebootNeeded => 4,
        })
    }
}
