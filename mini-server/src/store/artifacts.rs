//! Artifacts: what the server knows about the files in the artifact storage.

use std::collections::HashSet;

use super::devices::{parsed, signed, unsigned};
use super::sql::{self, QueryBuilder, Row};
use super::standing_orders::follow_all;
use super::writer::{Change, Topic};
use super::{Error, Id, Store, Tx};
use crate::audit::{Action, Kind};
use crate::content::Content;

/// An artifact.
#[derive(Debug, Clone)]
pub struct StoredArtifact {
    /// Identifies it, also in the artifact storage.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// What the operator wrote about it.
    pub description: String,
    /// Bytes.
    pub size: u64,
    /// The SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// When it was uploaded or its description changed, ms.
    pub modified: i64,
    /// What it says about itself.
    pub content: Content,
}

/// Which artifacts.
#[derive(Debug, Clone, Default)]
pub struct ArtifactFilter {
    /// Those with one of these names, unless empty.
    pub names: Vec<String>,
    /// Those with a name that begins so.
    pub name_prefix: Option<String>,
    /// Those with this in their description.
    pub description: Option<String>,
    /// Those that are made for this type of device.
    pub device_type: Option<String>,
}

/// What became of a new artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is there.
    Done,
    /// There is one of this name already that a device could not tell from it.
    Ambiguous,
    /// There is one with this identifier already.
    Exists,
    /// All together would be more than they may be.
    OverQuota,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It is so now.
    Done,
    /// There is no such artifact.
    Missing,
    /// A deployment uses it.
    InUse,
}

const STORED_BYTES: &str = "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM artifacts";

const COLUMNS: &str = "id, name, description, size, sha256, modified, content";

impl Store {
    /// Adds an artifact whose bytes are in the artifact storage already, unless all have more than `quota` bytes then.
    ///
    /// # Errors
    /// Of the database.
    pub async fn add_artifact(
        &self,
        new: StoredArtifact,
        combinations: Vec<String>,
        quota: Option<u64>,
    ) -> Result<Added, Error> {
        let content = serde_json::to_string(&new.content)
            .map_err(|err| Error::corrupt(format!("the content of an artifact: {err}")))?;
        self.write(move |tx| {
            Box::pin(async move {
                let existing = sql::query("SELECT 1 FROM artifacts WHERE id = $1")
                    .bind(new.id.to_string())
                    .fetch_optional(tx.connection())
                    .await?;
                if existing.is_some() {
                    return Ok(Added::Exists);
                }
                for depends in &combinations {
                    let taken = sql::query(
                        "SELECT 1 FROM artifact_depends WHERE name = $1 AND depends = $2",
                    )
                    .bind(&new.name)
                    .bind(depends)
                    .fetch_optional(tx.connection())
                    .await?;
                    if taken.is_some() {
                        return Ok(Added::Ambiguous);
                    }
                }
                let stored = sql::query(STORED_BYTES).fetch_one(tx.connection()).await?;
                let all = unsigned(stored.try_get(0)?).saturating_add(new.size);
                if quota.is_some_and(|quota| all > quota) {
                    return Ok(Added::OverQuota);
                }
                sql::query(
                    "INSERT INTO artifacts (id, name, description, size, sha256, modified, content)
                     VALUES ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(new.id.to_string())
                .bind(&new.name)
                .bind(&new.description)
                .bind(signed(new.size))
                .bind(&new.sha256)
                .bind(new.modified)
                .bind(content)
                .execute(tx.connection())
                .await?;
                for chunk in combinations.chunks(200) {
                    let mut query = QueryBuilder::new(
                        "INSERT INTO artifact_depends (name, depends, artifact_id) ",
                    );
                    query.push_values(chunk, |mut row, depends| {
                        row.push_bind(&new.name)
                            .push_bind(depends)
                            .push_bind(new.id.to_string());
                    });
                    query.build().execute(tx.connection()).await?;
                }
                follow_all(tx, new.modified).await?;
                tx.changed(Change::Shown(Topic::Releases));
                let change = format!("{} bytes, SHA-256 {}", new.size, new.sha256);
                tx.audit(Action::Upload, Kind::Artifact, new.id, change)
                    .await?;
                Ok(Added::Done)
            })
        })
        .await
    }

    /// Whether an artifact with one of these combinations would be ambiguous.
    ///
    /// # Errors
    /// Of the database.
    pub async fn is_ambiguous(&self, name: &str, combinations: &[String]) -> Result<bool, Error> {
        for chunk in combinations.chunks(500) {
            let mut query = QueryBuilder::new("SELECT 1 FROM artifact_depends WHERE name = ");
            query.push_bind(name);
            query.push(" AND depends IN (");
            let mut list = query.separated(", ");
            for depends in chunk {
                list.push_bind(depends);
            }
            query.push(") LIMIT 1");
            if query.build().fetch_optional(&self.readers).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One artifact.
    ///
    /// # Errors
    /// Of the database.
    pub async fn artifact(&self, id: Id) -> Result<Option<StoredArtifact>, Error> {
        let row = sql::query(
            "SELECT id, name, description, size, sha256, modified, content FROM artifacts WHERE id = $1",
        )
        .bind(id.to_string())
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| artifact(&row)).transpose()
    }

    /// The artifacts that fit, the newest first. There are hundreds at most: pages are cut by the caller.
    ///
    /// # Errors
    /// Of the database.
    pub async fn artifacts(&self, filter: &ArtifactFilter) -> Result<Vec<StoredArtifact>, Error> {
        let mut query = QueryBuilder::new("SELECT ");
        query.push(COLUMNS);
        query.push(" FROM artifacts WHERE 1 = 1");
        if !filter.names.is_empty() {
            query.push(" AND name IN (");
            let mut list = query.separated(", ");
            for name in &filter.names {
                list.push_bind(name);
            }
            query.push(")");
        }
        query.push(" ORDER BY modified DESC, id");
        let rows = query.build().fetch_all(&self.readers).await?;
        let mut artifacts = rows.iter().map(artifact).collect::<Result<Vec<_>, _>>()?;
        artifacts.retain(|artifact| filter.matches(artifact));
        Ok(artifacts)
    }

    /// The identifiers of all artifacts.
    ///
    /// # Errors
    /// Of the database.
    pub async fn artifact_ids(&self) -> Result<HashSet<Id>, Error> {
        let rows = sql::query("SELECT id FROM artifacts")
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(|row| parsed(row, "id")).collect()
    }

    /// The artifacts from before `time`, ms, that nothing needs: no deployment that has not ended, no device that has
    /// it or was given it last, and there is a newer artifact.
    ///
    /// # Errors
    /// Of the database.
    pub async fn outdated_artifacts(&self, time: i64) -> Result<Vec<Id>, Error> {
        let rows = sql::query(
            "SELECT id FROM artifacts a
             WHERE modified < $1
               AND EXISTS (SELECT 1 FROM artifacts newer WHERE newer.modified > a.modified)
               AND NOT EXISTS (SELECT 1 FROM deployments d WHERE d.artifact_name = a.name AND d.finished IS NULL)
               AND NOT EXISTS (SELECT 1 FROM attributes t
                               WHERE t.scope = 'inventory' AND t.name = 'artifact_name' AND t.text = a.name)
               AND NOT EXISTS (SELECT 1 FROM device_deployments e JOIN devices v ON v.id = e.device_id
                               WHERE e.artifact_id = a.id AND e.status IN ('success', 'already-installed')
                                 AND NOT EXISTS (SELECT 1 FROM device_deployments later
                                                 WHERE later.device_id = e.device_id AND later.sequence > e.sequence
                                                   AND later.status IN ('success', 'already-installed')))",
        )
        .bind(time)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| parsed(row, "id")).collect()
    }

    /// How many bytes all artifacts have together.
    ///
    /// # Errors
    /// Of the database.
    pub async fn artifact_bytes(&self) -> Result<u64, Error> {
        let row = sql::query(STORED_BYTES).fetch_one(&self.readers).await?;
        Ok(unsigned(row.try_get(0)?))
    }

    /// Writes something else about an artifact.
    ///
    /// # Errors
    /// Of the database.
    pub async fn describe_artifact(
        &self,
        id: Id,
        description: String,
        now: i64,
    ) -> Result<Changed, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                if let Some(refusal) = refusal(tx, id, UsedBy::AnyDeployment).await? {
                    return Ok(refusal);
                }
                sql::query("UPDATE artifacts SET description = $2, modified = $3 WHERE id = $1")
                    .bind(id.to_string())
                    .bind(description)
                    .bind(now)
                    .execute(tx.connection())
                    .await?;
                tx.audit(Action::Update, Kind::Artifact, id, "description")
                    .await?;
                Ok(Changed::Done)
            })
        })
        .await
    }

    /// Forgets an artifact, unless an active deployment uses it. Its bytes are for the caller to remove.
    ///
    /// # Errors
    /// Of the database.
    pub async fn remove_artifact(&self, id: Id) -> Result<Changed, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                if let Some(refusal) = refusal(tx, id, UsedBy::ActiveDeployment).await? {
                    return Ok(refusal);
                }
                tx.audit(Action::Delete, Kind::Artifact, id, "").await?;
                sql::query("DELETE FROM artifacts WHERE id = $1")
                    .bind(id.to_string())
                    .execute(tx.connection())
                    .await?;
                tx.changed(Change::Shown(Topic::Releases));
                Ok(Changed::Done)
            })
        })
        .await
    }
}

