//! The command line's verbs that change the device: install, commit, rollback, resume. They drive
//! the same machine as the daemon; [`verdict`] puts what came of it into words.

mod verdict;

use anyhow::{Result, ensure};
use log::{error, warn};

use crate::bootstrap;
use crate::config::Config;
use crate::device::Device;
use crate::drive::{Driver, Halt};
use crate::exit::Exit;
use crate::lock::Lock;
use crate::machine::{self, Boot, Mode, Outcome, Point, Refusal, State};
use crate::record::file::RecordFile;
use crate::record::{Origin, Record};
use crate::stop::Stop;
use verdict::Verdict;

/// What a person asks for.
#[derive(Clone, Debug)]
pub(crate) enum Verb {
    /// Install the artifact at this path or address.
    Install(String),
    /// Make the installed one permanent.
    Commit,
    /// Undo the installation.
    Rollback,
    /// Go on from where it stopped.
    Resume,
}

/// Carries out `verb`, stopping in front of each of `stop_before`. Returns the lines that say what
/// came of it, and the exit code, which is [`Exit::RebootNeeded`] where that is so.
///
/// # Errors
/// When it cannot even be begun: another program is at work, the record cannot be read.
pub(crate) fn run(
    verb: &Verb,
    stop_before: &[Point],
    config: &Config,
    stop: &Stop,
) -> Result<(Vec<String>, Exit)> {
    let held = Lock::take(&config.data_dir)?;
    let records = RecordFile::new(&config.data_dir);
    let mut record = bootstrap::record(config, &records, &held)?;
    let mut device = Device::new(config, stop);
    let driver = Driver {
        records: &records,
        held: &held,
        mode: Mode::Standalone,
        stop,
    };

    if is_interrupted_download(&record) {
        warn!("cleaning up after an interrupted download; the system is as it was");
        record = machine::resume(record, Boot::UNKNOWN);
        driver.save(&record);
        record = driver.drive(&mut device, record, &[]).record;
    }
    let paused_at = paused_at(&record);
    let asked = match verb {
        Verb::Install(source) => machine::begin(
            record,
            Origin::Standalone {
                source: source.clone(),
            },
        ),
        Verb::Commit => boot_of(&device, &record).map(|boot| machine::commit(record, boot))?,
        Verb::Rollback => machine::rollback(record),
        Verb::Resume => boot_of(&device, &record).map(|boot| machine::proceed(record, boot))?,
    };
    let mut record = match asked {
        Ok(record) => record,
        Err(refusal) => return Ok(refused(&refusal)),
    };
    if let Verb::Commit | Verb::Resume = verb {
        ensure!(
            driver.save(&record),
            "nothing has been done, since it could not be recorded"
        );
    }
    if let Verb::Rollback = verb {
        // Asked before anything is recorded: if it cannot be done, all stays as it is.
        let answer = device.perform(machine::effect(&record), &record);
        if answer == Outcome::RollbackSupported(false) {
            error!("the update module cannot roll back");
            return Ok((Vec::new(), Exit::Failure));
        }
        record = machine::step(record, answer);
    }
    let driven = driver.drive(&mut device, record, stop_before);
    if driven.halt == Halt::Paused && paused_at == Some(driven.record.at) {
        // Stopped where it stood: nothing has happened that there could be words for.
        return Ok((Vec::new(), Exit::Success));
    }
    let reboot_selects_another = device
        .boot_if_set_up()
        .is_some_and(|facts| facts.running != Some(facts.selected));
    Ok(Verdict::of(&driven, reboot_selects_another).into_words())
}

/// Whether the record is that of a download that a person started and that did not finish.
/// Nothing else depends on it: it is as good as none.
fn is_interrupted_download(record: &Record) -> bool {
    record.at.state == State::Download
        && record
            .deployment
            .as_ref()
            .is_some_and(|deployment| matches!(deployment.origin, Origin::Standalone { .. }))
}

/// Where the deployment stood still.
fn paused_at(record: &Record) -> Option<Point> {
    let deployment = record.deployment.as_ref()?;
    deployment.paused.then_some(record.at)
}

/// What the boot loader says, if the deployment has to do with it.
fn boot_of(device: &Device, record: &Record) -> Result<Boot> {
    match record
        .deployment
        .as_ref()
        .and_then(|deployment| deployment.target)
    {
        Some(_) => device.boot(),
        None => Ok(Boot::UNKNOWN),
    }
}

/// The words for what the machine does not do.
fn refused(refusal: &Refusal) -> (Vec<String>, Exit) {
    error!("{refusal}");
    match refusal {
        Refusal::NothingInProgress => (
            vec!["no update in progress".to_owned()],
            Exit::NothingInProgress,
        ),
        Refusal::InProgress(_) => (vec![verdict::UNTOUCHED.to_owned()], Exit::Failure),
        Refusal::WrongPoint(_) | Refusal::Managed => (Vec::new(), Exit::Failure),
    }
}
