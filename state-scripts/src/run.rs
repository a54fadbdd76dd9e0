//! Running a set of scripts.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use log::{debug, info, warn};

use crate::child::{Child, Ending, Limits, Output, Stream};
use crate::{Action, Error, Failure, OnError, Origin, ScriptName, State, list, version, wait};

/// Runs sets of state scripts.
///
/// A script gets no arguments and an empty standard input; it inherits our environment and working
/// directory. Its exit code decides: 0 is success, 21 means "run me again later", anything else is
/// a failure, like being killed, running too long, or not being startable.
///
/// *Later* is after [`Self::retry_interval`]. From its first 21 on a script has
/// [`Self::retry_timeout`] to come to a decision. When that is over the script, or the wait for its
/// next run, is cut short and the set ends there, whatever its mode. Every script has its own
/// window, and it is dropped when the script answers something else.
///
/// DIFFERS: Mender's client reports a script that ran too long as failed and kills it afterwards,
/// so it can run on beside the error path. Here it is dead before [`Self::run`] returns.
#[derive(Clone, Debug)]
pub struct Runner<'a> {
    /// Directory of the scripts for Idle, Sync and Download.
    pub rootfs_dir: PathBuf,
    /// Directory of the scripts that came with the artifact.
    pub artifact_dir: PathBuf,
    /// How long one run of one script may take, and how much of its output is logged.
    pub limits: Limits,
    /// Wait before a script that asked for it is run again.
    pub retry_interval: Duration,
    /// How long one script may go on asking, counted from the first time.
    pub retry_timeout: Duration,
    /// Environment variables that scripts get beside ours.
    pub env: Vec<(String, String)>,
    /// When this becomes readable, the running script is ended, and the run with it.
    pub stop: Option<BorrowedFd<'a>>,
}

/// The exit code that asks to be run again later.
const RETRY_LATER: i32 = 21;

impl Runner<'_> {
    /// How long one script may take at most, until it has come to a decision or been ended.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.retry_timeout.saturating_add(self.limits.longest())
    }

    /// Where the scripts for `state` are.
    #[must_use]
    pub fn directory(&self, state: State) -> &Path {
        match state.origin() {
            Origin::Rootfs => &self.rootfs_dir,
            Origin::Artifact => &self.artifact_dir,
        }
    }

    /// Runs the scripts for `state` and `action`, one after the other.
    ///
    /// `log` gets every line that a script prints, up to the limit per script and stream.
    ///
    /// # Errors
    /// [`Error::Failed`] if a script failed. [`Error::Version`], [`Error::VersionFile`],
    /// [`Error::Directory`] and [`Error::TooManyEntries`] if the directory as a whole is not fit,
    /// in which case no script was run. [`Error::Stopped`] if [`Self::stop`] said so.
    pub fn run(
        &self,
        state: State,
        action: Action,
        on_error: OnError,
        log: &mut dyn FnMut(&ScriptName, Stream, &str),
    ) -> Result<(), Error> {
        let directory = self.directory(state);
        version::check(directory)?;
        let mut first = None;
        let mut others = 0_usize;
        for script in list(directory, state, action)? {
            let Some(failure) = self.run_until_decided(directory, &script, log)? else {
                continue;
            };
            let ends_set = match failure {
                Failure::RetriedTooLong(_) => true,
                Failure::Ended(_) | Failure::NotStarted(_) => on_error == OnError::Stop,
            };
            if !ends_set {
                warn!("going on after state script \"{script}\" failed: {failure}");
            }
            match first {
                None => first = Some((script, failure)),
                Some(_) => others = others.saturating_add(1),
            }
            if ends_set {
                break;
            }
        }
        match first {
            None => Ok(()),
            Some((script, failure)) => Err(Error::Failed {
                script,
                failure,
                others,
            }),
        }
    }

    /// Runs one script, again and again if it asks for it. `None` is success.
    fn run_until_decided(
        &self,
        directory: &Path,
        script: &ScriptName,
        log: &mut dyn FnMut(&ScriptName, Stream, &str),
    ) -> Result<Option<Failure>, Error> {
        let path = directory.join(script.as_os_str());
        let too_long = Failure::RetriedTooLong(self.retry_timeout);
        let mut first_asked = None;
        loop {
            if wait::is_asked_to_stop(self.stop) {
                return Err(Error::Stopped);
            }
            debug!("running state script \"{script}\"");
            let mut limits = self.limits;
            let left = first_asked.map(|asked| self.left(asked));
            limits.timeout = left.map_or(limits.timeout, |left| left.min(limits.timeout));
            let mut log = |stream, line: &str| log(script, stream, line);
            let ending = match self.start(&path, limits, &mut log) {
                Ok(mut child) => child.wait(),
                Err(Error::Start { source, .. }) => return Ok(Some(Failure::NotStarted(source))),
                Err(err) => return Err(err),
            };
            match ending {
                Ending::Exited(0) => return Ok(None),
                Ending::Stopped => return Err(Error::Stopped),
                Ending::Exited(RETRY_LATER) => {}
                Ending::TimedOut if left == Some(limits.timeout) => return Ok(Some(too_long)),
                Ending::Exited(_) | Ending::Signalled(_) | Ending::TimedOut | Ending::Lost => {
                    return Ok(Some(Failure::Ended(ending)));
                }
            }
            if first_asked.is_none() {
                info!(
                    "state script \"{script}\" asks to be run again later: every {:?}, for at most {:?}",
                    self.retry_interval, self.retry_timeout
                );
            }
            let left = self.left(*first_asked.get_or_insert_with(Instant::now));
            if wait::pause(self.retry_interval.min(left), self.stop) {
                return Err(Error::Stopped);
            }
            if left <= self.retry_interval {
                return Ok(Some(too_long));
            }
        }
    }

    fn start<'c>(
        &'c self,
        path: &Path,
        limits: Limits,
        log: &'c mut dyn FnMut(Stream, &str),
    ) -> Result<Child<'c>, Error> {
        let mut command = Command::new(path);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        Child::spawn(&mut command, limits, Output::Log, self.stop, log)
    }

    /// What is left of the time that a script has since it first asked to be run again.
    fn left(&self, first_asked: Instant) -> Duration {
        self.retry_timeout.saturating_sub(first_asked.elapsed())
    }
}
