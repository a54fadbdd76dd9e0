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
