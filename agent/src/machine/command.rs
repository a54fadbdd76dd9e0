//! What a person may ask of the machine, and when.

use std::fmt;

use super::{Boot, Point, State, Step, resume};
use crate::machine::Mode;
use crate::record::{Deployment, Origin, Record};

/// Why the machine does not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no deployment to commit, roll back or resume.
    NothingInProgress,
    /// There is one already.
    InProgress(Point),
    /// It is not at a point where that makes sense.
    WrongPoint(Point),
    /// It is the server's; the daemon finishes it.
    Managed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NothingInProgress => write!(f, "no update is in progress"),
            Refusal::InProgress(at) => write!(
                f,
                "an update is already in progress (in {:?}): commit it, roll it back or resume it first",
                at.state
            ),
            Refusal::WrongPoint(at) => {
                write!(
                    f,
                    "the update in progress is in {:?}: resume it first",
                    at.state
                )
            }
            Refusal::Managed => write!(
                f,
                "the update in progress is the server's: the daemon finishes it, or its deployment is aborted there"
            ),
        }
    }
}

impl std::error::Error for Refusal {}

/// Begins a deployment.
///
/// # Errors
/// When one is in progress already.
pub(crate) fn begin(record: Record, origin: Origin) -> Result<Record, Refusal> {
    if record.deployment.is_some() {
        return Err(Refusal::InProgress(record.at));
    }
    let mut record = Record {
        deployment: Some(Deployment::new(origin)),
        ..record
    };
    record.at = Point::first(State::Download, record.mode());
    Ok(record)
}

/// Makes the installed software permanent. A commit that was interrupted is rolled back, unless
/// the boot loader has it already.
///
/// # Errors
/// When nothing waits for a commit.
pub(crate) fn commit(record: Record, boot: Boot) -> Result<Record, Refusal> {
    let record = standalone(record)?;
    match (record.at.state, record.at.step) {
        (State::ArtifactCommit, Step::Enter | Step::Main) => Ok(wake(record, boot)),
        // Installed; the stop came before the machine could say that it waits.
        (State::ArtifactReboot | State::ArtifactCommit, Step::Ask) => Ok(Record {
            at: Point::new(State::ArtifactCommit, Step::Enter),
            ..record
        }),
        _ => Err(Refusal::WrongPoint(record.at)),
    }
}

/// Undoes the installation: the record at the question whether that can be done.
///
/// # Errors
/// When nothing has been installed, or what has been cannot be undone any more.
pub(crate) fn rollback(record: Record) -> Result<Record, Refusal> {
    let mut record = standalone(record)?;
    let paused = record
        .deployment
        .as_ref()
        .is_some_and(|deployment| deployment.paused);
    match (record.at.state, record.at.step) {
        (State::ArtifactCommit, Step::Leave) if !paused => Err(Refusal::WrongPoint(record.at)),
        (
            State::ArtifactInstall
            | State::ArtifactReboot
            | State::ArtifactCommit
            | State::ArtifactRollback,
            _,
        ) => {
            if let Some(deployment) = &mut record.deployment {
                deployment.paused = false;
            }
            Ok(Record {
                at: Point::first(State::ArtifactRollback, Mode::Standalone),
                ..record
            })
        }
        _ => Err(Refusal::WrongPoint(record.at)),
    }
}

/// Goes on from where the deployment was stopped or interrupted.
///
/// # Errors
/// When there is none.
pub(crate) fn proceed(record: Record, boot: Boot) -> Result<Record, Refusal> {
    Ok(wake(standalone(record)?, boot))
}

/// The record, if its deployment is one for the command line.
fn standalone(record: Record) -> Result<Record, Refusal> {
    match (&record.deployment, record.mode()) {
        (None, _) => Err(Refusal::NothingInProgress),
        (Some(_), Mode::Managed) => Err(Refusal::Managed),
        (Some(_), Mode::Standalone) => Ok(record),
    }
}

/// Ends a pause; what was not paused was interrupted, and is judged.
fn wake(mut record: Record, boot: Boot) -> Record {
    match &mut record.deployment {
        Some(deployment) if deployment.paused => {
            deployment.paused = false;
            record
        }
        _ => resume(record, boot),
    }
}
