//! The loop that drives a deployment: perform the effect, decide, make the decision durable,
//! repeat. The daemon and the command line both run it.

use log::{Level, error, info, log};

use crate::device::Device;
use crate::lock::Lock;
use crate::machine::{self, Call, Effect, Mode, Outcome, Point, State};
use crate::record::Record;
use crate::record::file::RecordFile;
use crate::stop::Stop;
use crate::watchdog;

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
    /// Where driving ends: the command line's with the deployment, the daemon's when it is idle.
    pub(crate) mode: Mode,
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
            if self.mode == Mode::Standalone && record.deployment.is_none() {
                break Halt::Over;
            }
            if let Some(deployment) = &mut record.deployment {
                deployment.paused |= stop_before.contains(&record.at);
            }
            watchdog::alive();
            device.follow(&record);
            let effect = machine::effect(&record);
            if effect == Effect::Wait {
                break Halt::Over;
            }
            if matches!(effect, Effect::Pause | Effect::End) {
                unsaved = !self.save(&record);
                break Halt::Paused;
            }
            // Nothing new is begun that a power cut would make us forget.
            let outcome = match unsaved && !must_go_on(&record) {
                true => Outcome::Failed,
                false => device.perform(effect, &record),
            };
            let stopping = self.stop.requested();
            let reboots = matches!(effect, Effect::Call(Call::Reboot | Call::RollbackReboot));
            if stopping && (reboots || outcome == Outcome::Failed) {
                break Halt::Interrupted;
            }
            let at = record.at;
            let before = record.lasting();
            journey.push((at, outcome.clone()));
            record = machine::step(record, outcome);
            tell(at, &journey, record.at);
            if record.lasting() != before {
                unsaved = !self.save(&record);
            }
            if stopping {
                break Halt::Interrupted;
            }
        };
        Driven {
            record,
            halt,
            journey,
            unsaved,
        }
    }

    /// Makes the record durable; whether that worked. Also to be called with what an interruption
    /// or a person has made of it: driving saves only what its own steps change.
    pub(crate) fn save(&self, record: &Record) -> bool {
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

/// One line for each failure, and for each state that is entered; idling and asking are too common
/// for that.
fn tell(from: Point, journey: &[(Point, Outcome)], to: Point) {
    if matches!(journey.last(), Some((_, Outcome::Failed))) {
        info!("{:?} fails ({:?})", from.state, from.step);
    }
    if from.state != to.state {
        let quiet = matches!(to.state, State::Idle | State::Sync);
        let level = if quiet { Level::Debug } else { Level::Info };
        log!(level, "entering {:?}", to.state);
    }
}
