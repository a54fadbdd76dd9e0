//! Deployments on single devices: what each was offered and what it reported.

use tandem_api::DeploymentStatus;

use super::devices::{parsed, parsed_or_null, unsigned};
use super::sql::{self, QueryBuilder, Row};
use super::{Error, Id, Store};
use crate::paging::Window;

/// A deployment on a device that has asked for it.
#[derive(Debug, Clone)]
pub struct DeviceDeploymentRow {
    /// Which deployment.
    pub deployment: Id,
    /// Which device.
    pub device: Id,
    /// How far it is.
    pub status: DeploymentStatus,
    /// What exactly the device does, or why it ended so.
    pub substate: Option<String>,
    /// The artifact that was chosen for the device.
    pub artifact: Option<Id>,
    /// When the device asked for it, ms.
    pub created: i64,
    /// When it began, ms.
    pub started: Option<i64>,
    /// When it was done, ms.
    pub finished: Option<i64>,
    /// Whether there is a log.
    pub has_log: bool,
    /// What the log says is the cause of a failure.
    pub reason: Option<String>,
}

/// Which statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFilter {
    /// This one.
    Is(DeploymentStatus),
    /// Those in which a device waits for leave to go on.
    Pause,
    /// Those that are not final.
    Active,
    /// Those that are.
    Finished,
}

impl Store {
    /// The deployment on one device.
    ///
    /// # Errors
    /// Of the database.
    pub async fn device_deployment(
        &self,
        deployment: Id,
        device: Id,
    ) -> Result<Option<DeviceDeploymentRow>, Error> {
        let row = sql::query(
            "SELECT * FROM device_deployments
             WHERE deployment_id = $1 AND device_id = $2 AND status IS NOT NULL",
        )
        .bind(deployment.to_string())
        .bind(device.to_string())
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| device_deployment(&row)).transpose()
    }

    /// The deployment on some of the devices that have asked for it, and on how many it is in all.
    ///
    /// # Errors
    /// Of the database.
    pub async fn device_deployments(
        &self,
        deployment: Id,
        filter: Option<StatusFilter>,
        window: Option<Window>,
    ) -> Result<(Vec<DeviceDeploymentRow>, u64), Error> {
        let push = |query: &mut QueryBuilder| {
            query.push(" FROM device_deployments WHERE status IS NOT NULL AND deployment_id = ");
            query.push_bind(deployment.to_string());
            push_status(query, filter);
        };
        self.list(push, " ORDER BY created, device_id", window)
            .await
    }

    /// Some of the deployments of a device that has asked for them, the newest first, and how many there are in all.
    ///
    /// # Errors
    /// Of the database.
    pub async fn device_history(
        &self,
        device: Id,
        filter: Option<StatusFilter>,
        window: Window,
    ) -> Result<(Vec<DeviceDeploymentRow>, u64), Error> {
        let push = |query: &mut QueryBuilder| {
            query.push(" FROM device_deployments WHERE status IS NOT NULL AND device_id = ");
            query.push_bind(device.to_string());
            push_status(query, filter);
        };
        self.list(push, " ORDER BY sequence DESC", Some(window))
            .await
    }

    /// All devices that a deployment is for.
    ///
    /// # Errors
    /// Of the database.
    pub async fn targets(&self, deployment: Id) -> Result<Vec<Id>, Error> {
        let rows = sql::query(
            "SELECT device_id FROM device_deployments WHERE deployment_id = $1 ORDER BY device_id",
        )
        .bind(deployment.to_string())
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| parsed(row, "device_id")).collect()
    }

    async fn list(
        &self,
        push: impl Fn(&mut QueryBuilder),
        order: &'static str,
        window: Option<Window>,
    ) -> Result<(Vec<DeviceDeploymentRow>, u64), Error> {
        let mut count = QueryBuilder::new("SELECT COUNT(*)");
        push(&mut count);
        let row = count.build().fetch_one(&self.readers).await?;
        let total = unsigned(row.try_get(0)?);
        let mut query = QueryBuilder::new("SELECT *");
        push(&mut query);
        query.push(order);
        if let Some(window) = window {
            query.push(" LIMIT ");
            query.push_bind(window.limit);
            query.push(" OFFSET ");
            query.push_bind(window.offset);
        }
        let rows = query.build().fetch_all(&self.readers).await?;
        let found = rows
            .iter()
            .map(device_deployment)
            .collect::<Result<_, _>>()?;
        Ok((found, total))
    }
}

pub(super) fn push_status(query: &mut QueryBuilder, filter: Option<StatusFilter>) {
    let Some(filter) = filter else { return };
    query.push(" AND status IN ");
    match filter {
        StatusFilter::Is(wanted) => push_statuses(query, |status| status == wanted),
        StatusFilter::Pause => push_statuses(query, DeploymentStatus::is_pause),
        StatusFilter::Active => push_statuses(query, |status| !status.is_final()),
        StatusFilter::Finished => push_statuses(query, DeploymentStatus::is_final),
    }
}

pub(super) fn push_statuses(query: &mut QueryBuilder, wanted: impl Fn(DeploymentStatus) -> bool) {
    query.push("(");
    let mut list = query.separated(", ");
    for status in DeploymentStatus::ALL
        .into_iter()
        .filter(|status| wanted(*status))
    {
        list.push_bind(status.as_str());
    }
    query.push(")");
}

pub(super) fn device_deployment(row: &Row) -> Result<DeviceDeploymentRow, Error> {
    Ok(DeviceDeploymentRow {
        deployment: parsed(row, "deployment_id")?,
        device: parsed(row, "device_id")?,
        status: parsed(row, "status")?,
        substate: row.try_get("substate")?,
        artifact: parsed_or_null(row, "artifact_id")?,
        created: row
            .try_get::<Option<i64>, _>("created")?
            .unwrap_or_default(),
        started: row.try_get("started")?,
        finished: row.try_get("finished")?,
        has_log: row.try_get::<i64, _>("has_log")? != 0,
        reason: row.try_get("reason")?,
    })
}
