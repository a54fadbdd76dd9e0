//! Moving a whole database from a file to PostgreSQL: in one transaction, and only if what has arrived is what was sent.

use std::fmt;
use std::path::Path;

use tandem_artifact::Sha256;

use super::database::Database;
use super::sql::{self, Argument, Connection, QueryBuilder, Row};
use super::{Error, migrations};

/// All tables, those before that others refer to. Webhooks come after what they would be told of.
const TABLES: [&str; 23] = [
    "users",
    "tokens",
    "devices",
    "auth_sets",
    "check_ins",
    "attributes",
    "device_counts",
    "artifacts",
    "artifact_depends",
    "release_notes",
    "release_tags",
    "deployments",
    "device_deployments",
    "deployment_statistics",
    "deployment_events",
    "deployment_logs",
    "outcomes_by_day",
    "group_windows",
    "filters",
    "standing_orders",
    "audit_log",
    "webhooks",
    "webhook_events",
];

/// Tables whose rows the database numbers.
const NUMBERED: [&str; 2] = ["audit_log", "webhook_events"];

/// What is in these tables is there from the beginning.
const SEEDED: &str = "device_counts";

/// Rows that are read at once.
const PAGE: i64 = 1000;

/// Values of one statement; PostgreSQL takes 65535.
const VALUES: usize = 20_000;

/// What was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Each table and how many rows it has.
    pub tables: Vec<(&'static str, u64)>,
    /// It had been moved before; nothing was written.
    pub before: bool,
}

/// Why nothing was moved.
#[derive(Debug)]
pub enum NotMoved {
    /// One of the databases failed.
    Failed(Error),
    /// There is something in the target that is not in the source.
    NotEmpty {
        /// In which table.
        table: &'static str,
    },
    /// What has arrived is not what was sent.
    Differs {
        /// In which table.
        table: &'static str,
    },
}

impl fmt::Display for NotMoved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(err) => err.fmt(f),
            Self::NotEmpty { table } => write!(
                f,
                "the target is not empty: it has rows in {table} that are not in the data directory"
            ),
            Self::Differs { table } => write!(
                f,
                "what arrived in {table} is not what was sent, so nothing was moved"
            ),
        }
    }
}

impl std::error::Error for NotMoved {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed(err) => std::error::Error::source(err),
            Self::NotEmpty { .. } | Self::Differs { .. } => None,
        }
    }
}

impl<E: Into<Error>> From<E> for NotMoved {
    fn from(err: E) -> Self {
        Self::Failed(err.into())
    }
}

/// How many rows a table has, and what is in them, whatever their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Content {
    rows: u64,
    /// The sum of the hashes of all rows.
    sum: [u64; 4],
}

