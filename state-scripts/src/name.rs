//! Names of state scripts, states and actions.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

use crate::Error;

/// A state of an update that scripts can be attached to, in the order of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Nothing to do.
    Idle,
    /// Talking to the server: a poll, or an inventory push.
    Sync,
    /// The artifact is being fetched and written.
    Download,
    /// The new software is being put in place.
    ArtifactInstall,
    /// The device restarts into the new software.
    ArtifactReboot,
    /// The new software is being made permanent.
    ArtifactCommit,
    /// The old software is being put back.
    ArtifactRollback,
    /// The device restarts into the old software.
    ArtifactRollbackReboot,
    /// The deployment has failed; last chance to clean up.
    ArtifactFailure,
}

/// Where the scripts of a state come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The running root file system.
    Rootfs,
    /// The artifact that is being installed.
    Artifact,
}

impl State {
    /// All states, in the order of a deployment.
    pub const ALL: [Self; 9] = [
        Self::Idle,
        Self::Sync,
        Self::Download,
        Self::ArtifactInstall,
        Self::ArtifactReboot,
        Self::ArtifactCommit,
        Self::ArtifactRollback,
        Self::ArtifactRollbackReboot,
        Self::ArtifactFailure,
    ];

    /// Where this state's scripts come from. The artifact's own scripts can only run once there is
    /// a verified artifact.
    pub fn origin(self) -> Origin {
        match self {
            Self::Idle | Self::Sync | Self::Download => Origin::Rootfs,
            Self::ArtifactInstall
            | Self::ArtifactReboot
            | Self::ArtifactCommit
            | Self::ArtifactRollback
            | Self::ArtifactRollbackReboot
            | Self::ArtifactFailure => Origin::Artifact,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::Sync => "Sync",
            Self::Download => "Download",
            Self::ArtifactInstall => "ArtifactInstall",
            Self::ArtifactReboot => "ArtifactReboot",
            Self::ArtifactCommit => "ArtifactCommit",
            Self::ArtifactRollback => "ArtifactRollback",
            Self::ArtifactRollbackReboot => "ArtifactRollbackReboot",
            Self::ArtifactFailure => "ArtifactFailure",
        }
    }
}

/// The point of a state at which scripts run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Before the state's own work.
    Enter,
    /// After the state's work has succeeded.
    Leave,
    /// After the work or a script of the state has failed.
    Error,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 3] = [Self::Enter, Self::Leave, Self::Error];

    fn word(self) -> &'static str {
        match self {
            Self::Enter => "Enter",
            Self::Leave => "Leave",
            Self::Error => "Error",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for State {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        let known = Self::ALL.into_iter().find(|state| state.word() == word);
        known.ok_or_else(|| Error::Word(word.into()))
    }
}

impl FromStr for Action {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        let known = Self::ALL.into_iter().find(|action| action.word() == word);
        known.ok_or_else(|| Error::Word(word.into()))
    }
}

/// The file name of a state script: `<State>_<Enter|Leave|Error>_<two digits>[_<description>]`,
/// where the description has no white space and no `/`.
///
/// Ordering is that of the bytes, which is the order in which the scripts of a set run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScriptName {
    file_name: OsString,
    state: State,
    action: Action,
}

/// What Linux allows for a file name, in bytes.
const NAME_MAX: usize = 255;

impl ScriptName {
    /// Reads a whole file name.
    ///
    /// # Errors
    /// [`Error::Name`] if it is not that of a state script: such a file is simply not one.
    pub fn parse(file_name: impl AsRef<OsStr>) -> Result<Self, Error> {
        let file_name = file_name.as_ref();
        match state_and_action(file_name.as_bytes()) {
            Some((state, action)) => Ok(Self {
                file_name: file_name.to_owned(),
                state,
                action,
            }),
            None => Err(Error::Name(file_name.to_owned())),
        }
    }

    /// The state it belongs to.
    pub fn state(&self) -> State {
        self.state
    }

    /// The point of that state at which it runs.
    pub fn action(&self) -> Action {
        self.action
    }

    /// The file name, byte for byte.
    pub fn as_os_str(&self) -> &OsStr {
        &self.file_name
    }
}

impl fmt::Display for ScriptName {
    /// The name with anything that could disturb a log or a terminal escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file_name.to_string_lossy().escape_debug())
    }
}

