//! Ctrl-C and its kin: they end what runs, and then everything is undone in the usual way.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

/// The signals that ask the program to end, collected instead of obeyed.
#[derive(Debug)]
pub(crate) struct Interrupt {
    signals: SignalFd,
}

impl Interrupt {
    /// Begins to collect them. To be called before any thread is started.
    pub(crate) fn catch() -> Result<Interrupt> {
        let set = set();
        let signals = set
            .thread_block()
            .and_then(|()| SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC))
            .context("cannot set up the handling of signals")?;
        Ok(Interrupt { signals })
    }

    /// An error once the program has been asked to end.
    pub(crate) fn check(&self) -> Result<()> {
        self.pause(Duration::ZERO)
    }

    /// Waits.
    ///
    /// # Errors
    /// When the program is asked to end.
    pub(crate) fn pause(&self, time: Duration) -> Result<()> {
        let time = PollTimeout::try_from(time).context("a pause is short")?;
        let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        ensure!(poll(&mut fds, time)? == 0, "interrupted");
        Ok(())
    }

    /// Runs a command to its end, without input. What it writes to pipes is in the answer.
    ///
    /// # Errors
    /// When it cannot be started, takes longer than [`PATIENCE`], or the program is asked to end;
    /// then it, and whatever it started, is killed.
    pub(crate) fn output(&self, command: &mut Command) -> Result<Output> {
        let child = spawn(command)?;
        let group = group_of(&child)?;
        let (end, ended) = UnixStream::pair()?;
        thread::scope(|scope| {
            let waiting = scope.spawn(move || {
                let output = child.wait_with_output();
                drop(ended);
                output
            });
            let ended = self.wait_for(end.as_fd());
            if ended.is_err() {
                killpg(group, Signal::SIGKILL)?;
            }
            let output = waiting
                .join()
                .map_err(|_| anyhow!("waiting for a child panicked"))?;
            ended.with_context(|| format!("{command:?}"))?;
            Ok(output?)
        })
    }

    /// Runs a command that must succeed and whose words only matter if it does not.
    ///
    /// # Errors
    /// As [`Interrupt::output`], and when it fails.
    pub(crate) fn run(&self, command: &mut Command) -> Result<Vec<u8>> {
        let output = self.output(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            bail!("{command:?}: {}: {}", output.status, words.trim());
        }
        Ok(output.stdout)
    }

    /// Waits until the other side of `end` is closed.
    fn wait_for(&self, end: BorrowedFd<'_>) -> Result<()> {
        let mut fds = [self.signals.as_fd(), end].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let patience = PollTimeout::try_from(PATIENCE)?;
        ensure!(poll(&mut fds, patience)? > 0, "it does not come to an end");
        let [signals, _] = fds;
        ensure!(signals.any() == Some(false), "interrupted");
        Ok(())
    }
}

/// How long anything may take. The longest that is known is the compression of the largest image.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// A child that serves others, and is killed when it goes out of scope.
#[derive(Debug)]
pub(crate) struct Daemon(Child);

impl Daemon {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> Result<Daemon> {
        Ok(Daemon(spawn(command)?))
    }

    /// Its process number.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Fails if it has ended, with what it wrote to its standard error.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.0.try_wait()? {
            let mut words = String::new();
            if let Some(stderr) = &mut self.0.stderr {
                stderr.read_to_string(&mut words)?;
            }
            bail!("it has ended: {status}: {}", words.trim());
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone then.
        if let Ok(group) = group_of(&self.0) {
            let _ = killpg(group, Signal::SIGKILL);
        }
        let _ = self.0.wait();
    }
}

/// Ends this process when its parent does, however that happens, and obeys signals again.
pub(crate) fn die_with_parent() -> Result<()> {
    set().thread_unblock()?;
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    Ok(())
}

/// Starts a command in a process group of its own.
fn spawn(command: &mut Command) -> Result<Child> {
    command
        .process_group(0)
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {:?}", command.get_program()))
}

fn group_of(child: &Child) -> Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(child.id())?))
}

fn set() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
        .into_iter()
        .collect()
}