/// Moves what is in the file `source`, which nobody may be writing to, and these secrets.
///
/// # Errors
/// If it cannot be done; the target is then as it was, but that it may have empty tables.
pub async fn transfer(
    source: &Path,
    target: &Database,
    secrets: Vec<(&'static str, String)>,
) -> Result<Moved, NotMoved> {
    let (mut from, _) = Database::File(source.to_owned()).open().await?;
    // The file is a copy of ours: it may be brought up to date.
    migrations::run(&mut from).await?;
    let (mut to, _) = target.open().await?;
    migrations::run(&mut to).await?;
    let begin = to.dialect().begin();
    sql::run(&mut to, begin).await?;
    let outcome = in_transaction(&mut from, &mut to, secrets).await;
    let end = match &outcome {
        Ok(_) => "RELEASE SAVEPOINT work; COMMIT",
        Err(_) => "ROLLBACK",
    };
    let ended = sql::run(&mut to, end).await;
    let moved = outcome?;
    ended?;
    from.close().await?;
    to.close().await?;
    Ok(moved)
}

async fn in_transaction(
    from: &mut Connection,
    to: &mut Connection,
    secrets: Vec<(&'static str, String)>,
) -> Result<Moved, NotMoved> {
    // Whoever is idle here is at work on the other side.
    sql::run(
        to,
        "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0",
    )
    .await?;
    let before = filled(to).await?;
    if before.is_none() {
        sql::query("DELETE FROM device_counts")
            .execute(&mut *to)
            .await?;
    }
    let mut tables = Vec::new();
    for table in TABLES {
        let columns = columns(from, table).await?;
        let sent = send(from, before.is_none().then_some(&mut *to), table, &columns).await?;
        if content(to, table, &columns).await? != sent {
            return Err(match before {
                Some(table) => NotMoved::NotEmpty { table },
                None => NotMoved::Differs { table },
            });
        }
        tables.push((table, sent.rows));
    }
    if before.is_none() {
        for table in NUMBERED {
            number_on(from, to, table).await?;
        }
        for (name, value) in secrets {
            sql::query("INSERT INTO secrets (name, value) VALUES ($1, $2)")
                .bind(name)
                .bind(value)
                .execute(&mut *to)
                .await?;
        }
    }
    Ok(Moved {
        tables,
        before: before.is_some(),
    })
}

/// The first table that has something in it.
async fn filled(connection: &mut Connection) -> Result<Option<&'static str>, Error> {
    for table in TABLES.into_iter().filter(|table| *table != SEEDED) {
        let mut query = QueryBuilder::new("SELECT 1 FROM ");
        query.push(table).push(" LIMIT 1");
        if query
            .build()
            .fetch_optional(&mut *connection)
            .await?
            .is_some()
        {
            return Ok(Some(table));
        }
    }
    Ok(None)
}

/// A column, and what is in it.
struct Column {
    name: String,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Integer,
    Number,
}

async fn columns(from: &mut Connection, table: &str) -> Result<Vec<Column>, Error> {
    let rows = sql::query("SELECT name, type FROM pragma_table_info($1) ORDER BY cid")
        .bind(table)
        .fetch_all(from)
        .await?;
    rows.iter()
        .map(|row| {
            let kind = match row.try_get("type")? {
                "TEXT" => Kind::Text,
                "BIGINT" | "INTEGER" => Kind::Integer,
                "DOUBLE PRECISION" => Kind::Number,
                other => return Err(Error::corrupt(format!("a column of type {other}"))),
            };
            Ok(Column {
                name: row.try_get("name")?,
                kind,
            })
        })
        .collect()
}

/// Goes through a table, and copies it if there is somewhere to.
async fn send(
    from: &mut Connection,
    mut to: Option<&mut Connection>,
    table: &str,
    columns: &[Column],
) -> Result<Content, Error> {
    let names = names(columns);
    let mut content = Content::default();
    let mut last = i64::MIN;
    loop {
        let mut query = QueryBuilder::new("SELECT rowid AS place, ");
        query.push(&names).push(" FROM ").push(table);
        query.push(" WHERE rowid > ").push_bind(last);
        query.push(" ORDER BY rowid LIMIT ").push_bind(PAGE);
        let rows = query.build().fetch_all(&mut *from).await?;
        let Some(end) = rows.last() else {
            return Ok(content);
        };
        last = end.try_get("place")?;
        let rows = rows
            .iter()
            .map(|row| values(row, columns))
            .collect::<Result<Vec<_>, _>>()?;
        for row in &rows {
            content.add(row);
        }
        let Some(to) = to.as_deref_mut() else {
            continue;
        };
        for some in rows.chunks(VALUES.checked_div(columns.len()).unwrap_or(1).max(1)) {
            let mut query = QueryBuilder::new("INSERT INTO ");
            query.push(table).push(" (").push(&names).push(") ");
            query.push_values(some, |mut list, row| {
                for value in row {
                    list.push_bind(value.clone());
                }
            });
            query.build().execute(&mut *to).await?;
        }
    }
}

/// What is in a table of the target.
async fn content(to: &mut Connection, table: &str, columns: &[Column]) -> Result<Content, Error> {
    let mut content = Content::default();
    // Each has a name of its own: what such a name stands for must not change while the connection remembers it.
    let mut query = QueryBuilder::new("DECLARE ");
    query
        .push(table)
        .push("_arrived NO SCROLL CURSOR FOR SELECT ");
    query.push(names(columns)).push(" FROM ").push(table);
    query.build().execute(&mut *to).await?;
    loop {
        let mut query = QueryBuilder::new("FETCH 1000 FROM ");
        query.push(table).push("_arrived");
        let rows = query.build().fetch_all(&mut *to).await?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            content.add(&values(row, columns)?);
        }
    }
    let mut query = QueryBuilder::new("CLOSE ");
    query.push(table).push("_arrived");
    query.build().execute(to).await?;
    Ok(content)
}

