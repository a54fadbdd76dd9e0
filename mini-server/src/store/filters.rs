//! Saved filters: dynamic groups.

use tandem_api::management::Filter;

use super::devices::parsed;
use super::rollouts::{from_json, to_json};
use super::sql::{self, Row};
use super::{Error, Id, Store};
use crate::secret::new_id;

/// A saved filter.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterRow {
    /// Identifies it.
    pub id: Id,
    /// What it is called.
    pub name: String,
    /// All of these have to hold.
    pub terms: Vec<Filter>,
}

/// What became of a new filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterChange {
    /// It is there.
    Done(Id),
    /// There is one of that name.
    NameTaken,
    /// There are as many as there may be.
    TooMany,
}

/// Saved filters.
const FILTERS: i64 = 1000;

impl Store {
    /// Saves a filter.
    ///
    /// # Errors
    /// Of the database.
    pub async fn add_filter(
        &self,
        name: String,
        terms: Vec<Filter>,
        now: i64,
    ) -> Result<FilterChange, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let id = new_id();
                let row = sql::query("SELECT COUNT(*) FROM filters")
                    .fetch_one(tx.connection())
                    .await?;
                if row.try_get::<i64, _>(0)? >= FILTERS {
                    return Ok(FilterChange::TooMany);
                }
                let done = sql::query(
                    "INSERT INTO filters (id, name, terms, created) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (name) DO NOTHING",
                )
                .bind(id.to_string())
                .bind(name)
                .bind(to_json(&terms)?)
                .bind(now)
                .execute(tx.connection())
                .await?;
                Ok(match done.rows_affected() {
                    0 => FilterChange::NameTaken,
                    _ => FilterChange::Done(id),
                })
            })
        })
        .await
    }

    /// All saved filters, by name.
    ///
    /// # Errors
    /// Of the database.
    pub async fn filters(&self) -> Result<Vec<FilterRow>, Error> {
        let rows = sql::query("SELECT id, name, terms FROM filters ORDER BY name")
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(filter).collect()
    }

    /// One saved filter.
    ///
    /// # Errors
    /// Of the database.
    pub async fn filter(&self, id: Id) -> Result<Option<FilterRow>, Error> {
        let row = sql::query("SELECT id, name, terms FROM filters WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(filter).transpose()
    }

    /// Forgets a filter; false if there is none. Deployments that were made for it keep theirs.
    ///
    /// # Errors
    /// Of the database.
    pub async fn remove_filter(&self, id: Id) -> Result<bool, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let done = sql::query("DELETE FROM filters WHERE id = $1")
                    .bind(id.to_string())
                    .execute(tx.connection())
                    .await?;
                Ok(done.rows_affected() > 0)
            })
        })
        .await
    }
}

fn filter(row: &Row) -> Result<FilterRow, Error> {
    Ok(FilterRow {
        id: parsed(row, "id")?,
        name: row.try_get("name")?,
        terms: from_json(row.try_get("terms")?)?,
    })
}
