//! The state machine of the daemon and of the command line: what to do next ([`effect`]), and
//! what the outcome means ([`step`], [`failed`]). [`mod@resume`] judges an unclean stop.
//!
//! Pure: nothing here does I/O, reads a clock or logs. The caller performs the effect, passes the
//! outcome to [`step`], and makes the new record durable before it performs the next effect. So
//! after a power cut the record names the effect that may or may not have happened.
//!
//! Inside a state the walk is that of [`Point::walk`]; any failure leads where [`on_failure`]
//! says. Every transition is that of Mender's client, so that scripts and update modules written
//! for it work; where Tandem differs on purpose the place says `DIFFERS:`.

#[cfg(test)]
mod chains;
#[cfg(test)]
mod chart;
mod command;
mod point;
mod resume;

#[cfg(test)]
mod model;

use tandem_artifact::{ARTIFACT_GROUP, ARTIFACT_NAME, Change, Provides};
use tandem_state_scripts::{Action, State as ScriptState};

pub(crate) use command::{Refusal, begin, commit, proceed, rollback};
pub(crate) use point::{Mode, Point, State, Step};
pub(crate) use resume::{Boot, resume};

use crate::record::{Contents, Deployment, FinalReport, Health, Origin, Reboot, Record, Verdict};
use crate::slots::Slot;

/// How many restarts and repeated rollback reboots one deployment may take before it is given up.
/// Mender's client counts 28 saves of its record, of which a deployment with a rollback needs
/// about 12; the rest bounds the same loops.
pub(crate) const MAX_SETBACKS: u32 = 16;

/// What is appended to the artifact's name when the device is left with a mixture of old and new.
pub(crate) const INCONSISTENT_SUFFIX: &str = "_INCONSISTENT";

/// What the machine asks for at one point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Effect {
    /// Wait for a timer or a signal.
    Wait,
    /// Talk to the server: deliver reports, send inventory, ask for a deployment.
    Sync,
    /// Wait until the deployment may be installed.
    Await,
    /// Run one set of state scripts.
    Scripts(ScriptState, Action),
    /// Tell the server how far the deployment is.
    Report(Status),
    /// Deliver the final reports that are due.
    Deliver,
    /// Read the artifact's header, verify it, and check that it fits this device.
    Open,
    /// Read the payload into the passive slot or the update module.
    Fetch,
    /// Call the payload's handler.
    Call(Call),
    /// Stop: a person decides what comes next.
    Pause,
    /// Stop: the deployment is over.
    End,
}

/// The calls that a payload's handler knows, named as in the update-module protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Call {
    /// `ArtifactInstall`
    Install,
    /// `NeedsArtifactReboot`, a question
    NeedsReboot,
    /// `ArtifactReboot`, or the device's own reboot
    Reboot,
    /// `ArtifactVerifyReboot`
    VerifyReboot,
    /// `ArtifactCommit`
    Commit,
    /// `SupportsRollback`, a question
    SupportsRollback,
    /// `ArtifactRollback`
    Rollback,
    /// `ArtifactRollbackReboot`, or the device's own reboot
    RollbackReboot,
    /// `ArtifactVerifyRollbackReboot`
    VerifyRollbackReboot,
    /// `ArtifactFailure`
    Failure,
    /// `Cleanup`
    Cleanup,
}

/// The statuses that a running deployment reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Status {
    /// The download begins.
    Downloading,
    /// The installation begins.
    Installing,
    /// The reboot begins.
    Rebooting,
    /// Sent as "installing", but it must arrive: it proves that the new system reaches the
    /// server, so it is repeated for a while and its failure undoes the update.
    Reachable,
}

/// What came of an effect. Reasons go to the log, not into control flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It worked; for a sync: and there is no deployment.
    Done,
    /// It did not work.
    Failed,
    /// The server has withdrawn the deployment.
    Withdrawn,
    /// The server offers a deployment.
    Offered(Origin),
    /// So many of the reports that are due, the oldest first, have arrived.
    Delivered(usize),
    /// The header has been read, verified and found to fit; with the root part that a
    /// `rootfs-image` will go to.
    Opened(Contents, Option<Slot>),
    /// The answer to [`Call::NeedsReboot`].
    Reboot(Reboot),
    /// The answer to [`Call::SupportsRollback`].
    RollbackSupported(bool),
}

