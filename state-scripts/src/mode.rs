//! Which script sets exist, and what a failing script means for the rest of its set.

use crate::{Action, State};

/// What happens to the rest of a set when one of its scripts fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The scripts after the failing one are not run.
    Stop,
    /// All scripts of the set are run; that one has failed is reported at the end.
    Continue,
}

/// How the set `state` + `action` is run, or `None` if this set is never run.
///
/// `standalone` is an install from the command line, where nobody polls or reboots. Where a
/// failure leads the update is the state machine's business; this is only about the set itself.
///
/// One set has a second mode that this table cannot know: after the update module's own
/// `ArtifactRollback` has failed, `ArtifactRollback_Leave` is run with [`OnError::Continue`].
pub fn mode_of(state: State, action: Action, standalone: bool) -> Option<OnError> {
    use Action::{Enter, Error, Leave};
    use OnError::{Continue, Stop};
    match (state, action) {
        (State::Idle | State::Sync, _) if standalone => None,
        (State::ArtifactReboot | State::ArtifactRollbackReboot, _) if standalone => None,
        (State::Idle | State::ArtifactRollback | State::ArtifactFailure, Error) => None,

        (State::Idle, Enter | Leave) => Some(Continue),
        (_, Error) => Some(Continue),

        (State::ArtifactCommit, Leave) if standalone => Some(Continue),
        (State::ArtifactRollback | State::ArtifactFailure, Enter | Leave) if standalone => {
            Some(Continue)
        }

        (_, Enter | Leave) => Some(Stop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row for each set of the specification's table: how the daemon runs it, how an install
    /// from the command line does. S stop, C continue, - never run.
    const TABLE: &str = "
        Idle                   Enter  C -
        Idle                   Leave  C -
        Idle                   Error  - -
        Sync                   Enter  S -
        Sync                   Leave  S -
        Sync                   Error  C -
        Download               Enter  S S
        Download               Leave  S S
        Download               Error  C C
        ArtifactInstall        Enter  S S
        ArtifactInstall        Leave  S S
        ArtifactInstall        Error  C C
        ArtifactReboot         Enter  S -
        ArtifactReboot         Leave  S -
        ArtifactReboot         Error  C -
        ArtifactCommit         Enter  S S
        ArtifactCommit         Leave  S C
        ArtifactCommit         Error  C C
        ArtifactRollback       Enter  S C
        ArtifactRollback       Leave  S C
        ArtifactRollback       Error  - -
        ArtifactRollbackReboot Enter  S -
        ArtifactRollbackReboot Leave  S -
        ArtifactRollbackReboot Error  C -
        ArtifactFailure        Enter  S C
        ArtifactFailure        Leave  S C
        ArtifactFailure        Error  - -
    ";

    #[test]
    fn every_set_is_run_as_the_table_says() {
        let mode = |word| match word {
            "S" => Some(OnError::Stop),
            "C" => Some(OnError::Continue),
            "-" => None,
            other => panic!("{other}"),
        };
        let mut rows = 0;
        for row in TABLE.lines().filter(|row| !row.trim().is_empty()) {
            let words = row.split_whitespace().collect::<Vec<_>>();
            let (state, action) = (words[0].parse().unwrap(), words[1].parse().unwrap());
            assert_eq!(
                mode_of(state, action, false),
                mode(words[2]),
                "daemon:{row}"
            );
            assert_eq!(
                mode_of(state, action, true),
                mode(words[3]),
                "standalone:{row}"
            );
            rows += 1;
        }
        assert_eq!(rows, State::ALL.len() * Action::ALL.len());
    }
}
