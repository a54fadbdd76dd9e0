//! Rebooting the device, and surviving it: whoever carries the reboot out may end this program
//! before, and must itself not be ended by it.

use std::mem;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use log::{info, warn};
use tandem_state_scripts::child::{Child, Ending, Limits, Output};

use crate::stop::Stop;
use crate::watchdog;

/// How long a device may take to go down.
const LIMIT: Duration = Duration::from_secs(600);

/// How often it is looked whether this program is to end.
const STEP: Duration = Duration::from_millis(100);

/// Runs the command that reboots the device, and waits to be ended by that.
///
/// # Errors
/// When the command fails, or the device is still up after ten minutes.
pub(crate) fn device(command: &[String], stop: &Stop) -> Result<()> {
    let (program, arguments) = command
        .split_first()
        .context("there is no reboot command")?;
    info!("rebooting: {}", command.join(" "));
    let begun = Instant::now();
    let mut log = |_, line: &str| info!("{program}: {line}");
    let mut command = Command::new(program);
    command.args(arguments);
    let child = Child::spawn(
        &mut command,
        Limits::new(LIMIT),
        Output::Log,
        None,
        &mut log,
    )?;
    match outlive(child, stop) {
        Some(ending) => ensure!(ending.is_success(), "the reboot command fails: {ending}"),
        None => return Ok(()),
    }
    if stop.wait(LIMIT.saturating_sub(begun.elapsed())) {
        return Ok(());
    }
    bail!("the device has not rebooted although {program} said that it would")
}

/// Waits for `child`. When this program is told to end meanwhile, that is part of the reboot: the
/// child is left alone, and nothing comes back.
pub(crate) fn outlive(mut child: Child, stop: &Stop) -> Option<Ending> {
    loop {
        watchdog::allow(STEP);
        if let Some(ending) = child.poll(STEP) {
            return Some(ending);
        }
        if stop.requested() {
            warn!("told to end while rebooting; leaving the reboot to itself");
            // Dropping it would kill it.
            mem::forget(child);
            return None;
        }
    }
}