/// What the record's point asks for.
pub(crate) fn effect(record: &Record) -> Effect {
    if record
        .deployment
        .as_ref()
        .is_some_and(|deployment| deployment.paused)
    {
        return Effect::Pause;
    }
    let Point { state, step } = record.at;
    match step {
        Step::Enter => scripts(state, Action::Enter),
        Step::Leave => scripts(state, Action::Leave),
        // There are no ArtifactRollback_Error scripts: a failed rollback is left like any other.
        Step::Error if state == State::ArtifactRollback => scripts(state, Action::Leave),
        Step::Error => scripts(state, Action::Error),
        Step::Open => Effect::Open,
        Step::Await => Effect::Await,
        Step::Report => match state {
            State::Download => Effect::Report(Status::Downloading),
            State::ArtifactInstall => Effect::Report(Status::Installing),
            State::ArtifactReboot => Effect::Report(Status::Rebooting),
            State::ArtifactCommit => Effect::Report(Status::Reachable),
            State::Cleanup => Effect::Deliver,
            State::Idle
            | State::Sync
            | State::ArtifactRollback
            | State::ArtifactRollbackReboot
            | State::ArtifactFailure => Effect::End,
        },
        Step::Ask => match state {
            State::ArtifactReboot | State::ArtifactRollbackReboot => {
                Effect::Call(Call::NeedsReboot)
            }
            State::ArtifactCommit | State::ArtifactRollback => Effect::Call(Call::SupportsRollback),
            State::Idle
            | State::Sync
            | State::Download
            | State::ArtifactInstall
            | State::ArtifactFailure
            | State::Cleanup => Effect::End,
        },
        Step::Main => match state {
            State::Idle => Effect::Wait,
            // The server offers nothing new before it knows how the last deployment has ended.
            State::Sync if !record.reports.is_empty() => Effect::Deliver,
            State::Sync => Effect::Sync,
            State::Download => Effect::Fetch,
            State::ArtifactInstall => Effect::Call(Call::Install),
            State::ArtifactReboot => Effect::Call(Call::Reboot),
            State::ArtifactCommit => Effect::Call(Call::Commit),
            State::ArtifactRollback => Effect::Call(Call::Rollback),
            State::ArtifactRollbackReboot => Effect::Call(Call::RollbackReboot),
            State::ArtifactFailure => Effect::Call(Call::Failure),
            State::Cleanup => Effect::Call(Call::Cleanup),
        },
        Step::Verify if state == State::ArtifactRollbackReboot => {
            Effect::Call(Call::VerifyRollbackReboot)
        }
        Step::Verify => Effect::Call(Call::VerifyReboot),
    }
}

/// The scripts of `state`; Cleanup, which has none, is over where it would run some.
fn scripts(state: State, action: Action) -> Effect {
    state
        .scripts()
        .map_or(Effect::End, |state| Effect::Scripts(state, action))
}

/// The record after the effect at its point had this outcome.
pub(crate) fn step(mut record: Record, outcome: Outcome) -> Record {
    record.at = match outcome {
        Outcome::Done => onward(&mut record),
        Outcome::Failed => failed(&mut record),
        Outcome::Withdrawn => withdrawn(&mut record),
        Outcome::Offered(origin) => {
            record.deployment = Some(Deployment::new(origin));
            onward(&mut record)
        }
        Outcome::Opened(contents, target) => {
            if let Some(deployment) = &mut record.deployment {
                deployment.artifact = Some(contents);
                deployment.target = target;
            }
            opened(&mut record)
        }
        Outcome::Reboot(answer) => {
            if let Some(deployment) = &mut record.deployment {
                deployment.reboot = answer;
            }
            reboot_answered(&mut record, answer)
        }
        Outcome::RollbackSupported(answer) => rollback_answered(&mut record, answer),
        Outcome::Delivered(count) => {
            record.reports.drain(..count.min(record.reports.len()));
            delivered(&mut record)
        }
    };
    record
}

