//! Devices that join continuous deployments: when they are let in, and when what a filter asks for changes.

use tandem_api::management::{DeploymentFilter, DeviceStatus, Filter};

use super::devices::parsed;
use super::rollouts::from_json;
use super::search::{FROM, push_predicates};
use super::sql::{self, QueryBuilder};
use super::writer::{Change, Topic, Tx};
use super::{Error, Id};
use crate::filter::Predicate;

/// Has a device join the continuous deployments whose filter it fulfils now.
pub(super) async fn enrol(tx: &mut Tx, device: Id) -> Result<(), Error> {
    let deployments =
        sql::query("SELECT id, filter FROM deployments WHERE continuous = 1 ORDER BY sequence")
            .fetch_all(tx.connection())
            .await?;
    for row in deployments {
        let deployment: Id = parsed(&row, "id")?;
        let filter: DeploymentFilter = from_json(row.try_get("filter")?)?;
        if !matching(tx, &filter, Some(device)).await?.is_empty() {
            join(tx, deployment, device).await?;
        }
    }
    Ok(())
}

async fn join(tx: &mut Tx, deployment: Id, device: Id) -> Result<(), Error> {
    // Its own place in the order: what it joins now is newer for it than what it was given before.
    let sequence = next_sequence(tx).await?;
    let joined = sql::query(
        "INSERT INTO device_deployments (deployment_id, device_id, sequence, open, has_log) VALUES ($1, $2, $3, 1, 0)
         ON CONFLICT (deployment_id, device_id) DO NOTHING",
    )
    .bind(deployment.to_string())
    .bind(device.to_string())
    .bind(sequence)
    .execute(tx.connection())
    .await?;
    if joined.rows_affected() == 0 {
        return Ok(());
    }
    sql::query(
        "UPDATE deployments SET max_devices = max_devices + 1, last_joined = $2,
                continuous = CASE WHEN device_limit <= max_devices + 1 THEN 0 ELSE 1 END
         WHERE id = $1",
    )
    .bind(deployment.to_string())
    .bind(sequence)
    .execute(tx.connection())
    .await?;
    tx.changed(Change::Deployments);
    tx.changed(Change::Shown(Topic::Deployments));
    Ok(())
}

/// The place of the next deployment, or of the next device that joins one.
pub(super) async fn next_sequence(tx: &mut Tx) -> Result<i64, Error> {
    let row = sql::query(
        "SELECT COALESCE(MAX(n), 0) + 1 FROM (SELECT MAX(sequence) AS n FROM deployments
                                              UNION ALL SELECT MAX(last_joined) FROM deployments) AS s",
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(row.try_get(0)?)
}

/// The accepted devices that fulfil a filter, or the one of them that is asked for.
pub(super) async fn matching(
    tx: &mut Tx,
    filter: &DeploymentFilter,
    only: Option<Id>,
) -> Result<Vec<Id>, Error> {
    let predicates = predicates(&filter.terms).map_err(Error::corrupt)?;
    let mut query = QueryBuilder::new("SELECT d.id ");
    query.push(FROM);
    query.push(" WHERE d.status = ");
    query.push_bind(DeviceStatus::Accepted.as_str());
    if let Some(device) = only {
        query.push(" AND d.id = ");
        query.push_bind(device.to_string());
    }
    push_predicates(&mut query, &predicates);
    let rows = query.build().fetch_all(tx.connection()).await?;
    rows.iter().map(|row| parsed(row, "id")).collect()
}

/// The conditions of a filter.
///
/// # Errors
/// With the reason, if one makes no sense.
pub(super) fn predicates(terms: &[Filter]) -> Result<Vec<Predicate>, String> {
    terms.iter().map(Predicate::parse).collect()
}
