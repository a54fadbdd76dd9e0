//! What the server knows, in a database: the only place with SQL.
//!
//! ```text
//! reads    any task -> pool of connections that may not write
//! writes   any task -> Store::write(work) -> one writer: many works per transaction -> commit, durable -> answers
//!                                                                                   `-> Watcher hears what changed
//! ```
//!
//! The database is a file (SQLite), or on a PostgreSQL server; then several processes may have it, of which one writes at a
//! time, and each hears what the others changed.
//!
//! A work that was handed to the writer is done or not done as a whole, also when the request that wanted it is gone
//! meanwhile. Caches in memory are told of a change after it is durable and before anybody is answered, so what an
//! answer says holds from the next request on.

mod artifacts;
mod attributes;
mod audit_log;
mod auth_sets;
mod database;
mod deployments;
mod device_deployments;
mod devices;
mod dialect;
mod enrolment;
mod error;
mod filters;
mod fleet;
mod groups;
mod hearing;
mod logs;
mod losing;
mod migrations;
mod new_deployments;
mod participants;
mod reframing;
mod releases;
mod rollouts;
mod search;
mod secrets;
mod sql;
mod standing_orders;
mod steps;
mod tokens;
mod transfer;
mod users;
mod webhooks;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection as _};
use tokio::sync::watch;

pub use artifacts::{Added, ArtifactFilter, Changed, StoredArtifact};
pub use attributes::{Mode, Owner, Written};
pub use audit_log::{AuditFilter, AuditRow};
pub use auth_sets::{Decision, Grant, Knock, Limits, Preauthorization, Session};
pub use database::Database;
pub use deployments::{Abort, DeploymentFilter, DeploymentRow, StateFilter};
pub use device_deployments::{DeviceDeploymentRow, StatusFilter};
pub use devices::{AuthSetRow, DeviceFilter, DeviceRow};
pub use error::Error;
pub use filters::{FilterChange, FilterRow};
pub use fleet::{DayOutcomes, FleetCounts, ReleaseInUse, Similar};
pub use groups::{GroupChange, Grouped};
pub use losing::Waiting;
pub use new_deployments::{Created, DeploymentToMake, Targets};
pub use participants::{EventRow, FailureReason, Participant, Progress};
pub use reframing::Reframed;
pub use releases::{ReleaseNotes, Tagged};
pub use rollouts::{Control, Controlled};
pub use search::{DeviceSearch, Found};
pub use sql::Connection;
pub use standing_orders::{Ordered, StandingOrderRow};
pub use steps::{Finding, Noted, Reported};
pub use tokens::{OperatorSession, TokenOutcome, TokenRow};
pub use transfer::{Moved, NotMoved, transfer};
pub use users::{Credentials, UserChange, UserOutcome, UserRow};
pub use webhooks::{DueWebhook, WaitingEvent, WebhookAdded, WebhookRow};
pub use writer::{Change, Topic, Tx, Watcher};

/// Identifies a thing: a random UUID.
pub type Id = uuid::Uuid;

/// The database.
pub struct Store {
    readers: sql::Pool,
    writer: writer::Writer,
    process: hearing::Process,
    stop: watch::Sender<bool>,
}

impl Store {
    /// Opens the database, makes it if it is a file that is not there, and brings it up to date.
    ///
    /// # Errors
    /// Any of the database; a database that a newer version made.
    pub async fn open(database: &Database, watcher: Watcher) -> Result<Self, Error> {
        let (mut connection, readers) = database.open().await?;
        migrations::run(&mut connection).await?;
        let (stop, stopping) = watch::channel(false);
        let process = match database {
            Database::File(_) => hearing::Process::alone(),
            Database::Postgres(postgres) => {
                let process = hearing::Process::among_others();
                watcher(&[Change::Unheard]);
                let hear =
                    process
                        .clone()
                        .hear((**postgres).clone(), Arc::clone(&watcher), stopping);
                tokio::spawn(hear);
                process
            }
        };
        Ok(Self {
            readers,
            writer: writer::Writer::start(connection, database.clone(), process.clone(), watcher),
            process,
            stop,
        })
    }

    /// Finishes what was begun, and closes the database. Nothing that was acknowledged depends on this.
    pub async fn close(&self) {
        self.writer.stop().await;
        // Nobody listens if the database is a file.
        let _ = self.stop.send(true);
        self.readers.close().await;
    }

    /// A consistent copy of the database in the file `path`, which must not exist, while the server may be writing.
    ///
    /// # Errors
    /// Any of the database, and of the file system.
    pub async fn snapshot(database: &Path, path: &Path) -> Result<(), Error> {
        let mut connection = SqliteConnectOptions::new()
            .filename(database)
            .busy_timeout(Duration::from_secs(30))
            .disable_statement_logging()
            .connect()
            .await?;
        sqlx::query("VACUUM INTO $1")
            .bind(path.to_string_lossy().into_owned())
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(())
    }

    /// How much the database takes on the disk, bytes; without what is not in its file yet.
    ///
    /// # Errors
    /// Of the database.
    pub async fn size(&self) -> Result<u64, Error> {
        let row = sql::query(self.readers.dialect().size())
            .fetch_one(&self.readers)
            .await?;
        Ok(devices::unsigned(row.try_get(0)?))
    }

    /// Whether this process does what only one may do of those that share a database.
    #[must_use]
    pub fn is_keeper(&self) -> bool {
        self.process.is_keeper()
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ping(&self) -> Result<(), Error> {
        sql::query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }
}

/// A list of `count` placeholders for values.
fn push_ids(query: &mut sql::QueryBuilder, ids: &[Id]) {
    query.push("(");
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(id.to_string());
    }
    query.push(")");
}