/// The point after a step that went well; [`Step::Error`] sets always count as that.
fn onward(record: &mut Record) -> Point {
    let mode = record.mode();
    let Point { state, step } = record.at;
    let Some(deployment) = &mut record.deployment else {
        return record
            .at
            .following(mode)
            .unwrap_or(Point::first(state.then(), Mode::Managed));
    };
    if step == Step::Error {
        return after_error(record);
    }
    if state == State::ArtifactCommit && step == Step::Main {
        deployment.committed = true;
    }
    if step == Step::Await {
        deployment.origin.forget_openings();
    }
    let at_any_time = deployment.origin.openings().is_empty();
    let next = match record.at.following(mode) {
        Some(next) => next,
        None => leave(record),
    };
    match (next.step, at_any_time) {
        (Step::Await, true) => next.following(mode).unwrap_or(next),
        (_, _) => next,
    }
}

/// The point after the last step of a state.
fn leave(record: &mut Record) -> Point {
    let mode = record.mode();
    match record.at.state {
        State::Sync => Point::first(State::Download, mode),
        State::Download if is_empty_payload(record) => settle(record),
        State::ArtifactCommit | State::ArtifactFailure => settle(record),
        State::ArtifactRollback if mode == Mode::Standalone => rolled_back(record),
        State::ArtifactRollbackReboot => rolled_back(record),
        State::Cleanup => end(record),
        State::Idle
        | State::Download
        | State::ArtifactInstall
        | State::ArtifactReboot
        | State::ArtifactRollback => Point::first(record.at.state.then(), mode),
    }
}

/// The header has been read. An artifact without payload has nothing to ask a person about.
fn opened(record: &mut Record) -> Point {
    if record.mode() == Mode::Standalone && is_empty_payload(record) {
        settle(record);
        return end(record);
    }
    onward(record)
}

/// Whether the artifact changes nothing but the provides.
fn is_empty_payload(record: &Record) -> bool {
    let artifact = record
        .deployment
        .as_ref()
        .and_then(|deployment| deployment.artifact.as_ref());
    artifact.is_some_and(|artifact| artifact.payload.is_none())
}

/// The point after reports have been delivered: with some left, nothing else is asked for.
fn delivered(record: &mut Record) -> Point {
    match (record.at.state, record.reports.is_empty()) {
        (State::Sync, true) => record.at,
        (_, true) => onward(record),
        (_, false) => failed(record),
    }
}

/// The point after the payload has said whether it needs a reboot.
fn reboot_answered(record: &mut Record, answer: Reboot) -> Point {
    let mode = record.mode();
    match (record.at.state, answer) {
        (State::ArtifactRollbackReboot, Reboot::No) => rolled_back(record),
        (State::ArtifactReboot, Reboot::No) => Point::first(State::ArtifactCommit, mode),
        _ => onward(record),
    }
}

/// The point after the payload has said whether it can be rolled back.
fn rollback_answered(record: &mut Record, supported: bool) -> Point {
    let mode = record.mode();
    let state = record.at.state;
    let next = onward(record);
    let Some(deployment) = &mut record.deployment else {
        return next;
    };
    match (state, supported) {
        (State::ArtifactRollback, true) => {
            deployment.health = Health::Restored;
            next
        }
        (State::ArtifactRollback, false) => Point::first(State::ArtifactFailure, mode),
        // Installed and undoable: the person may try it before committing.
        (_, true) => {
            deployment.paused = true;
            next
        }
        (_, false) => next,
    }
}

/// Where a failure leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnFailure {
    /// To the state's Error scripts.
    ErrorScripts,
    /// To the next step, as if nothing had happened.
    CarryOn,
    /// To the first step of another state.
    To(State),
    /// To the work of the same state once more, as long as that is bounded.
    Again,
    /// The deployment ends, the device is as it was.
    Untouched,
    /// What the device is left with is settled; there is no way back.
    Settle,
    /// The server's offer is dropped; it will be made again.
    Forget,
    /// As if the server had withdrawn the deployment.
    Withdraw,
}

