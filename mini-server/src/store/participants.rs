//! The devices of a deployment as people look at them: who they are, how far each is, why it failed.

use tandem_api::DeploymentStatus;

use super::device_deployments::{device_deployment, push_status};
use super::devices::{parsed, parsed_or_null, unsigned};
use super::sql::{self, QueryBuilder};
use super::{DeviceDeploymentRow, Error, Id, StatusFilter, Store, push_ids};
use crate::paging::Window;

/// A device of a deployment.
#[derive(Debug, Clone)]
pub struct Participant {
    /// Which device.
    pub device: Id,
    /// What it says it is: normalised JSON. `None` if it was decommissioned.
    pub identity: Option<String>,
    /// How far it is; `None` if it has not asked yet.
    pub progress: Option<DeviceDeploymentRow>,
}

/// How far a device of a deployment may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Anything.
    Any,
    /// It has not asked yet, and still may.
    Waiting,
    /// It has asked.
    Has(StatusFilter),
}

/// Devices on which a deployment failed for the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureReason {
    /// What their logs, or they themselves, say.
    pub text: Option<String>,
    /// How many.
    pub devices: u64,
    /// One of them.
    pub example: Id,
    /// One of them that has sent a log.
    pub with_log: Option<Id>,
}

/// A report of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// On which deployment.
    pub deployment: Id,
    /// When, ms.
    pub at: i64,
    /// What it reported.
    pub status: DeploymentStatus,
    /// What exactly it did.
    pub substate: Option<String>,
}

/// Reasons of one deployment.
const REASONS: i64 = 50;

impl Store {
    /// Some of the devices of a deployment, and how many there are in all.
    ///
    /// # Errors
    /// Of the database.
    pub async fn participants(
        &self,
        deployment: Id,
        progress: Progress,
        window: Window,
    ) -> Result<(Vec<Participant>, u64), Error> {
        let push = |query: &mut QueryBuilder| {
            query.push(" FROM device_deployments WHERE deployment_id = ");
            query.push_bind(deployment.to_string());
            match progress {
                Progress::Any => {}
                Progress::Waiting => {
                    query.push(" AND status IS NULL AND open = 1");
                }
                Progress::Has(filter) => push_status(query, Some(filter)),
            }
        };
        let mut count = QueryBuilder::new("SELECT COUNT(*)");
        push(&mut count);
        let total = count.build().fetch_one(&self.readers).await?;
        let mut query = QueryBuilder::new("SELECT p.*, d.identity FROM (SELECT *");
        push(&mut query);
        query.push(" ORDER BY device_id LIMIT ");
        query.push_bind(window.limit);
        query.push(" OFFSET ");
        query.push_bind(window.offset);
        query.push(") AS p LEFT JOIN devices d ON d.id = p.device_id ORDER BY p.device_id");
        let rows = query.build().fetch_all(&self.readers).await?;
        let found = rows.iter().map(|row| {
            let status: Option<&str> = row.try_get("status")?;
            Ok(Participant {
                device: parsed(row, "device_id")?,
                identity: row.try_get("identity")?,
                progress: match status {
                    Some(_) => Some(device_deployment(row)?),
                    None => None,
                },
            })
        });
        Ok((
            found.collect::<Result<_, Error>>()?,
            unsigned(total.try_get(0)?),
        ))
    }

    /// Why a deployment failed, the most frequent reason first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn failure_reasons(&self, deployment: Id) -> Result<Vec<FailureReason>, Error> {
        let rows = sql::query(
            "SELECT COALESCE(reason, substate) AS text, COUNT(*) AS devices, MIN(device_id) AS example,
                    MIN(CASE WHEN has_log = 1 THEN device_id END) AS with_log
             FROM device_deployments WHERE deployment_id = $1 AND status = 'failure'
             GROUP BY COALESCE(reason, substate) ORDER BY devices DESC, text NULLS FIRST LIMIT $2",
        )
        .bind(deployment.to_string())
        .bind(REASONS)
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(FailureReason {
                    text: row.try_get("text")?,
                    devices: unsigned(row.try_get("devices")?),
                    example: parsed(row, "example")?,
                    with_log: parsed_or_null(row, "with_log")?,
                })
            })
            .collect()
    }

    /// The devices on which a deployment failed and which are still let in.
    ///
    /// # Errors
    /// Of the database.
    pub async fn failed_devices(&self, deployment: Id) -> Result<Vec<Id>, Error> {
        let rows = sql::query(
            "SELECT p.device_id FROM device_deployments p JOIN devices d ON d.id = p.device_id
             WHERE p.deployment_id = $1 AND p.status = 'failure' AND d.status = 'accepted'",
        )
        .bind(deployment.to_string())
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| parsed(row, "device_id")).collect()
    }

    /// What a device reported on some deployments, in order.
    ///
    /// # Errors
    /// Of the database.
    pub async fn events(&self, device: Id, deployments: &[Id]) -> Result<Vec<EventRow>, Error> {
        if deployments.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = QueryBuilder::new(
            "SELECT deployment_id, at, status, substate FROM deployment_events WHERE deployment_id IN ",
        );
        push_ids(&mut query, deployments);
        query.push(" AND device_id = ");
        query.push_bind(device.to_string());
        query.push(" ORDER BY deployment_id, number");
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                Ok(EventRow {
                    deployment: parsed(row, "deployment_id")?,
                    at: row.try_get("at")?,
                    status: parsed(row, "status")?,
                    substate: row.try_get("substate")?,
                })
            })
            .collect()
    }
}
