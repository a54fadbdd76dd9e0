//! What operators wrote about releases: notes and tags by the name of the artifacts.

use std::collections::BTreeMap;

use super::sql::{self, QueryBuilder};
use super::standing_orders::follow_all;
use super::{Error, Store};
use crate::audit::{Action, Kind};

/// Notes and tags of a release.
#[derive(Debug, Clone, Default)]
pub struct ReleaseNotes {
    /// Free text.
    pub notes: String,
    /// For finding it again; sorted.
    pub tags: Vec<String>,
}

/// What became of new tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tagged {
    /// They are there.
    Done,
    /// There would be too many different ones.
    TooMany,
}

impl Store {
    /// The notes and tags of all releases that have some.
    ///
    /// # Errors
    /// Of the database.
    pub async fn release_notes(&self) -> Result<BTreeMap<String, ReleaseNotes>, Error> {
        let mut all: BTreeMap<String, ReleaseNotes> = BTreeMap::new();
        let notes = sql::query("SELECT name, notes FROM release_notes")
            .fetch_all(&self.readers)
            .await?;
        for row in notes {
            all.entry(row.try_get("name")?).or_default().notes = row.try_get("notes")?;
        }
        let tags = sql::query("SELECT name, tag FROM release_tags ORDER BY tag")
            .fetch_all(&self.readers)
            .await?;
        for row in tags {
            all.entry(row.try_get("name")?)
                .or_default()
                .tags
                .push(row.try_get("tag")?);
        }
        Ok(all)
    }

    /// Writes notes about a release.
    ///
    /// # Errors
    /// Of the database.
    pub async fn set_release_notes(&self, name: String, notes: String) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                sql::query(
                    "INSERT INTO release_notes (name, notes) VALUES ($1, $2)
                     ON CONFLICT (name) DO UPDATE SET notes = excluded.notes",
                )
                .bind(&name)
                .bind(notes)
                .execute(tx.connection())
                .await?;
                tx.audit(Action::Update, Kind::Release, &name, "notes")
                    .await
            })
        })
        .await
    }

    /// Gives a release these tags and no others; there may be `limit` different ones on all releases.
    ///
    /// # Errors
    /// Of the database.
    pub async fn set_release_tags(
        &self,
        name: String,
        tags: Vec<String>,
        limit: i64,
        now: i64,
    ) -> Result<Tagged, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let others = sql::query("SELECT DISTINCT tag FROM release_tags WHERE name <> $1")
                    .bind(&name)
                    .fetch_all(tx.connection())
                    .await?;
                let mut distinct = others
                    .iter()
                    .map(|row| row.try_get(0))
                    .collect::<Result<std::collections::BTreeSet<String>, _>>()?;
                distinct.extend(tags.iter().cloned());
                if i64::try_from(distinct.len()).unwrap_or(i64::MAX) > limit {
                    return Ok(Tagged::TooMany);
                }
                sql::query("DELETE FROM release_tags WHERE name = $1")
                    .bind(&name)
                    .execute(tx.connection())
                    .await?;
                if !tags.is_empty() {
                    let mut query = QueryBuilder::new("INSERT INTO release_tags (name, tag) ");
                    query.push_values(&tags, |mut row, tag| {
                        row.push_bind(&name).push_bind(tag);
                    });
                    query.build().execute(tx.connection()).await?;
                }
                follow_all(tx, now).await?;
                let change = format!("tags: {}", tags.join(", "));
                tx.audit(Action::Update, Kind::Release, &name, change)
                    .await?;
                Ok(Tagged::Done)
            })
        })
        .await
    }
}
