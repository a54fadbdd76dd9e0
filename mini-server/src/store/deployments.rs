//! Deployments.

use std::collections::BTreeMap;

use tandem_api::DeploymentStatus;
use tandem_api::management::{DeploymentFilter as TargetFilter, DeploymentState};

use super::devices::{parsed, unsigned};
use super::dialect::LIKE;
use super::rollouts::{self, from_json};
use super::sql::{self, QueryBuilder, Row};
use super::writer::{Change, Topic};
use super::{Error, Id, Store, push_ids, steps};
use crate::paging::Window;
use crate::rollout::{Plan, Progress};

/// A deployment.
#[derive(Debug, Clone)]
pub struct DeploymentRow {
    /// Identifies it.
    pub id: Id,
    /// What its maker called it.
    pub name: String,
    /// The name of its artifact.
    pub artifact_name: String,
    /// The group that it was made for.
    pub group: Option<String>,
    /// Whether devices get it that have an artifact of this name.
    pub forced: bool,
    /// When it was made, ms.
    pub created: i64,
    /// When it ended, ms.
    pub finished: Option<i64>,
    /// How far it is.
    pub state: DeploymentState,
    /// Whether an operator ended it.
    pub aborted: bool,
    /// How many devices it is for.
    pub max_devices: u64,
    /// Bytes that were offered to devices.
    pub total_size: u64,
    /// How many devices have which status; those without are left out.
    pub statistics: BTreeMap<DeploymentStatus, u64>,
    /// The artifacts that have its name.
    pub artifacts: Vec<Id>,
    /// What was asked for when it was made.
    pub plan: Plan,
    /// How far it is, as far as it matters for who may begin.
    pub progress: Progress,
    /// What devices must fulfil, if it is not for some that were named.
    pub filter: Option<TargetFilter>,
    /// Whether devices that come to fulfil it join.
    pub continuous: bool,
}

/// What became of aborting a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abort {
    /// It is aborted.
    Done,
    /// There is no such deployment.
    Missing,
    /// It had ended before.
    Finished,
}

/// Which deployments, in which order.
#[derive(Debug, Clone, Default)]
pub struct DeploymentFilter {
    /// Those among these, unless empty.
    pub ids: Vec<Id>,
    /// Those with one of these names, unless empty.
    pub names: Vec<String>,
    /// Those that are this far.
    pub state: Option<StateFilter>,
    /// Those with this in their name or the name of their artifact.
    pub search: Option<String>,
    /// Those that were made not before, ms.
    pub created_after: Option<i64>,
    /// Those that were made not after, ms.
    pub created_before: Option<i64>,
    /// The oldest first.
    pub ascending: bool,
}

/// How far a deployment may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateFilter {
    /// This far.
    Is(DeploymentState),
    /// Ended by an operator.
    Aborted,
}

impl Store {
    /// Some of the deployments that fit, and how many there are in all.
    ///
    /// # Errors
    /// Of the database.
    pub async fn deployments(
        &self,
        filter: &DeploymentFilter,
        window: Window,
    ) -> Result<(Vec<DeploymentRow>, u64), Error> {
        let mut count = QueryBuilder::new("SELECT COUNT(*) FROM deployments WHERE 1 = 1");
        push_where(&mut count, filter);
        let row = count.build().fetch_one(&self.readers).await?;
        let total = unsigned(row.try_get(0)?);

        let mut query = QueryBuilder::new("SELECT * FROM deployments WHERE 1 = 1");
        push_where(&mut query, filter);
        query.push(if filter.ascending {
            " ORDER BY sequence LIMIT "
        } else {
            " ORDER BY sequence DESC LIMIT "
        });
        query.push_bind(window.limit);
        query.push(" OFFSET ");
        query.push_bind(window.offset);
        let rows = query.build().fetch_all(&self.readers).await?;
        let mut found = rows.iter().map(deployment).collect::<Result<Vec<_>, _>>()?;
        self.add_details(&mut found).await?;
        Ok((found, total))
    }

    /// One deployment.
    ///
    /// # Errors
    /// Of the database.
    pub async fn deployment(&self, id: Id) -> Result<Option<DeploymentRow>, Error> {
        let filter = DeploymentFilter {
            ids: vec![id],
            ..DeploymentFilter::default()
        };
        let window = Window {
            offset: 0,
            limit: 1,
        };
        Ok(self.deployments(&filter, window).await?.0.pop())
    }

