//! Devices that are at a deployment and were not heard of for long: their places are given up.

use log::{info, warn};
use tandem_api::DeploymentStatus;

use super::device_deployments::push_statuses;
use super::devices::parsed;
use super::rollouts::{self, COLUMNS};
use super::sql::{self, QueryBuilder};
use super::writer::{Change, Topic, Tx};
use super::{Error, Id, Store};
use crate::rollout::Plan;

/// A deployment that devices are at.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Which one.
    pub deployment: Id,
    /// What was asked for.
    pub plan: Plan,
}

/// Devices whose places are given up at once.
const AT_ONCE: i64 = 500;

impl Store {
    /// The deployments that devices are at.
    ///
    /// # Errors
    /// Of the database.
    pub async fn deployments_under_way(&self) -> Result<Vec<Waiting>, Error> {
        let mut query = QueryBuilder::new("SELECT d.id, ");
        query.push(COLUMNS);
        query.push(" FROM deployments d WHERE d.finished IS NULL AND d.devices_active > 0");
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                Ok(Waiting {
                    deployment: parsed(row, "id")?,
                    plan: rollouts::plan(row)?,
                })
            })
            .collect()
    }

    /// Devices that are at a deployment and were neither given it nor heard of after `since`, ms; not all if there are
    /// many.
    ///
    /// # Errors
    /// Of the database.
    pub async fn silent_devices(&self, deployment: Id, since: i64) -> Result<Vec<Id>, Error> {
        let mut query = silent(deployment, since);
        query.push(" LIMIT ");
        query.push_bind(AT_ONCE);
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter().map(|row| parsed(row, "device_id")).collect()
    }

    /// Gives up the places of those of these devices that are still silent; how many that were. `why` is for people.
    ///
    /// # Errors
    /// Of the database.
    pub async fn give_up(
        &self,
        deployment: Id,
        devices: Vec<Id>,
        since: i64,
        why: String,
        now: i64,
    ) -> Result<u64, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let mut lost: u64 = 0;
                for device in devices {
                    let mut query = silent(deployment, since);
                    query.push(" AND dd.device_id = ");
                    query.push_bind(device.to_string());
                    let row = query.build().fetch_optional(tx.connection()).await?;
                    // It may have been heard of meanwhile.
                    let Some(row) = row else { continue };
                    let status = parsed(&row, "status")?;
                    lose(tx, (deployment, device), status, &why, now).await?;
                    lost = lost.saturating_add(1);
                }
                if lost > 0 {
                    info!(deployment:% = deployment; "places of {lost} silent devices are free again");
                    // Devices that have been told to wait ask again.
                    tx.changed(Change::Deployments);
                    tx.changed(Change::Shown(Topic::Deployments));
                }
                Ok(lost)
            })
        })
        .await
    }
}

/// The silent devices of a deployment; to go on with further conditions on `dd`.
fn silent(deployment: Id, since: i64) -> QueryBuilder {
    let mut query = QueryBuilder::new(
        "SELECT dd.device_id, dd.status FROM device_deployments dd
         LEFT JOIN check_ins c ON c.device_id = dd.device_id
         WHERE dd.open = 1 AND dd.lost IS NULL AND dd.deployment_id = ",
    );
    query.push_bind(deployment.to_string());
    query.push(" AND COALESCE(dd.created, 0) <= ");
    query.push_bind(since);
    query.push(" AND COALESCE(c.at, 0) <= ");
    query.push_bind(since);
    query.push(" AND dd.status IN ");
    push_statuses(&mut query, |status: DeploymentStatus| !status.is_final());
    query
}

async fn lose(
    tx: &mut Tx,
    (deployment, device): (Id, Id),
    status: DeploymentStatus,
    why: &str,
    now: i64,
) -> Result<(), Error> {
    super::steps::record(tx, (deployment, device), status, Some(why), now).await?;
    let Some((plan, mut progress, _)) = rollouts::load(tx.connection(), deployment).await? else {
        return Ok(());
    };
    let stopped = progress.halt.is_some();
    let at = progress.lose(&plan, now);
    if let (false, Some(halt)) = (stopped, &progress.halt) {
        warn!(deployment:% = deployment; "deployment stopped itself: {}", halt.reason);
    }
    sql::query(
        "UPDATE device_deployments SET lost = $3, substate = $4 WHERE deployment_id = $1 AND device_id = $2",
    )
    .bind(deployment.to_string())
    .bind(device.to_string())
    .bind(at)
    .bind(why)
    .execute(tx.connection())
    .await?;
    rollouts::save(tx.connection(), deployment, &progress).await
}
