//! Why the database did not do something.

use std::fmt;

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
    /// The server is stopping.
    Stopped,
}

impl Error {
    /// `what` in the database is not what we write there.
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
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
            Self::Stopped => f.write_str("the server is stopping"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Database(source) => Some(source),
            Self::Migration(source) => Some(source),
            Self::Corrupt { .. } | Self::NotCommitted | Self::Stopped => None,
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        Self::Database(source)
    }
}
