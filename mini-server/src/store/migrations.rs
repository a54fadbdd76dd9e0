//! Bringing the tables up to date.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::{Connection, Error};

/// Every version of the tables, in order: number, name, SQL. A released one is never changed.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("migrations/0001_first.sql")),
    (2, "glance", include_str!("migrations/0002_glance.sql")),
    (3, "rollouts", include_str!("migrations/0003_rollouts.sql")),
    (4, "people", include_str!("migrations/0004_people.sql")),
    (5, "audit", include_str!("migrations/0005_audit.sql")),
    (6, "webhooks", include_str!("migrations/0006_webhooks.sql")),
    (7, "lost", include_str!("migrations/0007_lost.sql")),
];

/// Makes the tables, or changes them from the version that they have to the newest.
///
/// # Errors
/// Any of the database; tables of a newer version.
pub(super) async fn run(connection: &mut Connection) -> Result<(), Error> {
    let migrations = MIGRATIONS
        .iter()
        .map(|(version, name, sql)| {
            let name = (*name).into();
            Migration::new(
                *version,
                name,
                MigrationType::Simple,
                sql.into_sql_str(),
                false,
            )
        })
        .collect();
    Migrator::with_migrations(migrations)
        .run(connection)
        .await
        .map_err(Error::Migration)
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Connection as _, Row};

    use super::*;

    #[tokio::test]
    async fn deployments_that_are_under_way_keep_their_counts() {
        let mut connection = Connection::connect("sqlite::memory:").await.unwrap();
        let (before, after) = MIGRATIONS.split_at(2);
        for (_, _, sql) in before {
            sqlx::raw_sql(*sql).execute(&mut connection).await.unwrap();
        }
        sqlx::raw_sql(
            "INSERT INTO deployments VALUES ('d', 1, 'n', 'r2', NULL, 0, 0, NULL, 'inprogress', 0, 5, 0, 'f')",
        )
        .execute(&mut connection)
        .await
        .unwrap();
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
            sqlx::raw_sql(AssertSqlSafe(row))
                .execute(&mut connection)
                .await
                .unwrap();
        }
        for (_, _, sql) in after {
            sqlx::raw_sql(*sql).execute(&mut connection).await.unwrap();
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
}
