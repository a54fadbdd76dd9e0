//! Signals by which a person hurries the daemon: SIGUSR1 to ask for a deployment, SIGUSR2 to send
//! the inventory. Collected in a descriptor, like those that stop it.

use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::schedule::Errand;

/// Tells what has been asked for.
#[derive(Debug)]
pub(crate) struct Wake {
    signals: SignalFd,
}

impl Wake {
    /// Begins to collect the signals. To be called before any thread is started.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn new() -> Result<Wake> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGUSR1);
        set.add(Signal::SIGUSR2);
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = set
            .thread_block()
            .and_then(|()| SignalFd::with_flags(&set, flags))
            .context("cannot set up the handling of signals")?;
        Ok(Wake { signals })
    }

    /// The next thing that has been asked for, if any.
    pub(crate) fn wish(&self) -> Option<Errand> {
        let info = self.signals.read_signal().ok()??;
        let inventory =
            u32::try_from(Signal::SIGUSR2 as i32).is_ok_and(|number| info.ssi_signo == number);
        Some(if inventory {
            Errand::Inventory
        } else {
            Errand::Deployment
        })
    }

    /// Readable when something has been asked for.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}
