//! The record on disk.
//!
//! | file in the data directory | content |
//! |---|---|
//! | `record.json` | line 1: `{"version":1,"record":{...}}`; line 2: SHA-256 of line 1 in hex |
//! | `record.json.previous` | the same, one save earlier |
//! | `record.json.broken` | what could not be read any more, for a person to look at |
//!
//! The version is raised when an older agent could not read the record. While a deployment is
//! not committed, a record is saved in the version in which it was found, since the old system
//! reads it after a rollback.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tandem_artifact::{Digest, Provides};

use super::Record;
use crate::durable;
use crate::lock::Lock;

/// The only version so far.
const VERSION: u32 = 1;

/// A record has the size of its provides; more than this is not one.
const MAX_SIZE: u64 = 4 << 20;

/// Where the record of one device lies.
#[derive(Debug)]
pub(crate) struct RecordFile {
    current: PathBuf,
    previous: PathBuf,
}

/// What [`RecordFile::load`] found.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing: the device has not been set up.
    Nothing,
    /// The record.
    Current(Record),
    /// The record one save earlier, since the last one is damaged. What has happened since is
    /// judged like any other interruption.
    Previous(Record, anyhow::Error),
    /// Neither of the two can be read.
    Lost(anyhow::Error),
}

#[derive(Serialize)]
struct Saved<'a> {
    version: u32,
    record: &'a Record,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Loaded {
    #[expect(dead_code, reason = "checked before the record is looked at")]
    version: u32,
    record: Record,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl RecordFile {
    /// The record of the device whose data directory this is.
    pub(crate) fn new(data_dir: &Path) -> RecordFile {
        RecordFile {
            current: data_dir.join("record.json"),
            previous: data_dir.join("record.json.previous"),
        }
    }

    /// Reads the record.
    ///
    /// # Errors
    /// When it cannot be told what there is. A damaged record is not an error.
    pub(crate) fn load(&self) -> Result<Found> {
        let why = match read(&self.current)? {
            Some(Ok(record)) => return Ok(Found::Current(record)),
            Some(Err(why)) => Some(why),
            None => None,
        };
        match (read(&self.previous)?, why) {
            (Some(Ok(record)), why) => {
                let why = why.unwrap_or_else(|| anyhow::anyhow!("it is missing"));
                Ok(Found::Previous(record, why))
            }
            (None, None) => Ok(Found::Nothing),
            (Some(Err(why)), None) | (_, Some(why)) => Ok(Found::Lost(why)),
        }
    }

    /// Replaces the record; durable when this returns.
    ///
    /// # Errors
    /// Any failure of the file system; the record is then the old or the new one.
    pub(crate) fn save(&self, record: &Record, _held: &Lock) -> Result<()> {
        durable::replace_keeping(&self.current, &self.previous, &encode(record)?)
            .with_context(|| format!("cannot save the record {}", self.current.display()))
    }

    /// Puts a record that cannot be read out of the way, and begins a new one.
    ///
    /// # Errors
    /// Any failure of the file system.
    pub(crate) fn begin_anew(&self, installed: Provides, held: &Lock) -> Result<Record> {
        for path in [&self.previous, &self.current] {
            if path.exists() {
                durable::set_aside(path, &self.current.with_extension("json.broken"))
                    .with_context(|| format!("cannot move {} away", path.display()))?;
            }
        }
        let record = Record::new(installed);
        self.save(&record, held)?;
        Ok(record)
    }
}

/// The bytes of a record as they are stored.
fn encode(record: &Record) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(&Saved {
        version: VERSION,
        record,
    })?;
    let sum = Digest::of(&bytes);
    bytes.extend_from_slice(format!("\n{sum}\n").as_bytes());
    Ok(bytes)
}

/// The record in `bytes`.
fn decode(bytes: &[u8]) -> Result<Record> {
    let text = std::str::from_utf8(bytes).context("it is not text")?;
    let mut lines = text.lines();
    let (Some(document), Some(sum), None) = (lines.next(), lines.next(), lines.next()) else {
        bail!("it does not have two lines");
    };
    ensure!(
        Digest::of(document.as_bytes()).to_string() == sum,
        "its checksum is wrong"
    );
    let Versioned { version } = serde_json::from_str(document).context("it has no version")?;
    ensure!(
        version == VERSION,
        "it has version {version}, this program reads version {VERSION}"
    );
    let loaded: Loaded = serde_json::from_str(document).context("its content is not a record")?;
    Ok(loaded.record)
}

/// Reads one file: `None` if it is not there, the inner error if it is not a record.
fn read(path: &Path) -> Result<Option<Result<Record>>> {
    let attempt = || format!("cannot read the record {}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(err).with_context(attempt),
    };
    let mut bytes = Vec::new();
    match file.take(MAX_SIZE).read_to_end(&mut bytes) {
        Ok(_) => Ok(Some(decode(&bytes))),
        // A medium that does not give the bytes back has lost them.
        Err(err) => Ok(Some(Err(err.into()))),
    }
}
