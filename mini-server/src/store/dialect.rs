//! What SQLite and PostgreSQL write differently; all other SQL is the same for both.
//!
//! The same without anything here, because it is always written out: `NULLS FIRST` and `NULLS LAST` in orders, sums as
//! `CAST(… AS BIGINT)`, truth as `CASE` or read as a truth.

use super::sql::{Either, QueryBuilder};

/// Which SQL a database takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// Contains, with no difference between `a` and `A`. On PostgreSQL, too, that is so for ASCII only: all columns have the
/// collation `C`.
pub(super) const LIKE: Either = Either {
    sqlite: " LIKE ",
    postgres: " ILIKE ",
};

impl Dialect {
    /// Begins a transaction of the writer, with a savepoint for its first work. On PostgreSQL other processes may write
    /// as well: whoever has the lock is the only one until the end of the transaction, so it sees what all before it
    /// did, and nobody decides beside it.
    pub(super) fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE; SAVEPOINT work",
            // The number is "tandem" in ASCII and 1.
            Self::Postgres => {
                "BEGIN; SELECT pg_advisory_xact_lock(32758224057101569); SAVEPOINT work"
            }
        }
    }

    /// How much the database takes on the disk, bytes.
    pub(super) fn size(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
            }
            Self::Postgres => "SELECT pg_database_size(current_database())",
        }
    }
}

/// Goes on with a condition: `expression` matches the regular expression `pattern`. PostgreSQL's are its own; one that
/// it cannot read matches nothing.
pub(super) fn push_matches(query: &mut QueryBuilder, expression: &str, pattern: &str) {
    query.push_either(Either {
        sqlite: "",
        postgres: "matches(",
    });
    query.push(expression);
    query.push_either(Either {
        sqlite: " REGEXP ",
        postgres: ", ",
    });
    query.push_bind(pattern);
    query.push_either(Either {
        sqlite: "",
        postgres: ")",
    });
}
