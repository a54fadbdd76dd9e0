//! The secrets of the server, where several processes share them: in PostgreSQL.

use super::sql;
use super::{Error, Store};

impl Store {
    /// The secret with this name. If there is none yet it is `new` from now on, for all processes.
    ///
    /// # Errors
    /// Of the database.
    pub async fn shared_secret(
        &self,
        name: &'static str,
        new: Option<String>,
    ) -> Result<Option<String>, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                if let Some(new) = new {
                    sql::query(
                        "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
                    )
                    .bind(name)
                    .bind(new)
                    .execute(tx.connection())
                    .await?;
                }
                let row = sql::query("SELECT value FROM secrets WHERE name = $1")
                    .bind(name)
                    .fetch_optional(tx.connection())
                    .await?;
                row.map(|row| Ok(row.try_get(0)?)).transpose()
            })
        })
        .await
    }
}
