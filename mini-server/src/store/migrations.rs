//! Bringing the tables up to date.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::dialect::Dialect;
use super::{Connection, Error};

/// The SQL of a version.
enum Text {
    /// Both databases understand it, but that PostgreSQL is told to compare texts byte by byte as SQLite does.
    Same(&'static str),
    /// Each needs its own: SQLite, PostgreSQL.
    Own(&'static str, &'static str),
    /// SQLite has it all without.
    PostgresOnly(&'static str),
}

/// Every version of the tables, in order: number, name, SQL. A released one is never changed.
const MIGRATIONS: &[(i64, &str, Text)] = &[
    (
        0,
        "postgres",
        Text::PostgresOnly(include_str!("migrations/0000_postgres.sql")),
    ),
    (
        1,
        "first",
        Text::Same(include_str!("migrations/0001_first.sql")),
    ),
    (
        2,
        "glance",
        Text::Same(include_str!("migrations/0002_glance.sql")),
    ),
    (
        3,
        "rollouts",
        Text::Same(include_str!("migrations/0003_rollouts.sql")),
    ),
    (
        4,
        "people",
        Text::Same(include_str!("migrations/0004_people.sql")),
    ),
    (
        5,
        "audit",
        Text::Own(
            include_str!("migrations/0005_audit.sql"),
            include_str!("migrations/0005_audit.postgres.sql"),
        ),
    ),
    (
        6,
        "webhooks",
        Text::Own(
            include_str!("migrations/0006_webhooks.sql"),
            include_str!("migrations/0006_webhooks.postgres.sql"),
        ),
    ),
    (
        7,
        "lost",
        Text::Same(include_str!("migrations/0007_lost.sql")),
    ),
];

impl Text {
    fn of(&self, dialect: Dialect) -> Option<Cow<'static, str>> {
        match (self, dialect) {
            (Self::Same(sql) | Self::Own(sql, _), Dialect::Sqlite)
            | (Self::Own(_, sql) | Self::PostgresOnly(sql), Dialect::Postgres) => {
                Some(Cow::Borrowed(sql))
            }
            // What is made of it has a checksum in the database: it is never made in another way.
            (Self::Same(sql), Dialect::Postgres) => {
                Some(sql.replace(" TEXT", " TEXT COLLATE \"C\"").into())
            }
            (Self::PostgresOnly(_), Dialect::Sqlite) => None,
        }
    }
}

/// Makes the tables, or changes them from the version that they have to the newest. Of several processes that do this at
/// once one does it, the others wait.
///
/// # Errors
/// Any of the database; tables of a newer version.
pub(super) async fn run(connection: &mut Connection) -> Result<(), Error> {
    let dialect = connection.dialect();
    let migrations = MIGRATIONS
        .iter()
        .filter_map(|(version, name, text)| {
            let sql = AssertSqlSafe(text.of(dialect)?.into_owned()).into_sql_str();
            let name = (*name).into();
            Some(Migration::new(
                *version,
                name,
                MigrationType::Simple,
                sql,
                false,
            ))
        })
        .collect();
    let migrator = Migrator::with_migrations(migrations);
    let done = match dialect {
        Dialect::Sqlite => match connection.sqlite() {
            Some(inner) => migrator.run(inner).await,
            None => Ok(()),
        },
        Dialect::Postgres => match connection.postgres() {
            Some(inner) => migrator.run(inner).await,
            None => Ok(()),
        },
    };
    done.map_err(Error::Migration)
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, Row, SqliteConnection};

    use super::*;

    #[tokio::test]
    async fn deployments_that_are_under_way_keep_their_counts() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let all: Vec<Cow<'static, str>> = MIGRATIONS
            .iter()
            .filter_map(|(_, _, text)| text.of(Dialect::Sqlite))
            .collect();
        let (before, after) = all.split_at(2);
        for sql in before {
            run_sql(&mut connection, sql).await;
        }
        run_sql(
            &mut connection,
            "INSERT INTO deployments VALUES ('d', 1, 'n', 'r2', NULL, 0, 0, NULL, 'inprogress', 0, 5, 0, 'f')",
        )
        .await;
        for (device, open, status) in [
            ("a", 1, "NULL"),
            ("b", 1, "'pending'"),
            ("c", 1, "'installing'"),
            ("d", 0, "'failure'"),
            ("e", 0, "'already-installed'"),
        ] {
            let row = format!(
                "INSERT INTO device_deployments (deployment_id, device_id, sequence, open, status, has_log)
                 VALUES ('d', '{device}', 1, {open}, {status}, 0)"
            );
            run_sql(&mut connection, &row).await;
        }
        for sql in after {
            run_sql(&mut connection, sql).await;
        }
        let row = sqlx::query(
            "SELECT devices_started, devices_active, devices_settled,
                    (SELECT SUM(failures) FROM device_deployments) AS failures, plan IS NULL AS plain
             FROM deployments",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        let counts: Vec<i64> = (0..5).map(|n| row.get(n)).collect();
        assert_eq!(counts, [3, 2, 1, 1, 1]);
    }

    async fn run_sql(connection: &mut SqliteConnection, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(connection)
            .await
            .unwrap();
    }

    #[test]
    fn texts_are_compared_byte_by_byte_everywhere() {
        for (version, _, text) in MIGRATIONS {
            let sql = text.of(Dialect::Postgres).unwrap();
            let columns = sql.lines().filter(|line| {
                line.starts_with("    ") && line.contains(" TEXT") || line.starts_with("ALTER")
            });
            for line in columns.filter(|line| line.contains("TEXT") && !line.contains("SELECT")) {
                assert!(line.contains("TEXT COLLATE \"C\""), "{version}: {line}");
            }
        }
    }
}