    /// Ends a deployment: devices that have begun hear of it when they report.
    ///
    /// # Errors
    /// Of the database.
    pub async fn abort_deployment(&self, id: Id, now: i64) -> Result<Abort, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let row = sql::query("SELECT status FROM deployments WHERE id = $1")
                    .bind(id.to_string())
                    .fetch_optional(tx.connection())
                    .await?;
                let Some(row) = row else {
                    return Ok(Abort::Missing);
                };
                if row.try_get::<&str, _>(0)? == DeploymentState::Finished.as_str() {
                    return Ok(Abort::Finished);
                }
                steps::abort_all(tx, id, now).await?;
                sql::query(
                    "UPDATE deployments SET status = 'finished', finished = $2, aborted = 1, continuous = 0 WHERE id = $1",
                )
                .bind(id.to_string())
                .bind(now)
                .execute(tx.connection())
                .await?;
                tx.changed(Change::Shown(Topic::Deployments));
                Ok(Abort::Done)
            })
        })
        .await
    }

    /// How many deployments are active.
    ///
    /// # Errors
    /// Of the database.
    pub async fn count_active_deployments(&self) -> Result<u64, Error> {
        let row = sql::query(
            "SELECT COUNT(*) FROM deployments WHERE status IN ('pending', 'inprogress')",
        )
        .fetch_one(&self.readers)
        .await?;
        Ok(unsigned(row.try_get(0)?))
    }

    async fn add_details(&self, deployments: &mut [DeploymentRow]) -> Result<(), Error> {
        if deployments.is_empty() {
            return Ok(());
        }
        let ids: Vec<Id> = deployments.iter().map(|one| one.id).collect();
        let mut query = QueryBuilder::new(
            "SELECT deployment_id, status, devices FROM deployment_statistics WHERE devices > 0 AND deployment_id IN ",
        );
        push_ids(&mut query, &ids);
        let mut statistics: BTreeMap<Id, BTreeMap<DeploymentStatus, u64>> = BTreeMap::new();
        for row in query.build().fetch_all(&self.readers).await? {
            let devices = unsigned(row.try_get("devices")?);
            let of = statistics
                .entry(parsed(&row, "deployment_id")?)
                .or_default();
            of.insert(parsed(&row, "status")?, devices);
        }
        let mut query = QueryBuilder::new("SELECT id, name FROM artifacts WHERE name IN (");
        let mut list = query.separated(", ");
        for deployment in &*deployments {
            list.push_bind(&deployment.artifact_name);
        }
        query.push(") ORDER BY modified DESC, id");
        let mut artifacts: BTreeMap<String, Vec<Id>> = BTreeMap::new();
        for row in query.build().fetch_all(&self.readers).await? {
            artifacts
                .entry(row.try_get("name")?)
                .or_default()
                .push(parsed(&row, "id")?);
        }
        for one in deployments {
            one.statistics = statistics.remove(&one.id).unwrap_or_default();
            one.artifacts = artifacts
                .get(&one.artifact_name)
                .cloned()
                .unwrap_or_default();
        }
        Ok(())
    }
}

fn push_where(query: &mut QueryBuilder, filter: &DeploymentFilter) {
    if !filter.ids.is_empty() {
        query.push(" AND id IN ");
        push_ids(query, &filter.ids);
    }
    if !filter.names.is_empty() {
        query.push(" AND name IN (");
        let mut list = query.separated(", ");
        for name in &filter.names {
            list.push_bind(name.clone());
        }
        query.push(")");
    }
    match filter.state {
        None => {}
        Some(StateFilter::Aborted) => {
            query.push(" AND aborted = 1");
        }
        Some(StateFilter::Is(state)) => {
            query.push(" AND status = ");
            query.push_bind(state.as_str());
        }
    }
    if let Some(search) = &filter.search {
        let pattern = super::search::containing(search);
        query.push(" AND (name").push_either(LIKE);
        query.push_bind(pattern.clone());
        query
            .push(" ESCAPE '\\' OR artifact_name")
            .push_either(LIKE);
        query.push_bind(pattern);
        query.push(" ESCAPE '\\')");
    }
    for (comparison, time) in [
        (" >= ", filter.created_after),
        (" <= ", filter.created_before),
    ] {
        if let Some(time) = time {
            query.push(" AND created");
            query.push(comparison);
            query.push_bind(time);
        }
    }
}

fn deployment(row: &Row) -> Result<DeploymentRow, Error> {
    let state = match row.try_get("status")? {
        "pending" => DeploymentState::Pending,
        "inprogress" => DeploymentState::InProgress,
        "finished" => DeploymentState::Finished,
        other => {
            return Err(Error::corrupt(format!(
                "the status of a deployment: {other:?}"
            )));
        }
    };
    Ok(DeploymentRow {
        id: parsed(row, "id")?,
        name: row.try_get("name")?,
        artifact_name: row.try_get("artifact_name")?,
        group: row.try_get("group_name")?,
        forced: row.try_get::<i64, _>("forced")? != 0,
        created: row.try_get("created")?,
        finished: row.try_get("finished")?,
        state,
        aborted: row.try_get::<i64, _>("aborted")? != 0,
        max_devices: unsigned(row.try_get("max_devices")?),
        total_size: unsigned(row.try_get("total_size")?),
        statistics: BTreeMap::new(),
        artifacts: Vec::new(),
        plan: rollouts::plan(row)?,
        progress: rollouts::progress(row)?,
        filter: row
            .try_get::<Option<&str>, _>("filter")?
            .map(from_json)
            .transpose()?,
        continuous: row.try_get::<i64, _>("continuous")? != 0,
    })
}
