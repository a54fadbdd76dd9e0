//! Statements, and what they find, on whichever database there is.
//!
//! All SQL of the server is written once. Placeholders are `$1`, `$2`, …; columns are `TEXT`, `BIGINT` and
//! `DOUBLE PRECISION`, truth is 0 or 1. What the databases write differently is in [`dialect`](super::dialect).

mod argument;
mod builder;

use sqlx::postgres::{PgPool, PgRow};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{
    AssertSqlSafe, ColumnIndex, Decode, PgConnection, Postgres, Row as _, Sqlite, SqliteConnection,
    Type,
};

pub(super) use argument::Argument;
pub(super) use builder::{Either, QueryBuilder};

use super::dialect::Dialect;

/// A connection that may write.
pub struct Connection {
    inner: Inner,
    /// Rows that were changed through it.
    changed: u64,
}

enum Inner {
    Sqlite(Box<SqliteConnection>),
    Postgres(Box<PgConnection>),
}

/// Connections for reading.
pub(super) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A row that was found.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// Where a statement is run.
pub(super) enum Place<'p> {
    Connection(&'p mut Connection),
    Pool(&'p Pool),
}

/// A statement that has what it needs.
pub(super) struct Query {
    sql: Text,
    arguments: Vec<Argument>,
}

enum Text {
    /// As it stands in the program.
    Fixed(&'static str),
    /// Put together.
    Built(QueryBuilder),
}

/// A statement as it stands in the program.
pub(super) fn query(sql: &'static str) -> Query {
    Query {
        sql: Text::Fixed(sql),
        arguments: Vec::new(),
    }
}

/// Runs statements, with `;` between them, that need nothing and find nothing.
pub(super) async fn run(
    connection: &mut Connection,
    statements: &'static str,
) -> Result<(), sqlx::Error> {
    match &mut connection.inner {
        Inner::Sqlite(inner) => sqlx::raw_sql(statements)
            .execute(&mut **inner)
            .await
            .map(|_| ()),
        Inner::Postgres(inner) => sqlx::raw_sql(statements)
            .execute(&mut **inner)
            .await
            .map(|_| ()),
    }
}

/// What a statement did.
pub(super) struct Done(u64);

impl Done {
    /// How many rows it changed.
    pub(super) fn rows_affected(&self) -> u64 {
        self.0
    }
}

/// What a column can be read as.
pub(super) trait Value<'r>:
    Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>
{
}

impl<'r, T> Value<'r> for T where
    T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>
{
}

impl Row {
    /// The value of a column, by its name or place.
    pub(super) fn try_get<'r, T, I>(&'r self, index: I) -> Result<T, sqlx::Error>
    where
        T: Value<'r>,
        I: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(index),
            Self::Postgres(row) => row.try_get(index),
        }
    }
}

impl Query {
    /// With a value for the next placeholder.
    pub(super) fn bind(mut self, value: impl Into<Argument>) -> Self {
        self.arguments.push(value.into());
        self
    }

    /// Does what it says.
    pub(super) async fn execute(self, place: impl Into<Place<'_>>) -> Result<Done, sqlx::Error> {
        let place = place.into();
        let (sql, arguments) = (self.sql.in_dialect(place.dialect()), self.arguments);
        match place {
            Place::Connection(connection) => {
                let rows = match &mut connection.inner {
                    Inner::Sqlite(inner) => sql
                        .sqlite(arguments)?
                        .execute(&mut **inner)
                        .await?
                        .rows_affected(),
                    Inner::Postgres(inner) => sql
                        .postgres(arguments)?
                        .execute(&mut **inner)
                        .await?
                        .rows_affected(),
                };
                connection.changed = connection.changed.saturating_add(rows);
                Ok(Done(rows))
            }
            Place::Pool(Pool::Sqlite(pool)) => {
                let done = sql.sqlite(arguments)?.execute(pool).await?;
                Ok(Done(done.rows_affected()))
            }
            Place::Pool(Pool::Postgres(pool)) => {
                let done = sql.postgres(arguments)?.execute(pool).await?;
                Ok(Done(done.rows_affected()))
            }
        }
    }

    /// All that it finds.
    pub(super) async fn fetch_all(
        self,
        place: impl Into<Place<'_>>,
    ) -> Result<Vec<Row>, sqlx::Error> {
        let place = place.into();
        let (sql, arguments) = (self.sql.in_dialect(place.dialect()), self.arguments);
        let sqlite = |rows: Vec<SqliteRow>| rows.into_iter().map(Row::Sqlite).collect();
        let postgres = |rows: Vec<PgRow>| rows.into_iter().map(Row::Postgres).collect();
        match place {
            Place::Connection(connection) => {
                let changes = sql.changes();
                let rows: Vec<Row> = match &mut connection.inner {
                    Inner::Sqlite(inner) => {
                        sqlite(sql.sqlite(arguments)?.fetch_all(&mut **inner).await?)
                    }
                    Inner::Postgres(inner) => {
                        postgres(sql.postgres(arguments)?.fetch_all(&mut **inner).await?)
                    }
                };
                connection.found(changes, rows.len());
                Ok(rows)
            }
            Place::Pool(Pool::Sqlite(pool)) => {
                Ok(sqlite(sql.sqlite(arguments)?.fetch_all(pool).await?))
            }
            Place::Pool(Pool::Postgres(pool)) => {
                Ok(postgres(sql.postgres(arguments)?.fetch_all(pool).await?))
            }
        }
    }

