//! The logs that devices send after a failure.

use super::sql;
use super::writer::{Change, Topic};
use super::{Error, Id, Store};
use crate::deployment_log::DeploymentLog;

impl Store {
    /// Keeps the log of a deployment on a device, in the place of a former one; false if the device was not offered
    /// such a deployment.
    ///
    /// # Errors
    /// Of the database.
    pub async fn write_log(
        &self,
        deployment: Id,
        device: Id,
        log: DeploymentLog,
    ) -> Result<bool, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let done = sql::query(
                    "UPDATE device_deployments SET has_log = 1, reason = $3
                     WHERE deployment_id = $1 AND device_id = $2 AND status IS NOT NULL",
                )
                .bind(deployment.to_string())
                .bind(device.to_string())
                .bind(log.reason)
                .execute(tx.connection())
                .await?;
                if done.rows_affected() == 0 {
                    return Ok(false);
                }
                sql::query(
                    "INSERT INTO deployment_logs (deployment_id, device_id, text) VALUES ($1, $2, $3)
                     ON CONFLICT (deployment_id, device_id) DO UPDATE SET text = excluded.text",
                )
                .bind(deployment.to_string())
                .bind(device.to_string())
                .bind(log.text)
                .execute(tx.connection())
                .await?;
                tx.changed(Change::Shown(Topic::Deployments));
                Ok(true)
            })
        })
        .await
    }

    /// Removes the logs of deployments that ended before `time`, ms; how many there were.
    ///
    /// # Errors
    /// Of the database.
    pub async fn prune_logs(&self, time: i64) -> Result<u64, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                sql::query(
                    "UPDATE device_deployments SET has_log = 0
                     WHERE has_log = 1 AND deployment_id IN (SELECT id FROM deployments WHERE finished < $1)",
                )
                .bind(time)
                .execute(tx.connection())
                .await?;
                let done = sql::query(
                    "DELETE FROM deployment_logs
                     WHERE deployment_id IN (SELECT id FROM deployments WHERE finished < $1)",
                )
                .bind(time)
                .execute(tx.connection())
                .await?;
                Ok(done.rows_affected())
            })
        })
        .await
    }

    /// The log of a deployment on a device.
    ///
    /// # Errors
    /// Of the database.
    pub async fn log(&self, deployment: Id, device: Id) -> Result<Option<String>, Error> {
        let row = sql::query(
            "SELECT text FROM deployment_logs WHERE deployment_id = $1 AND device_id = $2",
        )
        .bind(deployment.to_string())
        .bind(device.to_string())
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| Ok(row.try_get(0)?)).transpose()
    }
}