fn state_and_action(name: &[u8]) -> Option<(State, Action)> {
    if name.len() > NAME_MAX {
        return None;
    }
    let mut parts = name.splitn(4, |byte| *byte == b'_');
    let mut word = || std::str::from_utf8(parts.next()?).ok();
    let state = word()?.parse().ok()?;
    let action = word()?.parse().ok()?;
    let number = word()?;
    if number.len() != 2 || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    if let Some(description) = parts.next() {
        if description.is_empty() || !description.iter().all(|byte| is_plain(*byte)) {
            return None;
        }
    }
    Some((state, action))
}

/// `\S` of the rule, and nothing that cannot stand in a file name.
fn is_plain(byte: u8) -> bool {
    !matches!(
        byte,
        b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r' | b'/' | b'\0'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &[u8], expected: Option<(State, Action)>) {
        let found = ScriptName::parse(OsStr::from_bytes(name)).ok();
        assert_eq!(
            found.map(|name| (name.state(), name.action())),
            expected,
            "{}",
            name.escape_ascii()
        );
    }

    #[test]
    fn every_state_and_action_makes_a_name() {
        for state in State::ALL {
            for action in Action::ALL {
                let name = format!("{state}_{action}_07_some-text.sh_v2");
                check(name.as_bytes(), Some((state, action)));
                assert_eq!(state.to_string().parse::<State>().unwrap(), state);
                assert_eq!(action.to_string().parse::<Action>().unwrap(), action);
            }
        }
    }

    #[test]
    fn the_whole_name_must_fit_the_rule() {
        let idle = Some((State::Idle, Action::Enter));
        check(b"Idle_Enter_00", idle);
        check(b"Idle_Enter_99_", None);
        check(b"Idle_Enter_99__", idle);
        check(b"Idle_Enter_00_\xc3\xa4\xff", idle);
        check(
            b"ArtifactRollbackReboot_Leave_10",
            Some((State::ArtifactRollbackReboot, Action::Leave)),
        );
        for not_a_script in [
            &b""[..],
            b"Idle",
            b"Idle_Enter",
            b"Idle_Enter_",
            b"Idle_Enter_0",
            b"Idle_Enter_100",
            b"Idle_Enter_0a",
            b"Idle_Enter_00-text",
            b"Idle_Enter_00.sh",
            b"Idle_Enter_00_two words",
            b"Idle_Enter_00_tab\t",
            b"Idle_Enter_00_line\n",
            b"Idle_Enter_00_\x0b",
            b"Idle_Enter_00_\x0c",
            b"Idle_Enter_00\n",
            b"Idle_Enter_00_a/b",
            b"Idle_Enter_00_/../../x",
            b"/Idle_Enter_00",
            b"../Idle_Enter_00",
            b"Idle_Enter_00_nul\0",
            b" Idle_Enter_00",
            b"xIdle_Enter_00",
            b"idle_Enter_00",
            b"Idle_enter_00",
            b"IDLE_ENTER_00",
            b"Idle_Exit_00",
            b"Artifact_Enter_00",
            b"ArtifactRollbackReboot2_Enter_00",
            b"Idle__Enter_00",
            b"_Idle_Enter_00",
            b"Idle_Enter_\xd9\xa0\xd9\xa1", // digits of another script
            b"version",
        ] {
            check(not_a_script, None);
        }
    }

    #[test]
    fn a_name_longer_than_a_file_name_can_be_is_refused() {
        let longest = format!("Idle_Enter_00_{}", "x".repeat(255 - 14));
        check(longest.as_bytes(), Some((State::Idle, Action::Enter)));
        check(format!("{longest}x").as_bytes(), None);
    }

    #[test]
    fn names_sort_by_bytes() {
        let parse = |name| ScriptName::parse(name).unwrap();
        let mut names = [
            "_10_b",
            "_09_z",
            "_10",
            "_10_B",
            "_10_",
            "_00_\u{e4}",
            "_00_z",
        ]
        .into_iter()
        .filter_map(|rest| ScriptName::parse(format!("Sync_Leave{rest}")).ok())
        .collect::<Vec<_>>();
        names.sort();
        let sorted = ["_00_z", "_00_\u{e4}", "_09_z", "_10", "_10_B", "_10_b"];
        assert_eq!(names, sorted.map(|rest| parse(format!("Sync_Leave{rest}"))));
    }

    #[test]
    fn a_shown_name_cannot_disturb_a_terminal() {
        let name = ScriptName::parse("Idle_Enter_00_\x1b[31mred").unwrap();
        assert_eq!(name.to_string(), "Idle_Enter_00_\\u{1b}[31mred");
    }
}
