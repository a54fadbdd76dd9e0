//! Who may begin: the plan and the progress of deployments, in their rows.

use super::devices::{parsed, parsed_or_null, signed, unsigned};
use super::sql::{self, QueryBuilder, Row};
use super::writer::{Change, Topic};
use super::{Connection, Error, Id, Store};
use crate::rollout::{Halt, Open, Plan, Progress, Prospects, StoppedBy, Window};

/// What a person does with a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Nobody begins any more; with the reason, which may be empty.
    Pause(String),
    /// It goes on.
    Resume,
    /// The next phase begins, whatever it waits for.
    Advance,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controlled {
    /// It is so now.
    Done,
    /// It was so before, or there is nothing to go on with.
    Unchanged,
    /// There is no such deployment.
    Missing,
    /// It has ended.
    Finished,
}

/// The columns of a deployment `d` that [`plan`] and [`progress`] read.
pub(super) const COLUMNS: &str =
    "d.plan, d.phases_begun, d.devices_started, d.devices_active, d.devices_settled,
    d.devices_updated, d.devices_failed, d.last_done, d.halted_by, d.halt_reason, d.halted_at, d.devices_lost,
    d.devices_missed, d.counting_since";

impl Store {
    /// What a device might be given.
    ///
    /// # Errors
    /// Of the database.
    pub async fn prospects(&self, device: Id) -> Result<Prospects, Error> {
        let mut query = open_of(device);
        query.push(" ORDER BY dd.sequence LIMIT 100");
        let rows = query.build().fetch_all(&self.readers).await?;
        prospects(&rows)
    }

    /// Has a person's word followed.
    ///
    /// # Errors
    /// Of the database.
    pub async fn control(&self, id: Id, control: Control, now: i64) -> Result<Controlled, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let Some((plan, mut progress, finished)) = load(tx.connection(), id).await? else {
                    return Ok(Controlled::Missing);
                };
                if finished {
                    return Ok(Controlled::Finished);
                }
                let changed = match &control {
                    Control::Pause(reason) => progress.pause(reason, now),
                    Control::Resume => progress.resume(&plan, now),
                    Control::Advance => progress.advance(&plan, now),
                };
                if !changed {
                    return Ok(Controlled::Unchanged);
                }
                save(tx.connection(), id, &progress).await?;
                // Devices that have been told to wait ask again.
                tx.changed(Change::Deployments);
                tx.changed(Change::Shown(Topic::Deployments));
                Ok(Controlled::Done)
            })
        })
        .await
    }

    /// How often artifacts failed on a device in other deployments than `but`; those that never did are left out.
    ///
    /// # Errors
    /// Of the database.
    pub async fn failures_on(&self, device: Id, but: Id) -> Result<Vec<(Id, u64)>, Error> {
        let rows = sql::query(
            "SELECT artifact_id, CAST(SUM(failures) AS BIGINT) AS failures FROM device_deployments
             WHERE device_id = $1 AND failures > 0 AND artifact_id IS NOT NULL AND deployment_id <> $2
             GROUP BY artifact_id",
        )
        .bind(device.to_string())
        .bind(but.to_string())
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok((
                    parsed(row, "artifact_id")?,
                    unsigned(row.try_get("failures")?),
                ))
            })
            .collect()
    }

    /// When devices of a group may be given something; always if absent.
    ///
    /// # Errors
    /// Of the database.
    pub async fn group_window(&self, group: &str) -> Result<Option<Window>, Error> {
        let row = sql::query("SELECT opens FROM group_windows WHERE name = $1")
            .bind(group)
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| from_json(row.try_get("opens")?)).transpose()
    }

    /// All maintenance windows of groups, by the name of the group.
    ///
    /// # Errors
    /// Of the database.
    pub async fn group_windows(&self) -> Result<Vec<(String, Window)>, Error> {
        let rows = sql::query("SELECT name, opens FROM group_windows ORDER BY name")
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| Ok((row.try_get("name")?, from_json(row.try_get("opens")?)?)))
            .collect()
    }

    /// Sets when devices of a group may be given something; always if absent.
    ///
    /// # Errors
    /// Of the database.
    pub async fn set_group_window(
        &self,
        group: String,
        window: Option<Window>,
    ) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                match window {
                    None => {
                        sql::query("DELETE FROM group_windows WHERE name = $1")
                            .bind(group)
                            .execute(tx.connection())
                            .await?;
                    }
                    Some(window) => {
                        sql::query(
                            "INSERT INTO group_windows (name, opens) VALUES ($1, $2)
                             ON CONFLICT (name) DO UPDATE SET opens = excluded.opens",
                        )
                        .bind(group)
                        .bind(to_json(&window)?)
                        .execute(tx.connection())
                        .await?;
                    }
                }
                tx.changed(Change::Deployments);
                tx.changed(Change::Shown(Topic::Devices));
                Ok(())
            })
        })
        .await
    }

    /// The release that a device stays with; `None` if there is no such device.
    ///
    /// # Errors
    /// Of the database.
    pub async fn pin_of(&self, device: Id) -> Result<Option<Option<String>>, Error> {
        let row = sql::query("SELECT pinned FROM devices WHERE id = $1")
            .bind(device.to_string())
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| Ok(row.try_get(0)?)).transpose()
    }

    /// Has a device stay with a release, or take what it is given again; false if there is no such device.
    ///
    /// # Errors
    /// Of the database.
    pub async fn pin(&self, device: Id, release: Option<String>) -> Result<bool, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let done = sql::query("UPDATE devices SET pinned = $2 WHERE id = $1")
                    .bind(device.to_string())
                    .bind(release)
                    .execute(tx.connection())
                    .await?;
                tx.changed(Change::Deployments);
                tx.changed(Change::Shown(Topic::Devices));
                Ok(done.rows_affected() > 0)
            })
        })
        .await
    }
}