/// Where a failure at `at` leads, and whether it spoils the outcome: a failure that does not
/// leaves [`Health`] as it is.
fn on_failure(at: Point, mode: Mode) -> (OnFailure, bool) {
    use OnFailure::{Again, CarryOn, ErrorScripts, Forget, Settle, To, Untouched, Withdraw};
    let standalone = mode == Mode::Standalone;
    match (at.state, at.step) {
        (State::Sync, Step::Error) => (Forget, false),
        (State::Idle | State::Cleanup, _) | (_, Step::Error) => (CarryOn, false),
        (State::Sync, _) => (ErrorScripts, false),
        (State::Download, Step::Open) if standalone => (Untouched, true),
        // Nothing has been installed yet, and now it may not be any more.
        (State::ArtifactInstall, Step::Await) => (Withdraw, true),
        (State::ArtifactReboot, Step::Ask) => (To(State::ArtifactRollback), true),
        (State::ArtifactCommit, Step::Ask | Step::Report) => (To(State::ArtifactRollback), true),
        // Too late to undo anything: the new software is permanent.
        (State::ArtifactCommit, Step::Leave) if standalone => (Settle, true),
        (State::Download, _)
        | (State::ArtifactInstall, _)
        | (State::ArtifactReboot, _)
        | (State::ArtifactCommit, _) => (ErrorScripts, true),
        (State::ArtifactRollback, Step::Ask) => (To(State::ArtifactFailure), true),
        (State::ArtifactRollback, Step::Main) => (ErrorScripts, true),
        (State::ArtifactRollback | State::ArtifactFailure, Step::Leave) if standalone => {
            (CarryOn, false)
        }
        (State::ArtifactRollback | State::ArtifactFailure, _) => (CarryOn, true),
        (State::ArtifactRollbackReboot, Step::Ask) => (To(State::ArtifactFailure), true),
        // What counts is the system that runs afterwards, and that is verified next.
        (State::ArtifactRollbackReboot, Step::Main) => (CarryOn, false),
        (State::ArtifactRollbackReboot, Step::Verify) => (Again, false),
        (State::ArtifactRollbackReboot, Step::Leave) => (ErrorScripts, true),
        (State::ArtifactRollbackReboot, _) => (CarryOn, true),
    }
}

/// Whether a failure at `at` spoils what the device is left with.
pub(crate) fn spoils(at: Point, mode: Mode) -> bool {
    on_failure(at, mode).1
}

/// The point after a step that failed.
fn failed(record: &mut Record) -> Point {
    let at = record.at;
    let mode = record.mode();
    let (leads, spoils) = on_failure(at, mode);
    if spoils {
        spoil(record);
    }
    match leads {
        OnFailure::ErrorScripts => Point::new(at.state, Step::Error),
        OnFailure::CarryOn => onward(record),
        OnFailure::To(state) => Point::first(state, mode),
        OnFailure::Again => again(record),
        OnFailure::Untouched => {
            restored(record);
            end(record)
        }
        OnFailure::Settle => settle(record),
        OnFailure::Withdraw => withdrawn(record),
        OnFailure::Forget => {
            record.deployment = None;
            Point::IDLE
        }
    }
}

/// The point after a state's Error scripts, whatever they returned.
fn after_error(record: &mut Record) -> Point {
    let mode = record.mode();
    match record.at.state {
        State::Download => {
            restored(record);
            settle(record)
        }
        State::ArtifactCommit if is_committed(record) => settle(record),
        State::ArtifactInstall | State::ArtifactReboot | State::ArtifactCommit => {
            Point::first(State::ArtifactRollback, mode)
        }
        State::ArtifactRollback | State::ArtifactRollbackReboot | State::ArtifactFailure => {
            Point::first(State::ArtifactFailure, mode)
        }
        State::Sync | State::Idle | State::Cleanup => {
            record.deployment = None;
            Point::IDLE
        }
    }
}

/// Whether the new software has been made permanent.
fn is_committed(record: &Record) -> bool {
    record
        .deployment
        .as_ref()
        .is_some_and(|deployment| deployment.committed)
}

