//! One program at a time changes the device: the daemon while it has something to do, or a verb
//! of the command line.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

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
        durable::create_dir(data_dir)
            .with_context(|| format!("cannot create the data directory {}", data_dir.display()))?;
        let path = data_dir.join("lock");
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
                // Only for the message below; whether it arrives on the medium does not matter.
                let pid = std::process::id().to_string();
                if file.set_len(0).and_then(|()| file.rewind()).is_ok() {
                    let _ = file.write_all(pid.as_bytes());
                }
                Ok(Lock { _file: file })
            }
            Err((mut file, Errno::EAGAIN)) => {
                let mut holder = String::new();
                let _ = Read::by_ref(&mut file).take(20).read_to_string(&mut holder);
                match holder.trim().parse::<u32>() {
                    Ok(pid) => bail!(
                        "another tandem (process {pid}) is working on this device: wait until it has finished, or stop it"
                    ),
                    Err(_) => bail!(
                        "another tandem is working on this device: wait until it has finished, or stop it"
                    ),
                }
            }
            Err((_, errno)) => Err(errno).with_context(attempt),
        }
    }
}