/// What is open for a device; to go on with further conditions on `dd`, or an order.
fn open_of(device: Id) -> QueryBuilder {
    let mut query = QueryBuilder::new(
        "SELECT dd.deployment_id, dd.sequence, dd.status, dd.lost, dd.found_name, dd.artifact_id, dd.earliest,
                d.name AS deployment_name, d.artifact_name, d.forced, v.pinned, w.opens AS group_window,
                (SELECT MAX(done.sequence) FROM device_deployments done
                 WHERE done.device_id = dd.device_id AND done.open = 0 AND done.status IS NOT NULL
                   AND done.status <> 'noartifact') AS newest_done, ",
    );
    query.push(COLUMNS);
    query.push(
        " FROM device_deployments dd JOIN deployments d ON d.id = dd.deployment_id
          LEFT JOIN devices v ON v.id = dd.device_id LEFT JOIN group_windows w ON w.name = v.group_name
          WHERE dd.open = 1 AND dd.device_id = ",
    );
    query.push_bind(device.to_string());
    query
}

/// One deployment that is open for a device, as it is in this transaction.
pub(super) async fn open(
    connection: &mut Connection,
    deployment: Id,
    device: Id,
) -> Result<Prospects, Error> {
    let mut query = open_of(device);
    query.push(" AND dd.deployment_id = ");
    query.push_bind(deployment.to_string());
    let rows = query.build().fetch_all(connection).await?;
    prospects(&rows)
}

fn prospects(rows: &[Row]) -> Result<Prospects, Error> {
    let Some(first) = rows.first() else {
        return Ok(Prospects::default());
    };
    let window: Option<&str> = first.try_get("group_window")?;
    let open = rows.iter().map(|row| {
        Ok(Open {
            deployment: parsed(row, "deployment_id")?,
            name: row.try_get("deployment_name")?,
            sequence: row.try_get("sequence")?,
            status: parsed_or_null(row, "status")?,
            lost: row.try_get("lost")?,
            found_name: row.try_get("found_name")?,
            artifact: parsed_or_null(row, "artifact_id")?,
            artifact_name: row.try_get("artifact_name")?,
            forced: row.try_get::<i64, _>("forced")? != 0,
            earliest: usize::try_from(row.try_get::<i64, _>("earliest")?).unwrap_or_default(),
            plan: plan(row)?,
            progress: progress(row)?,
        })
    });
    Ok(Prospects {
        open: open.collect::<Result<_, Error>>()?,
        newest_done: first.try_get("newest_done")?,
        pinned: first.try_get("pinned")?,
        window: window.map(from_json).transpose()?,
    })
}