/// The numbers of new rows follow those that were given so far, also if their rows are gone.
async fn number_on(from: &mut Connection, to: &mut Connection, table: &str) -> Result<(), Error> {
    // It is 0 where what was to be the first row was undone.
    let row = sql::query("SELECT seq FROM sqlite_sequence WHERE name = $1 AND seq > 0")
        .bind(table)
        .fetch_optional(from)
        .await?;
    if let Some(row) = row {
        sql::query("SELECT setval(pg_get_serial_sequence($1, 'number'), $2)")
            .bind(table)
            .bind(row.try_get::<i64, _>(0)?)
            .fetch_one(to)
            .await?;
    }
    Ok(())
}

fn names(columns: &[Column]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    names.join(", ")
}

fn values(row: &Row, columns: &[Column]) -> Result<Vec<Argument>, Error> {
    columns
        .iter()
        .map(|column| {
            let name = column.name.as_str();
            Ok(match column.kind {
                Kind::Text => Argument::Text(row.try_get(name)?),
                Kind::Integer => Argument::Integer(row.try_get(name)?),
                Kind::Number => Argument::Number(row.try_get(name)?),
            })
        })
        .collect()
}

impl Content {
    fn add(&mut self, row: &[Argument]) {
        let mut hash = Sha256::new();
        for value in row {
            let text = match value {
                // As it arrives.
                Argument::Text(Some(text)) => Some(text.replace('\0', "\u{fffd}")),
                Argument::Integer(Some(number)) => Some(number.to_string()),
                Argument::Number(Some(number)) => Some(number.to_bits().to_string()),
                Argument::Text(None) | Argument::Integer(None) | Argument::Number(None) => None,
                Argument::Truth(truth) => Some(truth.to_string()),
            };
            // The length in front: no two rows look the same.
            let length = text
                .as_ref()
                .map_or(-1, |text| i64::try_from(text.len()).unwrap_or(i64::MAX));
            hash.update(&length.to_le_bytes());
            hash.update(text.unwrap_or_default().as_bytes());
        }
        let hash = hash.finish();
        for (sum, part) in self.sum.iter_mut().zip(hash.as_bytes().chunks_exact(8)) {
            let part = <[u8; 8]>::try_from(part).unwrap_or_default();
            *sum = sum.wrapping_add(u64::from_le_bytes(part));
        }
        self.rows = self.rows.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_table_is_moved() {
        let dir = tempfile::TempDir::new().unwrap();
        let database = Database::File(dir.path().join("db"));
        let (mut connection, _) = database.open().await.unwrap();
        migrations::run(&mut connection).await.unwrap();
        let rows = sql::query(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_%' ESCAPE '\\'",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let mut found: Vec<String> = rows.iter().map(|row| row.try_get(0).unwrap()).collect();
        found.sort();
        let mut known = TABLES.map(ToOwned::to_owned).to_vec();
        known.sort();
        assert_eq!(found, known, "a new table must be moved, too");
    }

    #[test]
    fn the_same_rows_in_another_order_are_the_same() {
        let row = |text: &str, number| {
            vec![
                Argument::Text(Some(text.to_owned())),
                Argument::Integer(number),
            ]
        };
        let of = |rows: &[Vec<Argument>]| {
            let mut content = Content::default();
            for row in rows {
                content.add(row);
            }
            content
        };
        let (a, b) = (row("a", Some(1)), row("b", None));
        assert_eq!(of(&[a.clone(), b.clone()]), of(&[b.clone(), a.clone()]));
        assert_ne!(of(&[a.clone(), b.clone()]), of(&[a.clone(), a.clone()]));
        assert_ne!(of(&[row("a", None)]), of(&[row("a", Some(0))]));
        assert_eq!(of(&[row("\0", None)]), of(&[row("\u{fffd}", None)]));
    }
}
