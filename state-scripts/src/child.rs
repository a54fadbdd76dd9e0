//! A supervised child process: a state script, an update module, an identity script, `reboot`.
//!
//! ```text
//! spawn ─┬─ exits by itself ────────────────────────────── drain ─ Exited, Signalled
//!        ├─ runs too long ── TERM ─ grace ─ KILL ─ reap ── drain ─ TimedOut
//!        └─ asked to stop ── TERM ─ 1 s ─── KILL ─ reap ── drain ─ Stopped
//! ```
//!
//! The child leads a process group of its own, reads nothing (stdin is `/dev/null`), and what it
//! prints is read as it comes, so that it never blocks on a full pipe. One thread does it all:
//! [`Child::poll`] waits with poll(2) on the output, the stop descriptor and the clock.
//!
//! When the child exits by itself it is done, even if a process it left behind still holds its
//! output: what is there is read, nobody waits for more, and the process left behind lives on, as a
//! script may well start a daemon. (Such a daemon must have its output elsewhere: a later write to
//! the pipe ends it with SIGPIPE.) When *we* end it, the whole group dies, and [`Child`] says so
//! only after it is dead. A process that has moved to a group or session of its own is out of reach.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use log::warn;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::{Error, wait};

use output::Pipe;
pub use output::{Captured, Output, Stream};

mod group;
mod lines;
mod output;

/// How long a child may run, and how much of its output is handed on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// It is killed when it runs longer than this.
    pub timeout: Duration,
    /// Time between the polite and the deadly signal when it ran too long.
    pub grace: Duration,
    /// Bytes of each output stream that go to the log; the rest is read and counted.
    pub logged: usize,
}

impl Limits {
    /// Time to end itself that a child gets by default.
    pub const GRACE: Duration = Duration::from_secs(10);
    /// Bytes per output stream that are logged by default.
    pub const LOGGED: usize = 10 * 1024;

    /// How long it takes at most until a child is over.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.timeout.saturating_add(self.grace)
    }

    /// The defaults, with this much time to run.
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            grace: Self::GRACE,
            logged: Self::LOGGED,
        }
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this code.
    Exited(i32),
    /// It was killed by this signal, which we did not send.
    Signalled(i32),
    /// It ran longer than [`Limits::timeout`], and we killed it.
    TimedOut,
    /// We were asked to stop, and killed it.
    Stopped,
    /// It is gone, and the kernel did not tell how: this process ignores SIGCHLD, or another part
    /// of it has reaped the child.
    Lost,
}

impl Ending {
    /// Whether it exited with code 0.
    pub fn is_success(self) -> bool {
        self == Self::Exited(0)
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signalled(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "killed by {signal}"),
                Err(_) => write!(f, "killed by signal {number}"),
            },
            Self::TimedOut => f.write_str("killed because it ran too long"),
            Self::Stopped => f.write_str("ended because we were asked to stop"),
            Self::Lost => f.write_str("ended in an unknown way"),
        }
    }
}

/// A running child process.
///
/// Dropping one that has not ended kills its group at once.
pub struct Child<'a> {
    process: std::process::Child,
    group: Pid,
    stdout: Pipe,
    stderr: Pipe,
    log: &'a mut dyn FnMut(Stream, &str),
    stop: Option<BorrowedFd<'a>>,
    grace: Duration,
    deadline: Option<Instant>,
    tick: Duration,
    ending: Option<Ending>,
}

/// Time to end itself that a child gets when we are asked to stop: whoever asks is waiting.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// How long we wait for a killed group to be gone. Death comes at once, unless the kernel itself is
/// stuck on behalf of a process (a dead network disk). Not even then will the process ever run again.
const DEATH_WAIT: Duration = Duration::from_secs(10);

/// A child is looked after this often when it neither prints nor closes its output: soon at first,
/// because most scripts are short, then ever more rarely.
const TICK: std::ops::Range<Duration> = Duration::from_millis(1)..Duration::from_millis(200);

/// How many pieces of output are read before looking at clock and child again.
const READS_PER_TURN: usize = 4;

