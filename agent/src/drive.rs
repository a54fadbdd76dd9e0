//! The loop that drives a deployment: perform the effect, decide, make the decision durable,
//! repeat. The daemon and the command line both run it.

use log::{error, info};

use crate::device::Device;
use crate::lock::Lock;
use crate::machine::{self, Effect, Outcome, Point, State};
use crate::record::Record;
use crate::record::file::RecordFile;
use crate::stop::Stop;

/// Why driving came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// The deployment is over.
    Over,
    /// It waits for a person, or stands where it was to stop.
    Paused,
    /// The program is to end. What was in progress is judged when it starts again.
    Interrupted,
}

/// What one run of the loop came to.
#[derive(Debug)]
pub(crate) struct Driven {
    /// The record at the end, as it is on disk unless saving failed.
    pub(crate) record: Record,
    /// Why it ended.
    pub(crate) halt: Halt,
    /// Every step that was performed, and what came of it.
    pub(crate) journey: Vec<(Point, Outcome)>,
    /// The last record could not be saved.
    pub(crate) unsaved: bool,
}

/// What driving needs beside the device.
pub(crate) struct Driver<'a> {
    /// Where the record is kept.
    pub(crate) records: &'a RecordFile,
    /// Nobody else changes the device.
    pub(crate) held: &'a Lock,
    /// Says when to stop.
    pub(crate) stop: &'a Stop,
}

impl Driver<'_> {
    /// Drives the deployment in `record` until it is over, pauses, or reaches one of
    /// `stop_before`.
    pub(crate) fn drive(
        &self,
        device: &mut Device,
        mut record: Record,
        stop_before: &[Point],
    ) -> Driven {
        let mut journey = Vec::new();
        let mut unsaved = false;
        let halt = loop {
            let Some(deployment) = &mut record.deployment else {
                break Halt::Over;
            };
            deployment.paused |= stop_before.contains(&record.at);
            let effect = machine::effect(&record);
            if matches!(effect, Effect::Pause | Effect::End) {
                unsaved = !self.save(&record);
                break Halt::Paused;
            }
            // Nothing new is begun that a power cut would make us forget.
            let outcome = match unsaved && !must_go_on(&record) {
                true => Outcome::Failed,
                false => device.perform(effect, &record),
            };
            if outcome == Outcome::Failed && self.stop.requested() {
                break Halt::Interrupted;
            }
            let at = record.at;
            journey.push((at, outcome.clone()));
            record = machine::step(record, outcome);
            tell(at, &journey, record.at);
            unsaved = !self.save(&record);
        };
        Driven {
            record,
            halt,
            journey,
            unsaved,
        }
    }

    /// Makes the record durable; whether that worked.
    fn save(&self, record: &Record) -> bool {
        let saved = self.records.save(record, self.held);
        if let Err(err) = &saved {
            error!("{err:#}");
        }
        saved.is_ok()
    }
}

/// Whether the machine does its work even if that cannot be recorded: where it only undoes or ends
/// things, doing them twice does no harm; and what is permanent can only be finished.
fn must_go_on(record: &Record) -> bool {
    match record.at.state {
        State::ArtifactRollback
        | State::ArtifactRollbackReboot
        | State::ArtifactFailure
        | State::Cleanup => true,
        State::ArtifactCommit => record
            .deployment
            .as_ref()
            .is_some_and(|deployment| deployment.committed),
        State::Idle
        | State::Sync
        | State::Download
        | State::ArtifactInstall
        | State::ArtifactReboot => false,
    }
}

/// One line for each failure, and for each state that is entered.
fn tell(from: Point, journey: &[(Point, Outcome)], to: Point) {
    if matches!(journey.last(), Some((_, Outcome::Failed))) {
        info!("{:?} fails ({:?})", from.state, from.step);
    }
    if from.state != to.state {
        info!("entering {:?}", to.state);
    }
}
