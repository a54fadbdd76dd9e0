//! Who may do what at the same time: one program changes the device, one daemon runs.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Pid;

use crate::durable;

/// Proof that no other program changes the device. Ends when it is dropped, or with the process.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: Flock<File>,
}

impl Lock {
    /// Takes the lock of the device whose data directory this is, without waiting; creates the
    /// directory if need be.
    ///
    /// # Errors
    /// When another program holds it (the message says which), or the file system fails.
    pub(crate) fn take(data_dir: &Path) -> Result<Lock> {
        let wait = "wait until it has finished, or stop it";
        match claim(data_dir, "lock")? {
            Claimed::Ours(file) => Ok(Lock { _file: file }),
            Claimed::Held(Some(pid)) => {
                bail!("another tandem (process {pid}) is working on this device: {wait}")
            }
            Claimed::Held(None) => bail!("another tandem is working on this device: {wait}"),
        }
    }
}

/// Proof that this is the only daemon.
#[derive(Debug)]
pub(crate) struct Alone {
    _file: Flock<File>,
}

impl Alone {
    /// Claims to be the daemon of the device whose data directory this is.
    ///
    /// # Errors
    /// When another one runs, or the file system fails.
    pub(crate) fn claim(data_dir: &Path) -> Result<Alone> {
        match claim(data_dir, "daemon.lock")? {
            Claimed::Ours(file) => Ok(Alone { _file: file }),
            Claimed::Held(_) => bail!("the daemon is running already"),
        }
    }

    /// The process of the running daemon.
    ///
    /// # Errors
    /// When there is none, or the file system fails.
    pub(crate) fn holder(data_dir: &Path) -> Result<Pid> {
        match claim(data_dir, "daemon.lock")? {
            Claimed::Held(Some(pid)) => Ok(Pid::from_raw(pid)),
            Claimed::Held(None) | Claimed::Ours(_) => {
                bail!("the daemon is not running: start it with 'tandem daemon'")
            }
        }
    }
}

/// A lock that was asked for.
enum Claimed {
    /// It is ours.
    Ours(Flock<File>),
    /// Another process has it; its number, if it could write that.
    Held(Option<i32>),
}

/// Takes a lock without waiting, and leaves the number of this process in its file.
fn claim(data_dir: &Path, name: &str) -> Result<Claimed> {
    durable::create_dir(data_dir)
        .with_context(|| format!("cannot create the data directory {}", data_dir.display()))?;
    let path = data_dir.join(name);
    let attempt = || format!("cannot take the lock {}", path.display());
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(attempt)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut file) => {
            // Only so that others can say who holds it; it need not arrive on the medium.
            let _ = sign(&mut file);
            Ok(Claimed::Ours(file))
        }
        Err((mut file, Errno::EAGAIN)) => {
            let mut holder = String::new();
            let _ = Read::by_ref(&mut file).take(20).read_to_string(&mut holder);
            Ok(Claimed::Held(holder.trim().parse().ok()))
        }
        Err((_, errno)) => Err(errno).with_context(attempt),
    }
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(std::process::id().to_string().as_bytes())
}