/// The same for what is left in a pipe when the child has ended: Linux's largest pipe, 1 MiB.
const READS_AT_END: usize = 64;

impl<'a> Child<'a> {
    /// Starts `command` with its standard input closed and its output supervised; other settings of
    /// the command (arguments, directory, environment) are left as they are.
    ///
    /// `stop` is watched and never read: as soon as it is readable the child is ended. Each line of
    /// output goes to `log` without its line end, at most 4 KiB long, free of control characters.
    ///
    /// # Errors
    /// [`Error::Start`] if the program cannot be started.
    pub fn spawn(
        command: &mut Command,
        limits: Limits,
        output: Output,
        stop: Option<BorrowedFd<'a>>,
        log: &'a mut dyn FnMut(Stream, &str),
    ) -> Result<Self, Error> {
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0);
        let program = command.get_program().to_owned();
        let failed = |source| Error::Start { program, source };
        let mut process = match command.spawn() {
            Ok(process) => process,
            Err(err) => return Err(failed(err)),
        };
        let (stdout, stderr) = (process.stdout.take(), process.stderr.take());
        let child = Self {
            // Linux's process ids are positive 32-bit numbers.
            group: Pid::from_raw(process.id() as i32),
            process,
            stdout: Pipe::new(stdout.map(Into::into), output, limits.logged),
            stderr: Pipe::new(stderr.map(Into::into), Output::Log, limits.logged),
            log,
            stop,
            grace: limits.grace,
            deadline: Instant::now().checked_add(limits.timeout),
            tick: TICK.start,
            ending: None,
        };
        match child.stdout.unblock().and_then(|()| child.stderr.unblock()) {
            Ok(()) => Ok(child),
            Err(err) => Err(failed(err.into())),
        }
    }

    /// Looks after the child for `max_wait`, or until it has ended, and then says how.
    ///
    /// If the child has to be killed this takes as long as that takes.
    pub fn poll(&mut self, max_wait: Duration) -> Option<Ending> {
        self.watch(None, max_wait)
    }

    /// Like [`Self::poll`], but also returns as soon as `descriptor` can be written to (or its
    /// reader is gone): for feeding a pipe that the child reads.
    pub fn poll_writable(
        &mut self,
        descriptor: BorrowedFd<'_>,
        max_wait: Duration,
    ) -> Option<Ending> {
        self.watch(Some(descriptor), max_wait)
    }

    /// Looks after the child until it has ended.
    pub fn wait(&mut self) -> Ending {
        loop {
            if let Some(ending) = self.poll(Duration::MAX) {
                return ending;
            }
        }
    }

    /// Ends the child now, as if the stop descriptor had asked for it.
    pub fn stop(&mut self) -> Ending {
        if let Some(ending) = self.poll(Duration::ZERO) {
            return ending;
        }
        self.stop = None;
        self.kill(Ending::Stopped, STOP_GRACE)
    }

    /// What the child has printed so far, if it was spawned with [`Output::Capture`].
    pub fn captured(&self) -> Option<&Captured> {
        self.stdout.captured()
    }

    fn watch(&mut self, writable: Option<BorrowedFd<'_>>, max_wait: Duration) -> Option<Ending> {
        let until = Instant::now().checked_add(max_wait);
        loop {
            if self.ending.is_some() {
                return self.ending;
            }
            self.read(READS_PER_TURN);
            if self.has_exited() {
                let ending = self.reap();
                return Some(self.close(ending));
            }
            if wait::is_asked_to_stop(self.stop) {
                self.stop = None;
                return Some(self.kill(Ending::Stopped, STOP_GRACE));
            }
            let now = Instant::now();
            if self.deadline.is_some_and(|deadline| deadline <= now) {
                return Some(self.kill(Ending::TimedOut, self.grace));
            }
            if until.is_some_and(|until| until <= now) {
                return None;
            }
            let next = [self.deadline, until].into_iter().flatten().min();
            let left = next.map_or(Duration::MAX, |next| next.saturating_duration_since(now));
            if self.doze(left, writable) {
                return None;
            }
        }
    }

    /// Waits for output, a wish to stop, the next tick or `limit`; says whether `writable` is ready.
    fn doze(&mut self, limit: Duration, writable: Option<BorrowedFd<'_>>) -> bool {
        let mut watched = Vec::with_capacity(4);
        watched.extend(writable.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLOUT)));
        let output = [self.stdout.end(), self.stderr.end()];
        let input = output.into_iter().chain([self.stop]).flatten();
        watched.extend(input.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN)));
        wait::until_ready(&mut watched, limit.min(self.tick));
        self.tick = self.tick.saturating_mul(2).min(TICK.end);
        let first = watched.first().and_then(PollFd::any);
        writable.is_some() && first == Some(true)
    }

    /// Whether the child itself has exited. It is left unreaped.
    fn has_exited(&self) -> bool {
        // An error is one of two: it was killed by a signal that nix has no name for, or somebody
        // else has reaped it. `reap` tells them apart.
        !matches!(self.look(), Ok(WaitStatus::StillAlive) | Err(Errno::EINTR))
    }

    fn look(&self) -> Result<WaitStatus, Errno> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        waitid(Id::Pid(self.group), flags)
    }

    /// Kills the whole group and sees it dead. The leader is reaped last: until then its process id,
    /// which is the group's name, cannot become a stranger's.
    fn kill(&mut self, ending: Ending, grace: Duration) -> Ending {
        group::signal(self.group, Signal::SIGTERM);
        group::signal(self.group, Signal::SIGCONT);
        self.outlive_group(grace);
        // Also when nobody seems to be alive: a process may live on without its first thread. But if
        // the leader was reaped behind our back, only a living member keeps the number taken.
        if self.look() != Err(Errno::ECHILD) || group::is_alive(self.group) {
            group::signal(self.group, Signal::SIGKILL);
        }
        self.stop = None;
        self.outlive_group(DEATH_WAIT);
        if self.has_exited() {
            self.reap();
        } else {
            warn!(
                "process {} is stuck in the kernel, going on without it",
                self.group
            );
        }
        self.close(ending)
    }

    /// Waits until the group is gone, at most for `limit`, or [`STOP_GRACE`] if asked to stop.
    fn outlive_group(&mut self, limit: Duration) {
        let mut until = Instant::now().checked_add(limit);
        self.tick = TICK.start;
        while !self.has_exited() || group::is_alive(self.group) {
            self.read(READS_PER_TURN);
            let now = Instant::now();
            if wait::is_asked_to_stop(self.stop) {
                self.stop = None;
                until = until.min(now.checked_add(STOP_GRACE));
            }
            if until.is_some_and(|until| until <= now) {
                return;
            }
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(now));
            self.doze(left, None);
        }
    }

    /// Takes the exit status of a child that has exited.
    fn reap(&mut self) -> Ending {
        match self.process.wait() {
            Ok(status) => ending(status),
            Err(err) => {
                warn!("the exit status of process {} is lost: {err}", self.group);
                Ending::Lost
            }
        }
    }

    /// Reads what is left and lets go of the output.
    fn close(&mut self, ending: Ending) -> Ending {
        self.read(READS_AT_END);
        self.stdout.close(Stream::Stdout, self.log);
        self.stderr.close(Stream::Stderr, self.log);
        self.ending = Some(ending);
        ending
    }

    fn read(&mut self, reads: usize) {
        let was_open = self.has_output();
        self.stdout.read(reads, Stream::Stdout, self.log);
        self.stderr.read(reads, Stream::Stderr, self.log);
        if was_open && !self.has_output() {
            // Most likely it is just exiting.
            self.tick = TICK.start;
        }
    }

    fn has_output(&self) -> bool {
        self.stdout.end().is_some() || self.stderr.end().is_some()
    }
}

impl Drop for Child<'_> {
    fn drop(&mut self) {
        if self.ending.is_none() {
            self.stop = None;
            self.kill(Ending::Stopped, Duration::ZERO);
        }
    }
}

fn ending(status: ExitStatus) -> Ending {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Exited(code),
        (None, Some(signal)) => Ending::Signalled(signal),
        (None, None) => Ending::Lost,
    }
}
