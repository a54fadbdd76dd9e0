//! Deployments on single devices: what each was offered and what it reported.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row};
use tandem_api::DeploymentStatus;

use super::devices::{parsed, parsed_or_null, signed, unsigned};
use super::fleet::DAY;
use super::writer::{Change, Topic, Tx};
use super::{Db, Error, Id, Store};
use crate::paging::Window;
use crate::rollout::{Open, Prospects, Report, judge_report};

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

/// What became of an offer or a verdict for a device that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It is noted.
    Done,
    /// The deployment ended meanwhile.
    Gone,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It is noted; whether it changed anything.
    Done {
        /// The status is now another.
        changed: bool,
    },
    /// The device was not offered such a deployment.
    Missing,
    /// The deployment was aborted, or the device decommissioned.
    Conflict,
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

/// What was found out when a device asked.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The artifact that the device has.
    pub found_name: String,
    /// The artifact that it is to get, and its size, bytes.
    pub artifact: Option<(Id, u64)>,
    /// The status from now on.
    pub status: DeploymentStatus,
    /// Why, for people.
    pub substate: Option<String>,
}

/// Reports of one device on one deployment that are kept.
const EVENTS: i64 = 200;

impl Store {
    /// What a device might be given.
    ///
    /// # Errors
    /// Of the database.
    pub async fn prospects(&self, device: Id) -> Result<Prospects, Error> {
        let rows = sqlx::query(
            "SELECT dd.deployment_id, dd.sequence, dd.status, dd.found_name, dd.artifact_id,
                    d.artifact_name, d.forced
             FROM device_deployments dd JOIN deployments d ON d.id = dd.deployment_id
             WHERE dd.device_id = $1 AND dd.open = 1 ORDER BY dd.sequence LIMIT 100",
        )
        .bind(device.to_string())
        .fetch_all(&self.readers)
        .await?;
        if rows.is_empty() {
            return Ok(Prospects::default());
        }
        let open = rows.iter().map(|row| {
            Ok(Open {
                deployment: parsed(row, "deployment_id")?,
                sequence: row.try_get("sequence")?,
                status: parsed_or_null(row, "status")?,
                found_name: row.try_get("found_name")?,
                artifact: parsed_or_null(row, "artifact_id")?,
                artifact_name: row.try_get("artifact_name")?,
                forced: row.try_get::<i64, _>("forced")? != 0,
            })
        });
        let open = open.collect::<Result<_, Error>>()?;
        let row = sqlx::query(
            "SELECT MAX(sequence) FROM device_deployments
             WHERE device_id = $1 AND open = 0 AND status IS NOT NULL",
        )
        .bind(device.to_string())
        .fetch_one(&self.readers)
        .await?;
        Ok(Prospects {
            open,
            newest_done: row.try_get(0)?,
        })
    }

