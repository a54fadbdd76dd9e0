//! Names that come from outside and end up in file systems, logs and other programs.

use std::fmt;

use crate::error::Error;

/// The name of a payload file: flat, ASCII, safe to use as the name of a file in a directory of one's choosing.
///
/// 1 to 90 of `A-Za-z0-9_.,-`, neither `.` nor `..`: the rule of Mender's reader and writer, and short enough for its
/// `data/0000/` line of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName(String);

impl FileName {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it breaks the rule.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.,-".contains(c);
        if !name.is_empty() && name.len() <= 90 && name.chars().all(allowed) && !is_dots(name) {
            return Ok(Self(name.to_owned()));
        }
        Err(Error::malformed(
            format!("payload file name {name:?}"),
            "is not 1 to 90 letters, digits, dots, commas, dashes or underscores",
        ))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The type of a payload: `rootfs-image`, or the file name of an update module.
///
/// 1 to 255 of `A-Za-z0-9_.-`, neither `.` nor `..`, because it selects a program in the directory of the modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadType(String);

impl PayloadType {
    /// The type that a device writes to its passive root file system itself.
    pub const ROOTFS_IMAGE: &str = "rootfs-image";

    /// Checks `name`.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it breaks the rule.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !name.is_empty() && name.len() <= 255 && name.chars().all(allowed) && !is_dots(name) {
            return Ok(Self(name.to_owned()));
        }
        Err(Error::malformed(
            format!("payload type {name:?}"),
            "is not 1 to 255 letters, digits, dots, dashes or underscores",
        ))
    }

    /// The type.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is [`ROOTFS_IMAGE`](Self::ROOTFS_IMAGE).
    #[must_use]
    pub fn is_rootfs_image(&self) -> bool {
        self.0 == Self::ROOTFS_IMAGE
    }
}

impl fmt::Display for PayloadType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a state script that an artifact may carry: `ArtifactInstall_Enter_10_backup`.
///
/// The rule of spec `state-scripts` §1, whole name, and only the states that begin with `Artifact`: scripts of the
/// others come from the root file system. At most 255 bytes; no slash, white space or control character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScriptName(String);

impl ScriptName {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it breaks the rule.
    pub fn parse(name: &str) -> Result<Self, Error> {
        if name.len() <= 255 && is_script(name).is_some() {
            return Ok(Self(name.to_owned()));
        }
        Err(Error::malformed(
            format!("state script name {name:?}"),
            "is not Artifact<Install|Reboot|Commit|Rollback|RollbackReboot|Failure>_<Enter|Leave|Error>_NN[_TEXT]",
        ))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ScriptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `Some` if the whole name matches.
fn is_script(name: &str) -> Option<()> {
    const STATES: [&str; 6] = [
        "ArtifactInstall",
        "ArtifactReboot",
        "ArtifactCommit",
        "ArtifactRollback",
        "ArtifactRollbackReboot",
        "ArtifactFailure",
    ];
    let mut parts = name.splitn(4, '_');
    let state = parts.next()?;
    let action = parts.next()?;
    let order = parts.next()?;
    let text = parts.next();
    let good = STATES.contains(&state)
        && ["Enter", "Leave", "Error"].contains(&action)
        && order.len() == 2
        && order.bytes().all(|digit| digit.is_ascii_digit())
        && text.is_none_or(|text| !text.is_empty())
        && !name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control());
    good.then_some(())
}

/// What is wrong with a name that people give (artifact, group, device type): 1 to 256 bytes, no control characters.
pub(crate) fn text_fault(text: &str) -> Option<&'static str> {
    match text {
        "" => Some("is empty"),
        _ if text.len() > 256 => Some("is longer than 256 bytes"),
        _ if text.contains(char::is_control) => Some("contains control characters"),
        _ => None,
    }
}

fn is_dots(name: &str) -> bool {
    name == "." || name == ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_file_names_cannot_leave_their_directory() {
        for good in [
            "rootfs.ext4",
            "a",
            "A-b_c,1.2",
            "..a",
            "...",
            &"x".repeat(90),
        ] {
            assert!(FileName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "/a",
            "a b",
            "a\0",
            "ä",
            "a\n",
            "a\\b",
            "a:b",
            &"x".repeat(91),
        ] {
            assert!(FileName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_payload_type_is_the_name_of_a_file() {
        for good in ["rootfs-image", "single-file", "v1.2", "a_b"] {
            assert!(PayloadType::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a,b",
            "a b",
            "é",
            "a\0b",
            &"x".repeat(256),
        ] {
            assert!(PayloadType::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn script_names_match_as_a_whole() {
        for good in [
            "ArtifactInstall_Enter_00",
            "ArtifactRollbackReboot_Error_99_x",
            "ArtifactCommit_Leave_10_a_b.sh",
            "ArtifactFailure_Enter_01_ü",
        ] {
            assert!(ScriptName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ArtifactInstall",
            "ArtifactInstall_Enter",
            "ArtifactInstall_Enter_0",
            "ArtifactInstall_Enter_000",
            "ArtifactInstall_Enter_00_",
            "ArtifactInstall_Enter_0x",
            "ArtifactInstall_Enter_00x",
            "xArtifactInstall_Enter_00",
            "ArtifactInstall_Enter_00_../x",
            "ArtifactInstall_Enter_00_a b",
            "ArtifactInstall_Enter_00_a\n",
            "ArtifactInstall_Enter_00_a\u{85}",
            "ArtifactInstall_Enter_00\n",
            "ArtifactInstall_enter_00",
            "Download_Enter_00",
            "Idle_Enter_00",
            "Sync_Enter_00",
            "ArtifactVerify_Enter_00",
            &format!("ArtifactInstall_Enter_00_{}", "x".repeat(240)),
        ] {
            assert!(ScriptName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
