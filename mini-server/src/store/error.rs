//! Why the database did not do something.

use std::fmt;

use sqlx::postgres::PgDatabaseError;

/// A failure of the database. What a request may get wrong is not among it: that is in the results.
#[derive(Debug)]
pub enum Error {
    /// The database refused or failed.
    Database(sqlx::Error),
    /// The tables could not be brought up to date.
    Migration(sqlx::migrate::MigrateError),
    /// Something in the database is not what we write into it.
    Corrupt {
        /// What, and what is wrong with it.
        what: String,
    },
    /// A change could not be made durable; the writer has logged why.
    NotCommitted,
    /// The database cannot be reached at this moment. What was wanted may be tried again.
    Unavailable(Option<sqlx::Error>),
    /// The database is not one that will do; why, and what to do.
    Unfit(String),
    /// The server is stopping.
    Stopped,
}

impl Error {
    /// `what` in the database is not what we write there.
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    /// It and what led to it, on one line.
    pub(crate) fn chain(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(_) => f.write_str("the database failed"),
            Self::Migration(_) => f.write_str(
                "cannot bring the database up to date: was it made by a newer version of this program?",
            ),
            Self::Corrupt { what } => write!(f, "the database is damaged: {what}"),
            Self::NotCommitted => f.write_str("the database could not make a change durable"),
            Self::Unavailable(_) => f.write_str("the database cannot be reached"),
            Self::Unfit(why) => f.write_str(why),
            Self::Stopped => f.write_str("the server is stopping"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Database(source) => Some(source),
            Self::Migration(source) => Some(source),
            Self::Unavailable(source) => source.as_ref().map(|source| source as _),
            Self::Corrupt { .. } | Self::NotCommitted | Self::Unfit(_) | Self::Stopped => None,
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        if is_away(&source) {
            Self::Unavailable(Some(source))
        } else {
            Self::Database(source)
        }
    }
}

/// Whether the database could not be reached, or sent us away: not what was asked of it is wrong.
fn is_away(err: &sqlx::Error) -> bool {
    // With SQLite an error of input or output is the disk.
    if matches!(
        err,
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_)
    ) {
        return true;
    }
    let Some(err) = err.as_database_error() else {
        return false;
    };
    // Connections (08), resources like places for them (53), the server stops, starts or has ended our session (57P), a
    // time limit of ours was reached (57014, 55P03, 25P03).
    err.try_downcast_ref::<PgDatabaseError>()
        .is_some_and(|err| {
            let code = err.code();
            ["08", "53", "57"]
                .iter()
                .any(|class| code.starts_with(class))
                || ["55P03", "25P03"].contains(&code)
        })
}