    /// Notes what a device is offered, or what was found when it asked.
    ///
    /// # Errors
    /// Of the database.
    pub async fn note(
        &self,
        deployment: Id,
        device: Id,
        finding: Finding,
        now: i64,
    ) -> Result<Noted, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let Some(row) = find(tx, deployment, device).await? else {
                    return Ok(Noted::Gone);
                };
                if row.try_get::<i64, _>("open")? == 0 {
                    return Ok(Noted::Gone);
                }
                let before: Option<DeploymentStatus> = parsed_or_null(&row, "status")?;
                sqlx::query(
                    "UPDATE device_deployments
                     SET created = COALESCE(created, $3), found_name = COALESCE(found_name, $4), artifact_id = $5
                     WHERE deployment_id = $1 AND device_id = $2",
                )
                .bind(deployment.to_string())
                .bind(device.to_string())
                .bind(now)
                .bind(finding.found_name)
                .bind(finding.artifact.map(|(id, _)| id.to_string()))
                .execute(tx.connection())
                .await?;
                if let (None, Some((_, size))) = (before, finding.artifact) {
                    sqlx::query("UPDATE deployments SET total_size = total_size + $2 WHERE id = $1")
                        .bind(deployment.to_string())
                        .bind(signed(size))
                        .execute(tx.connection())
                        .await?;
                }
                let step = Step {
                    deployment,
                    device,
                    before,
                    after: finding.status,
                    substate: finding.substate,
                    now,
                };
                step.take(tx).await?;
                Ok(Noted::Done)
            })
        })
        .await
    }

    /// Notes what a device reports.
    ///
    /// # Errors
    /// Of the database.
    pub async fn report(
        &self,
        deployment: Id,
        device: Id,
        status: DeploymentStatus,
        substate: Option<String>,
        now: i64,
    ) -> Result<Reported, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let Some(row) = find(tx, deployment, device).await? else {
                    return Ok(Reported::Missing);
                };
                let before: Option<DeploymentStatus> = parsed_or_null(&row, "status")?;
                let step = Step {
                    deployment,
                    device,
                    before,
                    after: status,
                    substate,
                    now,
                };
                match judge_report(before, status) {
                    Report::Unknown => Ok(Reported::Missing),
                    Report::Refused => Ok(Reported::Conflict),
                    Report::Late => {
                        step.record(tx).await?;
                        Ok(Reported::Done { changed: false })
                    }
                    Report::Counts => {
                        step.take(tx).await?;
                        let changed = before != Some(status);
                        Ok(Reported::Done { changed })
                    }
                }
            })
        })
        .await
    }

    /// The deployment on one device.
    ///
    /// # Errors
    /// Of the database.
    pub async fn device_deployment(
        &self,
        deployment: Id,
        device: Id,
    ) -> Result<Option<DeviceDeploymentRow>, Error> {
        let row = sqlx::query(
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
        let push = |query: &mut QueryBuilder<Db>| {
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
        let push = |query: &mut QueryBuilder<Db>| {
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
        let rows = sqlx::query(
            "SELECT device_id FROM device_deployments WHERE deployment_id = $1 ORDER BY device_id",
        )
        .bind(deployment.to_string())
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| parsed(row, "device_id")).collect()
    }

    /// Ends all active deployments of a device.
    ///
    /// # Errors
    /// Of the database.
    pub async fn abort_for_device(&self, device: Id, now: i64) -> Result<(), Error> {
        self.write(move |tx| Box::pin(end_for_device(tx, device, DeploymentStatus::Aborted, now)))
            .await
    }

    async fn list(
        &self,
        push: impl Fn(&mut QueryBuilder<Db>),
        order: &'static str,
        window: Option<Window>,
    ) -> Result<(Vec<DeviceDeploymentRow>, u64), Error> {
        let mut count = QueryBuilder::<Db>::new("SELECT COUNT(*)");
        push(&mut count);
        let row = count.build().fetch_one(&self.readers).await?;
        let total = unsigned(row.try_get(0)?);
        let mut query = QueryBuilder::<Db>::new("SELECT *");
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

/// A device that goes for good ends its deployments.
pub(super) async fn decommission(tx: &mut Tx, device: Id, now: i64) -> Result<(), Error> {
    end_for_device(tx, device, DeploymentStatus::Decommissioned, now).await
}

/// Ends a deployment on all devices that are not done with it.
pub(super) async fn abort_all(tx: &mut Tx, deployment: Id, now: i64) -> Result<(), Error> {
    let rows = sqlx::query(
        "SELECT device_id, status FROM device_deployments
         WHERE deployment_id = $1 AND open = 1 AND status IS NOT NULL",
    )
    .bind(deployment.to_string())
    .fetch_all(tx.connection())
    .await?;
    for row in rows {
        let step = Step {
            deployment,
            device: parsed(&row, "device_id")?,
            before: parsed_or_null(&row, "status")?,
            after: DeploymentStatus::Aborted,
            substate: None,
            now,
        };
        step.take(tx).await?;
    }
    // Those that never asked get nothing.
    sqlx::query("UPDATE device_deployments SET open = 0 WHERE deployment_id = $1 AND open = 1")
        .bind(deployment.to_string())
        .execute(tx.connection())
        .await?;
    Ok(())
}

async fn end_for_device(
    tx: &mut Tx,
    device: Id,
    after: DeploymentStatus,
    now: i64,
) -> Result<(), Error> {
    let rows = sqlx::query(
        "SELECT deployment_id, status FROM device_deployments WHERE device_id = $1 AND open = 1",
    )
    .bind(device.to_string())
    .fetch_all(tx.connection())
    .await?;
    for row in rows {
        let deployment = parsed(&row, "deployment_id")?;
        sqlx::query(
            "UPDATE device_deployments SET created = COALESCE(created, $3)
             WHERE deployment_id = $1 AND device_id = $2",
        )
        .bind(Id::to_string(&deployment))
        .bind(device.to_string())
        .bind(now)
        .execute(tx.connection())
        .await?;
        let step = Step {
            deployment,
            device,
            before: parsed_or_null(&row, "status")?,
            after,
            substate: None,
            now,
        };
        step.take(tx).await?;
    }
    Ok(())
}

/// One change of status, or one report that changes none.
struct Step {
    deployment: Id,
    device: Id,
    before: Option<DeploymentStatus>,
    after: DeploymentStatus,
    substate: Option<String>,
    now: i64,
}

impl Step {
    /// Makes the change, and all that follows from it for the deployment.
    async fn take(self, tx: &mut Tx) -> Result<(), Error> {
        let (started, finished) = (
            self.after != DeploymentStatus::Pending && !self.after.is_final(),
            self.after.is_final(),
        );
        sqlx::query(
            "UPDATE device_deployments
             SET status = $3, substate = $4, open = $5,
                 started = CASE WHEN $6 THEN COALESCE(started, $8) ELSE started END,
                 finished = CASE WHEN $7 THEN COALESCE(finished, $8) ELSE finished END
             WHERE deployment_id = $1 AND device_id = $2",
        )
        .bind(self.deployment.to_string())
        .bind(self.device.to_string())
        .bind(self.after.as_str())
        .bind(&self.substate)
        .bind(i64::from(!finished))
        .bind(started)
        .bind(finished)
        .bind(self.now)
        .execute(tx.connection())
        .await?;
        self.record(tx).await?;
        if self.before != Some(self.after) {
            self.count(tx).await?;
            self.advance(tx).await?;
            if finished {
                self.remember(tx).await?;
            }
        }
        tx.changed(Change::Shown(Topic::Deployments));
        Ok(())
    }

    /// Keeps what people are shown at a glance: the last outcome on the device, and the outcomes of the day.
    async fn remember(&self, tx: &mut Tx) -> Result<(), Error> {
        sqlx::query("UPDATE devices SET outcome = $2 WHERE id = $1")
            .bind(self.device.to_string())
            .bind(self.after.as_str())
            .execute(tx.connection())
            .await?;
        sqlx::query(
            "INSERT INTO outcomes_by_day (day, status, devices) VALUES ($1, $2, 1)
             ON CONFLICT (day, status) DO UPDATE SET devices = outcomes_by_day.devices + 1",
        )
        .bind(self.now.div_euclid(DAY))
        .bind(self.after.as_str())
        .execute(tx.connection())
        .await?;
        Ok(())
    }

    /// Keeps the report, whatever it says.
    async fn record(&self, tx: &mut Tx) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO deployment_events (deployment_id, device_id, number, at, status, substate)
             SELECT $1, $2, last + 1, $3, $4, $5 FROM
                 (SELECT COALESCE(MAX(number), 0) AS last FROM deployment_events
                  WHERE deployment_id = $1 AND device_id = $2) AS e
             WHERE last < $6",
        )
        .bind(self.deployment.to_string())
        .bind(self.device.to_string())
        .bind(self.now)
        .bind(self.after.as_str())
        .bind(&self.substate)
        .bind(EVENTS)
        .execute(tx.connection())
        .await?;
        Ok(())
    }

    async fn count(&self, tx: &mut Tx) -> Result<(), Error> {
        for (status, change) in [(self.before, -1), (Some(self.after), 1)] {
            let Some(status) = status else { continue };
            sqlx::query(
                "INSERT INTO deployment_statistics (deployment_id, status, devices) VALUES ($1, $2, $3)
                 ON CONFLICT (deployment_id, status)
                 DO UPDATE SET devices = deployment_statistics.devices + excluded.devices",
            )
            .bind(self.deployment.to_string())
            .bind(status.as_str())
            .bind(change)
            .execute(tx.connection())
            .await?;
        }
        Ok(())
    }

    /// The deployment has begun with its first device and ends with its last.
    async fn advance(&self, tx: &mut Tx) -> Result<(), Error> {
        if self.after != DeploymentStatus::Pending {
            sqlx::query(
                "UPDATE deployments SET status = 'inprogress' WHERE id = $1 AND status = 'pending'",
            )
            .bind(self.deployment.to_string())
            .execute(tx.connection())
            .await?;
        }
        if self.after.is_final() {
            let mut query =
                QueryBuilder::<Db>::new("UPDATE deployments SET status = 'finished', finished = ");
            query.push_bind(self.now);
            query.push(" WHERE finished IS NULL AND id = ");
            query.push_bind(self.deployment.to_string());
            query.push(
                " AND max_devices <= (SELECT SUM(devices) FROM deployment_statistics
                                      WHERE deployment_id = deployments.id AND status IN ",
            );
            push_statuses(&mut query, DeploymentStatus::is_final);
            query.push(")");
            query.build().execute(tx.connection()).await?;
        }
        Ok(())
    }
}

async fn find(tx: &mut Tx, deployment: Id, device: Id) -> Result<Option<SqliteRow>, Error> {
    let row = sqlx::query(
        "SELECT open, status FROM device_deployments WHERE deployment_id = $1 AND device_id = $2",
    )
    .bind(deployment.to_string())
    .bind(device.to_string())
    .fetch_optional(tx.connection())
    .await?;
    Ok(row)
}

pub(super) fn push_status(query: &mut QueryBuilder<Db>, filter: Option<StatusFilter>) {
    let Some(filter) = filter else { return };
    query.push(" AND status IN ");
    match filter {
        StatusFilter::Is(wanted) => push_statuses(query, |status| status == wanted),
        StatusFilter::Pause => push_statuses(query, DeploymentStatus::is_pause),
        StatusFilter::Active => push_statuses(query, |status| !status.is_final()),
        StatusFilter::Finished => push_statuses(query, DeploymentStatus::is_final),
    }
}

fn push_statuses(query: &mut QueryBuilder<Db>, wanted: impl Fn(DeploymentStatus) -> bool) {
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

pub(super) fn device_deployment(row: &SqliteRow) -> Result<DeviceDeploymentRow, Error> {
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
