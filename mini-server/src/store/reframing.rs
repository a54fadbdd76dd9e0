//! Another file for an artifact: the same image, put into frames.

use super::artifacts::{Changed, StoredArtifact, UsedBy, refusal};
use super::devices::{signed, unsigned};
use super::sql;
use super::writer::{Change, Topic};
use super::{Error, Id, Store};
use crate::audit::{Action, Kind};

/// What became of an artifact that was to have another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reframed {
    /// The new one is what counts. The bytes of the old one are for the caller to remove.
    Done,
    /// There is no such artifact.
    Missing,
    /// A deployment that has not ended uses it: devices may be fetching it.
    InUse,
    /// All together would be more than they may be.
    OverQuota,
}

impl Store {
    /// Has `new`, whose bytes are in the artifact storage already, take the place of `old`, of which it differs only in
    /// identifier, size and sum; unless all have more than `quota` bytes then.
    ///
    /// # Errors
    /// Of the database.
    pub async fn reframe(
        &self,
        old: Id,
        new: StoredArtifact,
        quota: Option<u64>,
    ) -> Result<Reframed, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                match refusal(tx, old, UsedBy::ActiveDeployment).await? {
                    None => {}
                    Some(Changed::InUse) => return Ok(Reframed::InUse),
                    Some(Changed::Missing | Changed::Done) => return Ok(Reframed::Missing),
                }
                let others =
                    sql::query("SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM artifacts WHERE id <> $1")
                        .bind(old.to_string())
                        .fetch_one(tx.connection())
                        .await?;
                let all = unsigned(others.try_get(0)?).saturating_add(new.size);
                if quota.is_some_and(|quota| all > quota) {
                    return Ok(Reframed::OverQuota);
                }
                sql::query(
                    "INSERT INTO artifacts (id, name, description, size, sha256, modified, content)
                     SELECT $2, name, description, $3, $4, modified, content FROM artifacts WHERE id = $1",
                )
                .bind(old.to_string())
                .bind(new.id.to_string())
                .bind(signed(new.size))
                .bind(&new.sha256)
                .execute(tx.connection())
                .await?;
                // Also what devices did with it: which of them have it is to be known as before.
                for moved in [
                    "UPDATE artifact_depends SET artifact_id = $2 WHERE artifact_id = $1",
                    "UPDATE device_deployments SET artifact_id = $2 WHERE artifact_id = $1",
                ] {
                    sql::query(moved)
                        .bind(old.to_string())
                        .bind(new.id.to_string())
                        .execute(tx.connection())
                        .await?;
                }
                sql::query("DELETE FROM artifacts WHERE id = $1")
                    .bind(old.to_string())
                    .execute(tx.connection())
                    .await?;
                tx.changed(Change::Shown(Topic::Releases));
                let change = format!(
                    "framed, was {old}: {} bytes, SHA-256 {}",
                    new.size, new.sha256
                );
                tx.audit(Action::Update, Kind::Artifact, new.id, change)
                    .await?;
                Ok(Reframed::Done)
            })
        })
        .await
    }
}