/// The point after the server has withdrawn the deployment.
fn withdrawn(record: &mut Record) -> Point {
    spoil(record);
    match record.at.state {
        State::ArtifactReboot | State::ArtifactCommit => {
            Point::first(State::ArtifactRollback, record.mode())
        }
        State::Idle
        | State::Sync
        | State::Download
        | State::ArtifactInstall
        | State::ArtifactRollback
        | State::ArtifactRollbackReboot
        | State::ArtifactFailure
        | State::Cleanup => {
            restored(record);
            settle(record)
        }
    }
}

/// The rollback reboot did not bring the old system: try again, or give up.
fn again(record: &mut Record) -> Point {
    match set_back(record) {
        true => Point::new(record.at.state, Step::Main),
        false => give_up(record),
    }
}

/// Counts one setback; `false` when there have been too many.
fn set_back(record: &mut Record) -> bool {
    let Some(deployment) = &mut record.deployment else {
        return true;
    };
    deployment.setbacks = deployment.setbacks.saturating_add(1);
    deployment.setbacks <= MAX_SETBACKS
}

/// Ends a deployment that goes round in circles, without running anything more of it.
///
/// DIFFERS: what Cleanup has settled stays settled; Mender's client declares it inconsistent.
fn give_up(record: &mut Record) -> Point {
    if record.at.state != State::Cleanup {
        spoil(record);
        if record.at.state == State::Download {
            restored(record);
        }
        settle(record);
    }
    end(record)
}

/// Something failed: without a rollback the device is left with a mixture.
fn spoil(record: &mut Record) {
    if let Some(deployment) = &mut record.deployment {
        deployment.health = Health::Inconsistent;
    }
}

/// The old software is, or is being made, what the device is left with.
fn restored(record: &mut Record) {
    if let Some(deployment) = &mut record.deployment {
        deployment.health = Health::Restored;
    }
}

/// The old software runs again.
fn rolled_back(record: &mut Record) -> Point {
    let mode = record.mode();
    if let Some(deployment) = &mut record.deployment {
        deployment.rolled_back = true;
    }
    Point::first(State::ArtifactFailure, mode)
}

/// Moves what the artifact provides into what is installed, as far as it has come. This and the
/// move to Cleanup are saved as one: from here on, the outcome of the deployment is settled.
fn settle(record: &mut Record) -> Point {
    let mode = record.mode();
    if let Some(deployment) = &record.deployment {
        if let Some(artifact) = &deployment.artifact {
            record.installed = installed(&record.installed, artifact, deployment.health, mode);
        }
    }
    Point::first(State::Cleanup, mode)
}

/// What is installed after an artifact that ended with `health`.
fn installed(before: &Provides, artifact: &Contents, health: Health, mode: Mode) -> Provides {
    let change = Change {
        name: &artifact.name,
        group: artifact.group.as_deref(),
        provides: artifact.provides.as_ref(),
        clears: artifact.clears_provides.as_deref(),
    };
    match (health, mode) {
        (Health::Restored, _) => before.clone(),
        (Health::Good, _) => change.apply(before),
        (Health::Inconsistent, mode) => {
            let mut mixture = match mode {
                Mode::Standalone => change.apply(before),
                Mode::Managed => before.clone(),
            };
            let name = format!("{}{INCONSISTENT_SUFFIX}", artifact.name);
            mixture.insert(ARTIFACT_NAME.to_owned(), name);
            if let Some(group) = &artifact.group {
                mixture.insert(ARTIFACT_GROUP.to_owned(), group.clone());
            }
            mixture
        }
    }
}

/// The deployment is over; for a server's, its verdict goes among the reports that are due.
fn end(record: &mut Record) -> Point {
    let Some(deployment) = record.deployment.take() else {
        return Point::IDLE;
    };
    match deployment.origin {
        Origin::Standalone { .. } => Point::IDLE,
        Origin::Server { id, .. } => {
            let verdict = match deployment.health {
                Health::Good => Verdict::Success,
                Health::Inconsistent | Health::Restored => Verdict::Failure,
            };
            record.reports.push(FinalReport {
                deployment: id,
                verdict,
            });
            Point::new(State::Cleanup, Step::Report)
        }
    }
}
