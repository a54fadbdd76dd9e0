//! `tandem-server backup` and `restore`: one consistent copy of a data directory, also while the server writes.
//!
//! ```text
//! 1  every artifact file is linked into a directory of the data directory: nothing can delete it now
//! 2  VACUUM INTO: the database as it is at one instant
//! 3  is every artifact of that database linked? If not it came meanwhile: link it; if it went meanwhile: again from 2
//! 4  everything is copied to the target (or linked, on the same file system), durably; the manifest comes last
//! ```
//!
//! Artifacts that are kept elsewhere stay there, which the manifest says: whoever keeps them safe does so by the means
//! of that place.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use log::warn;
use serde_json::json;

use super::output::Output;
use crate::blobs::Place;
use crate::clock::now;
use crate::data_dir::DataDir;
use crate::durable::{self, Readers};
use crate::secret::new_id;
use crate::store::{Database, Id, Store};

/// What makes a directory a backup that is whole.
const MANIFEST: &str = "backup.json";

/// What is in a data directory beside database and artifacts, and worth keeping.
const FILES: [&str; 7] = [
    "token.key",
    "artifacts-at",
    "tls/ca.crt",
    "tls/ca.key",
    "tls/server.crt",
    "tls/server.key",
    "tls/server.names",
];

/// Attempts to see a database of which all artifacts are there.
const ATTEMPTS: u32 = 20;

