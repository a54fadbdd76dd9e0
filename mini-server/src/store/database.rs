//! Where the database is, and opening it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::warn;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, PgConnection};

use super::Error;
use super::sql::{Connection, Pool};

/// Where the database is.
#[derive(Clone)]
pub enum Database {
    /// In this file: SQLite.
    File(PathBuf),
    /// On a server, which other processes may use at the same time.
    Postgres(Box<Postgres>),
}

/// A database on a PostgreSQL server.
#[derive(Clone)]
pub struct Postgres {
    options: PgConnectOptions,
    /// How long to wait for a server that is not there yet.
    patience: Duration,
}

/// Connections for reading. With SQLite each is a thread with a page cache; more than these gain nothing on small
/// machines.
const READERS: u32 = 4;

/// The same with PostgreSQL, where each waits for the network.
const POSTGRES_READERS: u32 = 8;

/// How long somebody waits for a connection to a PostgreSQL server that has gone away.
const RETURN: Duration = Duration::from_secs(5);

/// The oldest PostgreSQL that will do, as it counts itself.
const OLDEST: u32 = 130_000;

/// How often it is tried again to reach a server, at most.
const RETRY: Duration = Duration::from_secs(2);

impl Database {
    /// From `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with options behind it; what is missing is taken from PGHOST,
    /// PGUSER, PGPASSWORD and so on. `patience`: how long to wait for it at the start.
    ///
    /// # Errors
    /// With the reason, if it is no such address. It does not repeat the address: that may have a password in it.
    pub fn postgres(url: &str, patience: Duration) -> Result<Self, String> {
        let options: PgConnectOptions = url.parse().map_err(|err: sqlx::Error| {
            // Its own sentence has one in front that says nothing.
            std::error::Error::source(&err).map_or(err.to_string(), ToString::to_string)
        })?;
        let options = options
            .application_name("tandem-server")
            .options([
                // A report is acknowledged only when no power cut can take it away again.
                ("synchronous_commit", "on"),
                ("statement_timeout", "60s"),
                ("lock_timeout", "30s"),
                // Who has the writers' lock and is not heard of any more must not stop all others.
                ("idle_in_transaction_session_timeout", "10s"),
                ("tcp_keepalives_idle", "5"),
                ("tcp_keepalives_interval", "2"),
                ("tcp_keepalives_count", "3"),
                ("tcp_user_timeout", "10000"),
                ("timezone", "UTC"),
            ])
            .disable_statement_logging();
        Ok(Self::Postgres(Box::new(Postgres { options, patience })))
    }

    /// The file, unless it is elsewhere.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }

    /// A connection that may write, and connections for reading.
    pub(super) async fn open(&self) -> Result<(Connection, Pool), Error> {
        match self {
            Self::File(path) => {
                let options = sqlite(path);
                let connection = options.connect().await?;
                let readers = SqlitePoolOptions::new()
                    .max_connections(READERS)
                    .acquire_timeout(Duration::from_secs(30))
                    .test_before_acquire(false)
                    .connect_lazy_with(options.pragma("query_only", "1"));
                Ok((connection.into(), Pool::Sqlite(readers)))
            }
            Self::Postgres(postgres) => {
                let mut connection = postgres.reach().await?;
                check(&mut connection).await?;
                let readers = PgPoolOptions::new()
                    .max_connections(POSTGRES_READERS)
                    .acquire_timeout(RETURN)
                    .connect_lazy_with(
                        postgres
                            .options
                            .clone()
                            .options([("default_transaction_read_only", "on")]),
                    );
                Ok((connection.into(), Pool::Postgres(readers)))
            }
        }
    }
}

impl std::fmt::Display for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Postgres(postgres) => postgres.fmt(f),
        }
    }
}

/// Without the password.
impl std::fmt::Display for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let options = &self.options;
        let database = options.get_database().unwrap_or(options.get_username());
        match options.get_socket() {
            Some(socket) => write!(
                f,
                "PostgreSQL database {database:?} at {}",
                socket.display()
            ),
            None => write!(
                f,
                "PostgreSQL database {database:?} at {}:{}",
                options.get_host(),
                options.get_port()
            ),
        }
    }
}

impl Postgres {
    /// A connection, after a server that goes away has had some time to come back.
    pub(super) async fn again(&self) -> Result<PgConnection, sqlx::Error> {
        match tokio::time::timeout(RETURN, self.options.connect()).await {
            Ok(connection) => connection,
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    /// A pool of one connection, for what stays on it.
    pub(super) fn one(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(RETURN)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(self.options.clone())
    }

    /// The first connection: waits for a server that is about to start.
    async fn reach(&self) -> Result<PgConnection, Error> {
        let begun = Instant::now();
        let mut wait = Duration::from_millis(100);
        loop {
            let err = match self.again().await {
                Ok(connection) => return Ok(connection),
                Err(err) => Error::from(err),
            };
            if !matches!(err, Error::Unavailable(_)) || begun.elapsed() >= self.patience {
                return Err(err);
            }
            warn!("{self} is not there yet, tried again: {}", err.chain());
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2).min(RETRY);
        }
    }
}

fn sqlite(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
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
        .disable_statement_logging()
}

/// Whether a PostgreSQL server will do.
async fn check(connection: &mut PgConnection) -> Result<(), Error> {
    if let Some(version) = connection.server_version_num()
        && version < OLDEST
    {
        return Err(Error::Unfit(format!(
            "PostgreSQL {} is too old, {} or newer is needed",
            version / 10_000,
            OLDEST / 10_000
        )));
    }
    let (encoding, standby): (String, bool) =
        sqlx::query_as("SELECT current_setting('server_encoding'), pg_is_in_recovery()")
            .fetch_one(&mut *connection)
            .await?;
    if encoding != "UTF8" {
        return Err(Error::Unfit(format!(
            "the database has the encoding {encoding}: make it with `CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`"
        )));
    }
    if standby {
        return Err(Error::Unfit(
            "this PostgreSQL server is a standby, which nobody can write to: give the address of the primary"
                .to_owned(),
        ));
    }
    connection.ping().await?;
    Ok(())
}