/// Which use of an artifact forbids a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UsedBy {
    AnyDeployment,
    ActiveDeployment,
}

/// Why an artifact cannot be changed, if it cannot.
pub(super) async fn refusal(
    tx: &mut Tx,
    id: Id,
    used_by: UsedBy,
) -> Result<Option<Changed>, Error> {
    let used = sql::query(
        "SELECT EXISTS (SELECT 1 FROM deployments d
                        WHERE d.artifact_name = a.name AND ($2 = 0 OR d.finished IS NULL)) AS used
         FROM artifacts a WHERE a.id = $1",
    )
    .bind(id.to_string())
    .bind(i64::from(used_by == UsedBy::ActiveDeployment))
    .fetch_optional(tx.connection())
    .await?;
    Ok(match used.map(|row| row.try_get(0)).transpose()? {
        None => Some(Changed::Missing),
        Some(false) => None,
        Some(true) => Some(Changed::InUse),
    })
}

impl ArtifactFilter {
    fn matches(&self, artifact: &StoredArtifact) -> bool {
        let within = |wanted: &Option<String>, text: &str| {
            wanted
                .as_ref()
                .is_none_or(|wanted| text.to_lowercase().contains(&wanted.to_lowercase()))
        };
        self.name_prefix
            .as_ref()
            .is_none_or(|prefix| artifact.name.starts_with(prefix))
            && within(&self.description, &artifact.description)
            && self
                .device_type
                .as_ref()
                .is_none_or(|wanted| artifact.content.device_types().contains(wanted))
    }
}

fn artifact(row: &Row) -> Result<StoredArtifact, Error> {
    let content: &str = row.try_get("content")?;
    Ok(StoredArtifact {
        id: parsed(row, "id")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        size: unsigned(row.try_get("size")?),
        sha256: row.try_get("sha256")?,
        modified: row.try_get("modified")?,
        content: serde_json::from_str(content)
            .map_err(|err| Error::corrupt(format!("the content of an artifact: {err}")))?,
    })
}
