//! What devices have installed, in a file: so that the next run goes on with it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::durable::{Readers, replace};

/// The file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Memory {
    version: u32,
    /// Names of releases.
    pub(super) releases: Vec<String>,
    /// What runs on each device, by its number in `releases`.
    pub(super) runs: Vec<u16>,
    /// How many deployments each device has had.
    pub(super) deployments: Vec<u16>,
}

/// The version that is written.
const VERSION: u32 = 1;

impl Memory {
    pub(super) fn new(releases: Vec<String>, devices: impl Iterator<Item = (u16, u16)>) -> Self {
        let (runs, deployments) = devices.unzip();
        Self {
            version: VERSION,
            releases,
            runs,
            deployments,
        }
    }

    /// Reads it; the file need not be there.
    ///
    /// # Errors
    /// If it is no such file.
    pub(super) fn read(file: &Path) -> Result<Self> {
        let name = file.display();
        let text = match std::fs::read_to_string(file) {
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text.with_context(|| format!("cannot read {name}"))?,
        };
        let memory: Self = serde_json::from_str(&text)
            .with_context(|| format!("{name} is not what simulate has written"))?;
        ensure!(
            memory.version == VERSION,
            "{name} is of a later version: use the program that wrote it, or another file"
        );
        Ok(memory)
    }

    /// Writes it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_vec(self).context("cannot write what devices have installed")?;
        replace(file, &text, Readers::Owner)
            .with_context(|| format!("cannot write {}", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_other_files_are_refused() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = dir.path().join("fleet.json");
        assert_eq!(Memory::read(&file).unwrap(), Memory::default());
        let memory = Memory::new(vec!["r1".to_owned()], [(0, 3), (0, 1)].into_iter());
        memory.write(&file).unwrap();
        assert_eq!(Memory::read(&file).unwrap(), memory);
        for wrong in [
            "",
            "{}",
            r#"{"version":2,"releases":[],"runs":[],"deployments":[]}"#,
        ] {
            replace(&file, wrong.as_bytes(), Readers::Owner).unwrap();
            assert!(Memory::read(&file).is_err(), "{wrong}");
        }
    }
}