    /// The first that it finds.
    pub(super) async fn fetch_optional(
        self,
        place: impl Into<Place<'_>>,
    ) -> Result<Option<Row>, sqlx::Error> {
        let place = place.into();
        let (sql, arguments) = (self.sql.in_dialect(place.dialect()), self.arguments);
        match place {
            Place::Connection(connection) => {
                let changes = sql.changes();
                let row = match &mut connection.inner {
                    Inner::Sqlite(inner) => sql
                        .sqlite(arguments)?
                        .fetch_optional(&mut **inner)
                        .await?
                        .map(Row::Sqlite),
                    Inner::Postgres(inner) => sql
                        .postgres(arguments)?
                        .fetch_optional(&mut **inner)
                        .await?
                        .map(Row::Postgres),
                };
                connection.found(changes, usize::from(row.is_some()));
                Ok(row)
            }
            Place::Pool(Pool::Sqlite(pool)) => {
                let row = sql.sqlite(arguments)?.fetch_optional(pool).await?;
                Ok(row.map(Row::Sqlite))
            }
            Place::Pool(Pool::Postgres(pool)) => {
                let row = sql.postgres(arguments)?.fetch_optional(pool).await?;
                Ok(row.map(Row::Postgres))
            }
        }
    }

    /// The first that it finds, and it finds something.
    pub(super) async fn fetch_one(self, place: impl Into<Place<'_>>) -> Result<Row, sqlx::Error> {
        let row = self.fetch_optional(place).await?;
        row.ok_or(sqlx::Error::RowNotFound)
    }
}

impl Text {
    fn in_dialect(self, dialect: Dialect) -> Sql {
        match self {
            Self::Fixed(sql) => Sql::Fixed(sql),
            Self::Built(builder) => Sql::Built(builder.into_sql(dialect)),
        }
    }
}

/// A statement as one database takes it.
enum Sql {
    Fixed(&'static str),
    Built(String),
}

impl Sql {
    fn sqlite(
        self,
        arguments: Vec<Argument>,
    ) -> Result<sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments>, sqlx::Error>
    {
        let arguments = argument::sqlite(arguments).map_err(sqlx::Error::Encode)?;
        Ok(match self {
            Self::Fixed(sql) => sqlx::query_with(sql, arguments),
            Self::Built(sql) => sqlx::query_with(AssertSqlSafe(sql), arguments),
        })
    }

    fn postgres(
        self,
        arguments: Vec<Argument>,
    ) -> Result<sqlx::query::Query<'static, Postgres, sqlx::postgres::PgArguments>, sqlx::Error>
    {
        let arguments = argument::postgres(arguments).map_err(sqlx::Error::Encode)?;
        Ok(match self {
            Self::Fixed(sql) => sqlx::query_with(sql, arguments),
            Self::Built(sql) => sqlx::query_with(AssertSqlSafe(sql), arguments),
        })
    }

    /// Whether it changes the rows that it finds.
    fn changes(&self) -> bool {
        let sql = match self {
            Self::Fixed(sql) => sql,
            Self::Built(sql) => sql.as_str(),
        };
        !sql.trim_start().starts_with("SELECT")
    }
}

impl Connection {
    /// How many rows were changed through it so far.
    pub(super) fn changed(&self) -> u64 {
        self.changed
    }

    /// Which SQL it takes.
    pub(super) fn dialect(&self) -> Dialect {
        match self.inner {
            Inner::Sqlite(_) => Dialect::Sqlite,
            Inner::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Ends it properly.
    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        use sqlx::Connection as _;
        match self.inner {
            Inner::Sqlite(inner) => inner.close().await,
            Inner::Postgres(inner) => inner.close().await,
        }
    }

    /// The connection to SQLite, if it is one.
    pub(super) fn sqlite(&mut self) -> Option<&mut SqliteConnection> {
        match &mut self.inner {
            Inner::Sqlite(inner) => Some(inner),
            Inner::Postgres(_) => None,
        }
    }

    /// The connection to PostgreSQL, if it is one.
    pub(super) fn postgres(&mut self) -> Option<&mut PgConnection> {
        match &mut self.inner {
            Inner::Postgres(inner) => Some(inner),
            Inner::Sqlite(_) => None,
        }
    }

    fn found(&mut self, changes: bool, rows: usize) {
        if changes {
            let rows = u64::try_from(rows).unwrap_or(u64::MAX);
            self.changed = self.changed.saturating_add(rows);
        }
    }
}

impl From<SqliteConnection> for Connection {
    fn from(inner: SqliteConnection) -> Self {
        Self {
            inner: Inner::Sqlite(Box::new(inner)),
            changed: 0,
        }
    }
}

impl From<PgConnection> for Connection {
    fn from(inner: PgConnection) -> Self {
        Self {
            inner: Inner::Postgres(Box::new(inner)),
            changed: 0,
        }
    }
}

impl Pool {
    /// Which SQL it takes.
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Waits for what is being read, and ends all connections.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Place<'_> {
    fn dialect(&self) -> Dialect {
        match self {
            Self::Connection(connection) => connection.dialect(),
            Self::Pool(pool) => pool.dialect(),
        }
    }
}

impl<'p> From<&'p mut Connection> for Place<'p> {
    fn from(connection: &'p mut Connection) -> Self {
        Self::Connection(connection)
    }
}

impl<'p> From<&'p Pool> for Place<'p> {
    fn from(pool: &'p Pool) -> Self {
        Self::Pool(pool)
    }
}
