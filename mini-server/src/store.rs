//! What the server knows, in a database: the only place with SQL.
//!
//! ```text
//! reads    any task -> pool of connections that may not write
//! writes   any task -> Store::write(work) -> one writer: many works per transaction -> commit, durable -> answers
//!                                                                                   `-> Watcher hears what changed
//! ```
//!
//! A work that was handed to the writer is done or not done as a whole, also when the request that wanted it is gone
//! meanwhile. Caches in memory are told of a change after it is durable and before anybody is answered, so what an
//! answer says holds from the next request on.

mod artifacts;
mod attributes;
mod audit_log;
mod auth_sets;
mod deployments;
mod device_deployments;
mod devices;
mod enrolment;
mod error;
mod filters;
mod fleet;
mod groups;
mod logs;
mod losing;
mod migrations;
mod new_deployments;
mod participants;
mod releases;
mod rollouts;
mod search;
mod standing_orders;
mod steps;
mod tokens;
mod users;
mod webhooks;
mod writer;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection as _, Row as _};

pub use artifacts::{Added, ArtifactFilter, Changed, StoredArtifact};
pub use attributes::{Mode, Owner, Written};
pub use audit_log::{AuditFilter, AuditRow};
pub use auth_sets::{Decision, Grant, Knock, Limits, Preauthorization, Session};
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
pub use releases::{ReleaseNotes, Tagged};
pub use rollouts::{Control, Controlled};
pub use search::{DeviceSearch, Found};
pub use standing_orders::{Ordered, StandingOrderRow};
pub use steps::{Finding, Noted, Reported};
pub use tokens::{OperatorSession, TokenOutcome, TokenRow};
pub use users::{Credentials, UserChange, UserOutcome, UserRow};
pub use webhooks::{DueWebhook, WaitingEvent, WebhookAdded, WebhookRow};
pub use writer::{Change, Topic, Tx, Watcher};

/// Identifies a thing: a random UUID.
pub type Id = uuid::Uuid;

/// The database in use.
pub type Db = sqlx::Sqlite;

/// A connection to it.
pub type Connection = sqlx::SqliteConnection;

/// The database.
pub struct Store {
    readers: SqlitePool,
    writer: writer::Writer,
}

/// Connections for reading. Each is a thread with a page cache; more than these gain nothing on small machines.
const READERS: u32 = 4;

impl Store {
    /// Opens the database in the file `path`, makes it if it is not there, and brings it up to date.
    ///
    /// # Errors
    /// Any of the database; a database that a newer version made.
    pub async fn open(path: &Path, watcher: Watcher) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A report is acknowledged only when no power cut can take it away again.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10))
            .pragma("cache_size", "-4000")
            .pragma("journal_size_limit", "67108864")
            .with_regexp()
            .disable_statement_logging();
        let mut connection = options.connect().await?;
        migrations::run(&mut connection).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(Duration::from_secs(30))
            .test_before_acquire(false)
            .connect_lazy_with(options.pragma("query_only", "1"));
        Ok(Self {
            readers,
            writer: writer::Writer::start(connection, watcher),
        })
    }

    /// Finishes what was begun, and closes the database. Nothing that was acknowledged depends on this.
    pub async fn close(&self) {
        self.writer.stop().await;
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
        let row = sqlx::query(
            "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
        )
        .fetch_one(&self.readers)
        .await?;
        Ok(devices::unsigned(row.try_get(0)?))
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }
}

/// A list of `count` placeholders for values.
fn push_ids(query: &mut sqlx::QueryBuilder<Db>, ids: &[Id]) {
    query.push("(");
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(id.to_string());
    }
    query.push(")");
}