/// Plan and progress of a deployment, and whether it has ended.
pub(super) async fn load(
    connection: &mut Connection,
    deployment: Id,
) -> Result<Option<(Plan, Progress, bool)>, Error> {
    let mut query = QueryBuilder::new("SELECT d.finished, ");
    query.push(COLUMNS);
    query.push(" FROM deployments d WHERE d.id = ");
    query.push_bind(deployment.to_string());
    let row = query.build().fetch_optional(connection).await?;
    row.map(|row| {
        let finished: Option<i64> = row.try_get("finished")?;
        Ok((plan(&row)?, progress(&row)?, finished.is_some()))
    })
    .transpose()
}

/// Writes down the progress of a deployment.
pub(super) async fn save(
    connection: &mut Connection,
    deployment: Id,
    progress: &Progress,
) -> Result<(), Error> {
    let halt = progress.halt.as_ref();
    sql::query(
        "UPDATE deployments SET phases_begun = $2, devices_started = $3, devices_active = $4, devices_settled = $5,
                devices_updated = $6, devices_failed = $7, last_done = $8, halted_by = $9, halt_reason = $10,
                halted_at = $11, devices_lost = $12, devices_missed = $13, counting_since = $14
         WHERE id = $1",
    )
    .bind(deployment.to_string())
    .bind(i64::try_from(progress.begun).unwrap_or(i64::MAX))
    .bind(signed(progress.started))
    .bind(signed(progress.active))
    .bind(signed(progress.settled))
    .bind(signed(progress.updated))
    .bind(signed(progress.failed))
    .bind(progress.last_done)
    .bind(halt.map(|halt| halt.by.as_str()))
    .bind(halt.map(|halt| halt.reason.as_str()))
    .bind(halt.map(|halt| halt.at))
    .bind(signed(progress.lost))
    .bind(signed(progress.missed))
    .bind(progress.counting_since)
    .execute(connection)
    .await?;
    Ok(())
}

/// The plan in a row with [`COLUMNS`].
pub(super) fn plan(row: &Row) -> Result<Plan, Error> {
    let text: Option<&str> = row.try_get("plan")?;
    text.map_or_else(|| Ok(Plan::default()), from_json)
}

/// The progress in a row with [`COLUMNS`].
pub(super) fn progress(row: &Row) -> Result<Progress, Error> {
    let number = |column: &str| Ok::<_, Error>(unsigned(row.try_get(column)?));
    let by: Option<StoppedBy> = parsed_or_null(row, "halted_by")?;
    let halt = match by {
        None => None,
        Some(by) => Some(Halt {
            by,
            reason: row
                .try_get::<Option<String>, _>("halt_reason")?
                .unwrap_or_default(),
            at: row
                .try_get::<Option<i64>, _>("halted_at")?
                .unwrap_or_default(),
        }),
    };
    Ok(Progress {
        begun: usize::try_from(number("phases_begun")?).unwrap_or(usize::MAX),
        started: number("devices_started")?,
        active: number("devices_active")?,
        lost: number("devices_lost")?,
        missed: number("devices_missed")?,
        counting_since: row.try_get("counting_since")?,
        settled: number("devices_settled")?,
        updated: number("devices_updated")?,
        failed: number("devices_failed")?,
        last_done: row.try_get("last_done")?,
        halt,
    })
}

/// A value for a column of JSON.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|err| Error::corrupt(format!("a value for JSON: {err}")))
}

/// The value of a column of JSON.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|err| Error::corrupt(format!("a column of JSON: {err}")))
}
