//! The record of a device, also of one that starts for the first time: what is installed then is
//! told by `bootstrap.mender`, an artifact without payload that the image brings along.

use std::fs::File;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use log::{error, info, warn};
use tandem_artifact::{ARTIFACT_NAME, Artifact, Change, Provides, Verification};

use crate::config::Config;
use crate::durable;
use crate::lock::Lock;
use crate::record::Record;
use crate::record::file::{Found, RecordFile};

/// The name of software that nobody has named.
pub(crate) const UNKNOWN: &str = "unknown";

/// The device's record; on its first start, one made from the bootstrap artifact. That file is
/// gone afterwards in any case.
///
/// # Errors
/// When the record cannot be read or made, or the bootstrap artifact cannot be used: the device
/// then has a record that says so, and the next call succeeds.
pub(crate) fn record(config: &Config, records: &RecordFile, held: &Lock) -> Result<Record> {
    let path = config.data_dir.join("bootstrap.mender");
    let record = match records.load()? {
        Found::Current(record) => record,
        Found::Previous(record, why) => {
            warn!("the last record of this device is lost ({why:#}); going on with the one before");
            records.save(&record, held)?;
            record
        }
        Found::Lost(why) => {
            error!(
                "the record of this device is lost ({why:#}); beginning a new one: what is installed is not known any more, and an update in progress is forgotten"
            );
            records.begin_anew(unknown(), held)?
        }
        Found::Nothing => {
            let read = installed_by(&path);
            let installed = match &read {
                Ok(Some(installed)) => installed.clone(),
                Ok(None) | Err(_) => unknown(),
            };
            let record = records.begin_anew(installed, held)?;
            forget(&path)?;
            read.with_context(|| format!("cannot use the bootstrap artifact {}", path.display()))?;
            record
        }
    };
    forget(&path)?;
    Ok(record)
}

/// What is installed, for those who only want to know: nothing is waited for, and nothing changed
/// but on a device's first start.
///
/// # Errors
/// When the record cannot be read.
pub(crate) fn installed(config: &Config) -> Result<Provides> {
    let records = RecordFile::new(&config.data_dir);
    match records.load()? {
        Found::Current(record) | Found::Previous(record, _) => Ok(record.installed),
        Found::Lost(why) => {
            warn!("the record of this device is lost ({why:#})");
            Ok(unknown())
        }
        Found::Nothing => match Lock::take(&config.data_dir) {
            Ok(held) => Ok(record(config, &records, &held)?.installed),
            Err(_) => Ok(unknown()),
        },
    }
}

/// What the bootstrap artifact says is installed; `None` without one. Who made it is not checked:
/// it comes with the image.
fn installed_by(path: &Path) -> Result<Option<Provides>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(err.into()),
    };
    let artifact = Artifact::open(file, &Verification::off())?;
    let header = artifact.header().clone();
    artifact.finish()?;
    ensure!(header.payload_type().is_none(), "it has a payload");
    info!(
        "the bootstrap artifact says that {:?} is installed",
        header.name()
    );
    Ok(Some(Change::from(&header).apply(&Provides::new())))
}

fn unknown() -> Provides {
    Provides::from([(ARTIFACT_NAME.to_owned(), UNKNOWN.to_owned())])
}

fn forget(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    durable::remove(path).with_context(|| format!("cannot remove {}", path.display()))
}
