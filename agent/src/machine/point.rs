//! Where a deployment is: a state and a step inside it.

use serde::{Deserialize, Serialize};
use tandem_state_scripts as scripts;

/// The states. The first nine are the names that state scripts carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum State {
    /// Nothing to do until a timer, a signal or a person says otherwise.
    Idle,
    /// Talking to the server: deliver reports, send inventory, ask for a deployment.
    Sync,
    /// Reading the artifact into the passive slot or an update module.
    Download,
    /// Making the new software the one that starts next.
    ArtifactInstall,
    /// Starting it.
    ArtifactReboot,
    /// Making it permanent.
    ArtifactCommit,
    /// Making the old software the one that starts next.
    ArtifactRollback,
    /// Starting it again.
    ArtifactRollbackReboot,
    /// Telling the update module and the scripts that the deployment failed.
    ArtifactFailure,
    /// Removing what the deployment left behind. What is installed is already settled.
    Cleanup,
}

/// The steps inside a state, in the order in which [`Point::walk`] lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Step {
    /// A question to the payload's handler that decides whether the state is entered at all.
    Ask,
    /// A status report to the server.
    Report,
    /// Only before ArtifactInstall, of a deployment that may not be installed at any time: wait for its maintenance
    /// window. Passed over by all others.
    Await,
    /// The state's Enter scripts.
    Enter,
    /// Only in Download: read the artifact's header and check that it fits this device.
    Open,
    /// The work of the state.
    Main,
    /// Only after a reboot: is the right system running?
    Verify,
    /// The state's Leave scripts.
    Leave,
    /// The state's Error scripts; for ArtifactRollback its Leave scripts once more, since a
    /// failed rollback still leaves the state but may not reboot.
    Error,
}

/// Who started a deployment; it decides which steps exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Mode {
    /// The daemon, on behalf of a server.
    Managed,
    /// A person or program at the command line.
    Standalone,
}

/// One place in the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Point {
    /// The state.
    pub(crate) state: State,
    /// The step inside it.
    pub(crate) step: Step,
}

impl Point {
    /// Where the machine rests when there is no deployment.
    pub(crate) const IDLE: Point = Point::new(State::Idle, Step::Enter);

    /// The point at `step` of `state`.
    pub(crate) const fn new(state: State, step: Step) -> Point {
        Point { state, step }
    }

    /// The steps of `state` when all goes well, in order. A state without steps is passed over.
    pub(crate) const fn walk(state: State, mode: Mode) -> &'static [Step] {
        use Step::{Ask, Await, Enter, Leave, Main, Open, Report, Verify};
        match (state, mode) {
            (State::Idle | State::Sync | State::ArtifactFailure, _) => &[Enter, Main, Leave],
            // A person gets every refusal before the first script runs; a server's
            // deployment asks for permission (Download_Enter) before the first byte moves.
            (State::Download, Mode::Managed) => &[Report, Enter, Open, Main, Leave],
            (State::Download, Mode::Standalone) => &[Open, Enter, Main, Leave],
            (State::ArtifactInstall, Mode::Managed) => &[Await, Report, Enter, Main, Leave],
            (State::ArtifactInstall, Mode::Standalone) => &[Enter, Main, Leave],
            (State::ArtifactReboot, Mode::Managed) => &[Ask, Report, Enter, Main, Verify, Leave],
            // The reboot itself is the person's; only whether one is needed is asked.
            (State::ArtifactReboot, Mode::Standalone) => &[Ask],
            (State::ArtifactCommit, Mode::Managed) => &[Report, Enter, Main, Leave],
            // Without rollback support there is nothing to wait for: commit at once.
            (State::ArtifactCommit, Mode::Standalone) => &[Ask, Enter, Main, Leave],
            (State::ArtifactRollback, _) => &[Ask, Enter, Main, Leave],
            (State::ArtifactRollbackReboot, Mode::Managed) => &[Ask, Enter, Main, Verify, Leave],
            (State::ArtifactRollbackReboot, Mode::Standalone) => &[],
            // The report follows when the deployment itself has ended.
            (State::Cleanup, _) => &[Main],
        }
    }

    /// The first step of `state`, or of the first state after it that has steps.
    pub(crate) fn first(state: State, mode: Mode) -> Point {
        match Point::walk(state, mode).first() {
            Some(step) => Point::new(state, *step),
            None => Point::first(state.then(), mode),
        }
    }

    /// The step after this one in the state's walk; `None` at its end or outside of it.
    pub(crate) fn following(self, mode: Mode) -> Option<Point> {
        let mut walk = Point::walk(self.state, mode).iter();
        walk.find(|step| **step == self.step)?;
        walk.next().map(|step| Point::new(self.state, *step))
    }
}

impl State {
    /// The state after this one when all its steps went well.
    pub(crate) const fn then(self) -> State {
        match self {
            State::Idle => State::Sync,
            State::Sync | State::Cleanup => State::Idle,
            State::Download => State::ArtifactInstall,
            State::ArtifactInstall => State::ArtifactReboot,
            State::ArtifactReboot => State::ArtifactCommit,
            State::ArtifactRollback => State::ArtifactRollbackReboot,
            State::ArtifactRollbackReboot => State::ArtifactFailure,
            State::ArtifactCommit | State::ArtifactFailure => State::Cleanup,
        }
    }

    /// The same state as the state scripts name it; Cleanup has none.
    pub(crate) const fn scripts(self) -> Option<scripts::State> {
        Some(match self {
            State::Idle => scripts::State::Idle,
            State::Sync => scripts::State::Sync,
            State::Download => scripts::State::Download,
            State::ArtifactInstall => scripts::State::ArtifactInstall,
            State::ArtifactReboot => scripts::State::ArtifactReboot,
            State::ArtifactCommit => scripts::State::ArtifactCommit,
            State::ArtifactRollback => scripts::State::ArtifactRollback,
            State::ArtifactRollbackReboot => scripts::State::ArtifactRollbackReboot,
            State::ArtifactFailure => scripts::State::ArtifactFailure,
            State::Cleanup => return None,
        })
    }
}
