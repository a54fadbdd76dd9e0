//! The daemon: idle until something is due, then one round of the machine.
//!
//! While it is idle it holds nothing: the command line can be used, and what that has changed is
//! read again when the next round begins.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use log::{debug, info, warn};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};

use crate::bootstrap;
use crate::config::Config;
use crate::device::Device;
use crate::drive::{Driver, Halt};
use crate::exit::Exit;
use crate::link::Link;
use crate::lock::{Alone, Lock};
use crate::machine::{self, Boot, Mode, Point, State, Step};
use crate::record::Record;
use crate::record::file::RecordFile;
use crate::schedule::Errand;
use crate::stop::Stop;
use crate::wake::Wake;
use crate::watchdog;

/// How long to leave the device to the command line before looking again.
const BUSY_PAUSE: Duration = Duration::from_secs(5);

/// Runs until it is told to stop.
///
/// # Errors
/// When it cannot begin: another daemon runs, or the configuration or the record cannot be used.
pub(crate) fn run(config: &Config) -> Result<Exit> {
    let stop = Stop::new()?;
    let wake = Wake::new()?;
    let _alone = Alone::claim(&config.data_dir)?;
    let records = RecordFile::new(&config.data_dir);
    let mut device = Device::new(config, &stop);
    device.link = Some(Link::new(config, &stop)?);
    if let Some(manager) = &config.service_manager {
        watchdog::begin(manager)?;
    }
    info!("tandem {} is on duty", env!("CARGO_PKG_VERSION"));

    let mut errand = None;
    loop {
        match Lock::take(&config.data_dir) {
            Ok(held) => {
                let record = bootstrap::record(config, &records, &held)?;
                let driver = Driver {
                    records: &records,
                    held: &held,
                    mode: Mode::Managed,
                    stop: &stop,
                };
                if round(&mut device, record, errand, &driver)? == Halt::Interrupted {
                    break;
                }
            }
            Err(err) => {
                debug!("{err:#}");
                if stop.wait(BUSY_PAUSE) {
                    break;
                }
                continue;
            }
        }
        match idle(&mut device, &stop, &wake)? {
            Some(due) => errand = Some(due),
            None => break,
        }
    }
    info!("told to stop");
    watchdog::end();
    Ok(Exit::Success)
}

/// One round: from idle, through an errand and whatever comes of it, to idle again. The first one
/// has no errand and only finishes what was interrupted.
fn round(
    device: &mut Device,
    record: Record,
    errand: Option<Errand>,
    driver: &Driver,
) -> Result<Halt> {
    if record.deployment.is_some() && record.mode() == Mode::Standalone {
        info!(
            "an update from the command line is in progress; waiting until it is committed or rolled back"
        );
        if let (Some(link), Some(errand)) = (&mut device.link, errand) {
            link.schedule.begins(errand, Instant::now());
        }
        return Ok(Halt::Over);
    }
    let interrupted = record.deployment.is_some();
    let mut record = machine::resume(record, boot_of(device));
    if interrupted && !driver.save(&record) {
        warn!("going on although the interruption could not be recorded");
    }
    if let (Some(link), Some(errand), None) = (&mut device.link, errand, &record.deployment) {
        link.errand = errand;
        link.schedule.begins(errand, Instant::now());
        if record.at == Point::IDLE {
            record.at = Point::new(State::Idle, Step::Leave);
        }
    }
    let driven = driver.drive(device, record, &[]);
    device.follow(&driven.record);
    let ended = interrupted
        || driven
            .journey
            .iter()
            .any(|(at, _)| at.state == State::Cleanup);
    if let (true, Some(link)) = (ended, &mut device.link) {
        // What is installed may have changed: the server sees it at once.
        link.schedule.wanted(Errand::Inventory, Instant::now());
    }
    Ok(driven.halt)
}

/// What the boot loader says. Without two root parts, or when it cannot be asked, nothing that a
/// decision could rest on.
fn boot_of(device: &Device) -> Boot {
    device.boot_if_set_up().map_or(Boot::UNKNOWN, |facts| Boot {
        running: facts.running,
        upgrade_available: facts.upgrade_available,
    })
}

/// Waits until something is due or asked for; `None` when the program is to stop. Nothing wakes
/// up in between.
fn idle(device: &mut Device, stop: &Stop, wake: &Wake) -> Result<Option<Errand>> {
    let link = device.link.as_mut().context("the daemon has a link")?;
    loop {
        if stop.requested() {
            return Ok(None);
        }
        while let Some(errand) = wake.wish() {
            info!("asked for: {errand:?}");
            link.schedule.wanted(errand, Instant::now());
        }
        let (due, errand) = link.schedule.next();
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Some(errand));
        }
        // Rounded up: waking a moment too early would only mean waking twice.
        let left = left.saturating_add(Duration::from_millis(1));
        watchdog::allow(left);
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [stop.fd(), wake.fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut fds, left) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("cannot wait"),
        }
    }
}

/// Sends a signal to the running daemon, as `check-update` and `send-inventory` do.
///
/// # Errors
/// When none is running.
pub(crate) fn hurry(config: &Config, errand: Errand) -> Result<Exit> {
    let signal = match errand {
        Errand::Deployment => Signal::SIGUSR1,
        Errand::Inventory => Signal::SIGUSR2,
    };
    let pid = Alone::holder(&config.data_dir)?;
    kill(pid, signal).with_context(|| format!("cannot signal the daemon (process {pid})"))?;
    Ok(Exit::Success)
}
