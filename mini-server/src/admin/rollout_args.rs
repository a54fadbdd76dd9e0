//! How a deployment is to go through its devices, as options of the command line.

use std::time::Duration;

use anyhow::{Error, Result};
use clap::Args;
use tandem_api::Timestamp;
use tandem_api::management::{NewPhase, NewRollout, StopOnFailures};

use crate::rollout::{Window, parse_stop, phase_text};

/// How a deployment goes through its devices; without these everybody at once.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Rollout")]
pub struct RolloutArgs {
    /// A phase, several times for several: 10, 25%, group=beta or rest, then ,wait=2h (after those before are done),
    /// ,at=2026-12-01T22:00:00Z or ,pause (until `deployment resume`). The rest follows by itself
    #[arg(long = "phase", value_name = "PHASE", value_parser = phase_text::parse)]
    phases: Vec<NewPhase>,
    /// Not before this time: 2026-12-01T22:00:00Z
    #[arg(long, value_name = "TIME")]
    start: Option<Timestamp>,
    /// At most so many devices at once
    #[arg(long, value_name = "DEVICES")]
    max_concurrent: Option<u64>,
    /// Stop when it has failed on so many devices (3), on so many percent of those that are done (10%), or either (3,10%);
    /// with ,lost devices that are lost count as well
    #[arg(long, value_name = "FAILURES", value_parser = parse_stop)]
    stop_after: Option<StopOnFailures>,
    /// Only in this window: "mon-fri 22:00 4h Europe/Berlin"
    #[arg(long, value_name = "WINDOW")]
    window: Option<Window>,
    /// So many further tries on each device on which it fails
    #[arg(long, value_name = "TRIES")]
    retries: Option<u32>,
    /// After how long without a word from it a device that is at it is lost, and another one gets its place; 0s for
    /// never, as the server is set without this
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    lost_after: Option<Duration>,
}

impl RolloutArgs {
    /// The same for the wire.
    ///
    /// # Errors
    /// If two of them contradict each other.
    pub fn to_wire(&self) -> Result<NewRollout> {
        Ok(NewRollout {
            phases: phase_text::complete(self.phases.clone(), self.start).map_err(Error::msg)?,
            retries: self.retries,
            max_concurrent: self.max_concurrent,
            stop_on_failures: self.stop_after,
            maintenance_window: self.window.as_ref().map(Window::to_wire),
            lost_after_seconds: self.lost_after.map(|time| time.as_secs()),
        })
    }
}
