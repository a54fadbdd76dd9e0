//! Server processes and what they use.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A process that ends with its owner.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command.spawn();
        Ok(Self(
            child.with_context(|| format!("cannot run {command:?}"))?,
        ))
    }

    /// With its output in a file, silent in other ways.
    pub(crate) fn start_logged(command: &mut Command, log: &Path) -> Result<Self> {
        let log = std::fs::File::create_new(log).context("cannot make a log")?;
        let errors = log.try_clone().context("cannot share a log")?;
        Self::start(command.stdin(Stdio::null()).stdout(log).stderr(errors))
    }

    /// Waits until `ready` says what it waits for, half a minute at most.
    pub(crate) fn wait<T>(
        &mut self,
        what: &str,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(found) = ready() {
                return Ok(found);
            }
            if let Some(status) = self.0.try_wait()? {
                bail!("{what} has ended: {status}");
            }
            if begun.elapsed() > Duration::from_secs(30) {
                bail!("{what} does not come up");
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        Ok(self.0.try_wait()?)
    }

    /// The process and its children.
    fn all(&self) -> Vec<u32> {
        let id = self.0.id();
        let children =
            std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        children
            .split_whitespace()
            .filter_map(|id| id.parse().ok())
            .chain([id])
            .collect()
    }

    /// Resident memory of all of them, MiB.
    pub(crate) fn memory(&self) -> f64 {
        let of_one = |id: u32| {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        self.all().into_iter().filter_map(of_one).sum::<f64>() / 1024.0
    }

    /// Processor time of all of them so far.
    pub(crate) fn cpu(&self) -> Duration {
        let of_one = |id: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            let (_, fields) = stat.rsplit_once(')')?;
            // user and system time, in hundredths of a second
            let times = fields.split_whitespace().skip(11).take(2);
            Some(
                times
                    .filter_map(|time| time.parse::<u64>().ok())
                    .sum::<u64>(),
            )
        };
        let ticks: u64 = self.all().into_iter().filter_map(of_one).sum();
        Duration::from_millis(ticks.saturating_mul(10))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.0.try_wait() {
            return;
        }
        // A master that is told to stop takes its workers with it; whoever does not listen is killed.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        for _ in 0..100 {
            if let Ok(Some(_)) = self.0.try_wait() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