/// Copies the data directory `from` into the directory `to`, which must be empty or not there.
///
/// # Errors
/// If it cannot be done; `to` is then without a manifest and no backup.
pub async fn backup(from: &Path, to: &Path, output: Output) -> Result<()> {
    let dir = DataDir::existing(from)?;
    prepare_target(to)?;
    let place = Place::remembered(&dir)?;
    let elsewhere = (place != Place::Own).then(|| place.to_string());
    let hold = Hold::new(dir.path().join(format!("backup-{}", new_id())))?;
    let artifacts = match &elsewhere {
        None => collect(&dir, &hold).await?,
        Some(_) => {
            snapshot(&dir, &hold).await?;
            Vec::new()
        }
    };

    copy(&hold.0.join("tandem.db"), &to.join("tandem.db"))?;
    for path in [
        to.join("artifacts"),
        to.join("tls"),
        to.join("artifact-keys"),
    ] {
        durable::private_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    for id in &artifacts {
        copy_or_link(
            &hold.0.join(id.to_string()),
            &to.join("artifacts").join(id.to_string()),
        )?;
    }
    for name in FILES {
        let file = dir.path().join(name);
        if file.exists() {
            copy(&file, &to.join(name))?;
        }
    }
    copy_all(&dir.artifact_keys(), &to.join("artifact-keys"))?;
    for path in [
        to.join("artifacts"),
        to.join("tls"),
        to.join("artifact-keys"),
    ] {
        durable::sync_dir(&path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    // Only now, with everything on the medium, does it count.
    let mut manifest = json!({"version": 1, "created": now(), "artifacts": artifacts.len()});
    if let (Some(place), Some(fields)) = (&elsewhere, manifest.as_object_mut()) {
        fields.insert("artifacts_at".to_owned(), json!(place));
    }
    let text = serde_json::to_vec_pretty(&manifest).context("cannot write the manifest")?;
    durable::replace(&to.join(MANIFEST), &text, Readers::Owner)
        .with_context(|| format!("cannot write {}", to.join(MANIFEST).display()))?;
    let with = match elsewhere {
        None => format!("with {} artifacts", artifacts.len()),
        Some(place) => {
            format!("without the artifacts, which are in {place} and have to be kept safe there,")
        }
    };
    let sentence = format!("backed up {} {with} to {}", from.display(), to.display());
    output.done(&manifest, &sentence)
}

/// Makes the data directory `to`, which must be empty or not there, from the backup `from`.
///
/// # Errors
/// If it cannot be done.
pub fn restore(from: &Path, to: &Path, output: Output) -> Result<()> {
    let manifest = from.join(MANIFEST);
    let text = fs::read(&manifest).with_context(|| {
        format!(
            "{} is no whole backup: cannot read {}",
            from.display(),
            manifest.display()
        )
    })?;
    let manifest: serde_json::Value = serde_json::from_slice(&text)
        .with_context(|| format!("{} is damaged", manifest.display()))?;
    if manifest.get("version") != Some(&json!(1)) {
        bail!(
            "the backup in {} was made by a newer version of this program",
            from.display()
        );
    }
    prepare_target(to)?;
    let target = DataDir::create_without_database(to)?;
    copy_all(&from.join("artifacts"), &target.artifacts())?;
    copy_all(&from.join("artifact-keys"), &target.artifact_keys())?;
    for name in FILES {
        let file = from.join(name);
        if file.exists() {
            copy(&file, &to.join(name))?;
        }
    }
    for path in [target.artifacts(), target.tls(), target.artifact_keys()] {
        durable::sync_dir(&path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    // The database last: without it nobody takes the directory for that of a server.
    copy(&from.join("tandem.db"), &target.database())?;
    durable::sync_dir(to).with_context(|| format!("cannot write {}", to.display()))?;
    let sentence = format!(
        "restored {} to {}: start it with `tandem-server serve --data {}`",
        from.display(),
        to.display(),
        to.display()
    );
    output.done(&manifest, &sentence)
}

fn prepare_target(path: &Path) -> Result<()> {
    match fs::read_dir(path) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                bail!("{} is not empty", path.display());
            }
        }
        Err(err) if err.kind() == io::ErrorKind::NotFound => {}
        Err(err) => {
            return Err(err).with_context(|| format!("cannot look into {}", path.display()));
        }
    }
    durable::private_dir(path).with_context(|| format!("cannot make {}", path.display()))
}

/// A copy of the database and links to all its artifacts, in the hold.
async fn collect(dir: &DataDir, hold: &Hold) -> Result<Vec<Id>> {
    let artifacts = dir.artifacts();
    let entries = fs::read_dir(&artifacts)
        .with_context(|| format!("cannot look into {}", artifacts.display()))?;
    for entry in entries {
        let name = entry.context("cannot look into the artifacts")?.file_name();
        link(&artifacts.join(&name), &hold.0.join(&name))?;
    }
    for _ in 0..ATTEMPTS {
        let ids = snapshot(dir, hold).await?;
        let mut whole = true;
        for id in &ids {
            let held = hold.0.join(id.to_string());
            whole &= held.exists() || link(&artifacts.join(id.to_string()), &held)?;
        }
        if whole {
            return Ok(ids);
        }
    }
    bail!("artifacts are deleted faster than the database can be copied")
}

/// A copy of the database, in the hold, and which artifacts it knows.
async fn snapshot(dir: &DataDir, hold: &Hold) -> Result<Vec<Id>> {
    let copy = hold.0.join("tandem.db");
    durable::remove(&copy).context("cannot remove a copy of the database")?;
    Store::snapshot(&dir.database(), &copy)
        .await
        .context("cannot copy the database")?;
    let store = Store::open(&Database::File(copy.clone()), Arc::new(|_: &[_]| ()))
        .await
        .context("cannot open the copy of the database")?;
    let ids = store.artifact_ids().await;
    store.close().await;
    Ok(ids?.into_iter().collect())
}

/// A directory that goes when this does.
struct Hold(PathBuf);

impl Hold {
    fn new(path: PathBuf) -> Result<Self> {
        durable::private_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Err(err) = fs::remove_dir_all(&self.0) {
            warn!("cannot remove {}: {err}", self.0.display());
        }
    }
}

/// Another name for a file; false if the file is gone.
fn link(from: &Path, to: &Path) -> Result<bool> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(true),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(err) => Err(err).with_context(|| format!("cannot link {}", from.display())),
    }
}

/// Artifacts never change, so on the same file system another name is as good as a copy.
fn copy_or_link(from: &Path, to: &Path) -> Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(_) => copy(from, to),
    }
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    let entries = match fs::read_dir(from) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) => {
            return Err(err).with_context(|| format!("cannot look into {}", from.display()));
        }
    };
    for entry in entries {
        let name = entry
            .with_context(|| format!("cannot look into {}", from.display()))?
            .file_name();
        copy(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
}

/// A copy that is on the medium, for its owner alone.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = File::open(from).and_then(|mut source| {
        let mut target = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(to)?;
        io::copy(&mut source, &mut target)?;
        target.sync_all()
    });
    copied.with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
