//! What this device is like: what its inventory scripts say.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use log::{debug, warn};
use tandem_artifact::{ARTIFACT_NAME, Provides};

use crate::identity;
use crate::key_values::{self, KeyValues, Values};
use crate::stop::Stop;

/// What an inventory script's name begins with.
const PREFIX: &str = "mender-inventory-";

/// The attributes, from every script in the directories and the agent itself; what a script says
/// wins. A script that fails is left out.
///
/// # Errors
/// When there are scripts and every one of them fails.
pub(crate) fn read(
    dirs: &[PathBuf],
    device_type: String,
    installed: &Provides,
    stop: &Stop,
) -> Result<KeyValues> {
    let mut attributes = KeyValues::new();
    let mut worked = false;
    let mut failure = None;
    for script in scripts(dirs) {
        let read = identity::run(&script, stop)
            .and_then(|text| key_values::add(&mut attributes, &text))
            .with_context(|| format!("the inventory script {}", script.display()));
        match read {
            Ok(()) => worked = true,
            Err(err) => {
                warn!("{err:#}; leaving it out");
                failure = Some(err);
            }
        }
    }
    if let (false, Some(err)) = (worked, failure) {
        bail!("every inventory script fails, among them: {err:#}");
    }
    let version = format!("tandem {}", env!("CARGO_PKG_VERSION"));
    let own = [
        ("mender_client_version", Some(version)),
        ("device_type", Some(device_type)),
        (ARTIFACT_NAME, installed.get(ARTIFACT_NAME).cloned()),
    ];
    for (name, value) in own {
        if let Some(value) = value {
            attributes
                .entry(name.to_owned())
                .or_insert(Values::One(value));
        }
    }
    Ok(attributes)
}

/// The scripts, sorted by their path: an unstable order would change lists of values for nothing.
/// A name in an earlier directory hides the same name in a later one.
fn scripts(dirs: &[PathBuf]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for dir in dirs {
        let Ok(entries) = fs::read_dir(dir) else {
            debug!("there are no inventory scripts in {}", dir.display());
            continue;
        };
        let mut here: Vec<PathBuf> = entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
            .map(|entry| entry.path())
            .filter(|path| is_script(path))
            .filter(|path| {
                !found
                    .iter()
                    .any(|other| other.file_name() == path.file_name())
            })
            .collect();
        here.sort();
        found.append(&mut here);
    }
    found
}

fn is_script(path: &Path) -> bool {
    let is_executable = fs::metadata(path)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    if !is_executable {
        warn!(
            "{} is not an executable file; leaving it out",
            path.display()
        );
    }
    is_executable
}
