//! Keeping other programs out while the environment changes.
//!
//! The lock is `flock` on the file that libubootenv locks, so that its tools and ours exclude each
//! other. (U-Boot's own tool locks `/run/fw_printenv.lock`, which is another file.)
//!
//! DIFFERS: libubootenv waits for ever and truncates the file. We wait for a limited time
//! ([`PATIENCE`]), do not write to the file and do not follow a link in its place, since its
//! directory is writable by all. That the file cannot be opened at all is no error, as there.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::poll::{PollTimeout, poll};

use crate::{Error, Warning};

/// The right to change the environment: from [`crate::Store::lock`], until it is dropped.
#[derive(Debug)]
pub struct Guard(pub(crate) Held);

/// A promise that nobody changes the environment: from [`crate::Store::lock_for_reading`], until it
/// is dropped.
#[derive(Debug)]
pub struct ReadGuard(pub(crate) Held);

impl Guard {
    /// Waits until no other program holds `path`: the lock file of another boot loader's
    /// environment, whose tools lock theirs in the same way.
    ///
    /// # Errors
    /// [`Error::Locked`] when another program does not let go in ten seconds.
    pub fn on(path: &Path) -> Result<Guard, Error> {
        acquire(path, FlockArg::LockExclusiveNonblock, PATIENCE).map(Guard)
    }

    /// Why the lock does not keep others out, if so.
    #[must_use]
    pub fn warning(&self) -> Option<&Warning> {
        self.0.as_ref().err()
    }
}

impl ReadGuard {
    /// Why the lock does not keep others out, if so.
    #[must_use]
    pub fn warning(&self) -> Option<&Warning> {
        self.0.as_ref().err()
    }
}

/// The lock, or why we go on without it.
pub(crate) type Held = Result<Flock<File>, Warning>;

/// Waits for the lock, at most for `patience`.
pub(crate) fn acquire(path: &Path, kind: FlockArg, patience: Duration) -> Result<Held, Error> {
    let without = |reason: io::Error| {
        Ok(Err(Warning::NoLock {
            path: path.to_owned(),
            reason: reason.to_string(),
        }))
    };
    let mut file = match open(path) {
        Ok(file) => file,
        Err(reason) => return without(reason),
    };
    let start = Instant::now();
    loop {
        match Flock::lock(file, kind) {
            Ok(held) => return Ok(Ok(held)),
            Err((again, Errno::EWOULDBLOCK)) if start.elapsed() < patience => file = again,
            Err((_, Errno::EWOULDBLOCK)) => {
                return Err(Error::Locked {
                    path: path.to_owned(),
                    patience,
                });
            }
            Err((again, Errno::EINTR)) => file = again,
            Err((_, errno)) => return without(errno.into()),
        }
        // There is no flock with a time limit. Holders are done within milliseconds; an early
        // return (a signal) only means to look again sooner.
        let _ = poll(&mut [], PollTimeout::from(INTERVAL));
    }
}

/// A write to the slowest flash takes a second or two; ten say that the holder hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How often to look whether the lock is free, in milliseconds.
const INTERVAL: u8 = 20;

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .mode(0o666)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits());
    match options.open(path) {
        // Only now with O_CREAT: in a directory that all may write to, kernels refuse that for
        // files of other users.
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            options.write(true).create(true).open(path)
        }
        other => other,
    }
}
