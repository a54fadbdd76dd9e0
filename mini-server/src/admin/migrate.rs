//! `tandem-server migrate`: from the database in a data directory to PostgreSQL. Devices and people notice nothing: keys,
//! tokens and the authority stay the same.
//!
//! ```text
//! 1  the directory is locked: no server writes meanwhile
//! 2  a copy of the database is made; the original is only read
//! 3  one transaction on the target: all rows, the secrets, and a comparison of everything that arrived
//! 4  the note in the directory that the database is elsewhere: from now on no server starts with the old one
//! ```
//!
//! What is interrupted can be begun again: before the commit the target is empty, after it the rows are found to be there.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;

use super::output::Output;
use crate::data_dir::DataDir;
use crate::durable;
use crate::processes;
use crate::secret::new_id;
use crate::store::{Database, Moved, Store, transfer};

/// Moves the database of the data directory `from` to `to`.
///
/// # Errors
/// If it cannot be done; nothing has changed then.
pub async fn run(from: &Path, to: &Database, output: Output) -> Result<()> {
    let dir = DataDir::existing(from)?;
    let Some(lock) = dir.try_lock()? else {
        bail!(
            "a server works on {}: stop it first, what devices report while it is moved would be lost",
            from.display()
        );
    };
    if !dir.database().exists() {
        bail!("{} has no database of its own", from.display());
    }
    let copy = dir.path().join(format!("migrate-{}.db", new_id()));
    let outcome = move_copy(&dir, &copy, to, processes::secrets(&dir, &lock)?).await;
    for name in ["", "-wal", "-shm"] {
        let mut path = copy.clone().into_os_string();
        path.push(name);
        durable::remove(Path::new(&path)).context("cannot remove a copy of the database")?;
    }
    let moved = outcome?;
    dir.note_elsewhere(to)?;

    let rows: u64 = moved.tables.iter().map(|(_, rows)| rows).sum();
    let tables: serde_json::Map<_, _> = moved
        .tables
        .iter()
        .map(|(table, rows)| ((*table).to_owned(), json!(rows)))
        .collect();
    let what = if moved.before {
        "was moved before, and is the same"
    } else {
        "is moved, and compared row by row"
    };
    let sentence = format!(
        "the database of {from} ({rows} rows) {what}: {to}. \
         Start the server with `tandem-server serve --data {from} --database URL`. The artifacts stay in {artifacts}; \
         {old} is no longer used, and can be kept as a backup of this moment.",
        from = from.display(),
        artifacts = dir.artifacts().display(),
        old = dir.database().display(),
    );
    output.done(
        &json!({"rows": rows, "tables": tables, "before": moved.before}),
        &sentence,
    )
}

async fn move_copy(
    dir: &DataDir,
    copy: &Path,
    to: &Database,
    secrets: Vec<(&'static str, String)>,
) -> Result<Moved> {
    Store::snapshot(&dir.database(), copy)
        .await
        .context("cannot copy the database")?;
    transfer(copy, to, secrets)
        .await
        .map_err(|err| anyhow!(err).context(format!("cannot move the database to {to}")))
}
