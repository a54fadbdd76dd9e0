//! The exit codes of both programs.

use std::io;

use crate::Error;

/// How a program ends. The numbers are libubootenv's, which are negative error numbers cut to a byte;
/// what it does not tell apart has numbers of our own in that manner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// A name, a file or a change that is refused, or output that cannot be written.
    Refused = 1,
    /// Nobody reads the output any more; what a shell says of a program that SIGPIPE ended.
    ClosedPipe = 141,
    /// The configuration makes no sense, or does not fit the devices.
    WrongConfig = 234,
    /// Another program holds the lock.
    Locked = 240,
    /// No stored copy is good and there is no default environment.
    NoEnvironment = 243,
    /// The variables do not fit.
    TooBig = 244,
    /// The configuration cannot be read, or a device not be opened for writing.
    NotOpened = 247,
    /// What was written does not read back, or could not be made to count.
    NotKept = 251,
    /// Writing failed.
    NotWritten = 255,
}

impl From<&Error> for Exit {
    fn from(err: &Error) -> Self {
        match err {
            Error::ReadConfig { source, .. } if source.kind() == io::ErrorKind::IsADirectory => {
                Self::WrongConfig
            }
            Error::ReadConfig { .. } => Self::NotOpened,
            Error::Config { .. }
            | Error::Open { .. }
            | Error::Unsuitable { .. }
            | Error::Overlap(_) => Self::WrongConfig,
            Error::Locked { .. } => Self::Locked,
            Error::NoGoodCopy { .. } => Self::NoEnvironment,
            Error::TooBig { .. } => Self::TooBig,
            Error::Verify { .. } | Error::Obsolete { .. } => Self::NotKept,
            Error::Write { .. } => Self::NotWritten,
            Error::Namespace { .. }
            | Error::Name { .. }
            | Error::Value { .. }
            | Error::ReadOnly { .. }
            | Error::NotInWritelist { .. }
            | Error::ReadScript { .. } => Self::Refused,
        }
    }
}
