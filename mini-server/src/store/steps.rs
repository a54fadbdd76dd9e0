//! What happens to a deployment on one device: it is offered, reported on, done; and all that follows from that for the
//! deployment, in the same transaction.

use log::warn;
use tandem_api::DeploymentStatus;

use super::device_deployments::push_statuses;
use super::devices::{parsed, parsed_or_null, signed};
use super::fleet::DAY;
use super::rollouts;
use super::sql::{self, QueryBuilder, Row};
use super::writer::{Change, Topic, Tx};
use super::{Error, Id, Store};
use crate::rollout::{Held, Place, Report, judge_report};

/// What became of an offer or a verdict for a device that asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    /// It is noted.
    Done,
    /// The deployment ended meanwhile.
    Gone,
    /// Others were quicker, or somebody stopped it: the device may not begin now.
    Held(Held),
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
                // Decided here, where only one device is looked at at a time: two could not take the same place.
                let prospects = rollouts::open(tx.connection(), deployment, device).await?;
                let Some(open) = prospects.open.first() else {
                    return Ok(Noted::Gone);
                };
                let (before, place) = (open.status, Place::of(open.status, open.lost));
                let held = finding.artifact.and_then(|_| prospects.hold(open, now));
                if let Some(held) = held {
                    return Ok(Noted::Held(held));
                }
                sql::query(
                    "UPDATE device_deployments
                     SET created = COALESCE(created, $3), found_name = COALESCE(found_name, $4),
                         artifact_id = COALESCE($5, artifact_id)
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
                    sql::query("UPDATE deployments SET total_size = total_size + $2 WHERE id = $1")
                        .bind(deployment.to_string())
                        .bind(signed(size))
                        .execute(tx.connection())
                        .await?;
                }
                if finding.artifact.is_some() {
                    regain(tx, deployment, device, place).await?;
                }
                if before.is_none() && finding.status != DeploymentStatus::NoArtifact {
                    pass_over(tx, device, open.sequence, now).await?;
                }
                let step = Step {
                    deployment,
                    device,
                    before,
                    place,
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
                let mut step = Step {
                    deployment,
                    device,
                    before,
                    place: Place::of(before, row.try_get("lost")?),
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
                        if status == DeploymentStatus::Failure {
                            step.fail(tx).await?;
                        }
                        if !step.after.is_final() {
                            regain(tx, deployment, device, step.place).await?;
                        }
                        step.take(tx).await?;
                        let changed = before != Some(status);
                        Ok(Reported::Done { changed })
                    }
                }
            })
        })
        .await
    }

    /// Ends all active deployments of a device.
    ///
    /// # Errors
    /// Of the database.
    pub async fn abort_for_device(&self, device: Id, now: i64) -> Result<(), Error> {
        self.write(move |tx| Box::pin(end_for_device(tx, device, DeploymentStatus::Aborted, now)))
            .await
    }
}

/// A device that goes for good ends its deployments.
pub(super) async fn decommission(tx: &mut Tx, device: Id, now: i64) -> Result<(), Error> {
    end_for_device(tx, device, DeploymentStatus::Decommissioned, now).await
}

/// A device that was lost is heard of: it has a place again, if one is free.
async fn regain(tx: &mut Tx, deployment: Id, device: Id, place: Place) -> Result<(), Error> {
    let Place::Lost { at } = place else {
        return Ok(());
    };
    let Some((plan, mut progress, _)) = rollouts::load(tx.connection(), deployment).await? else {
        return Ok(());
    };
    if !progress.find(&plan, at) {
        return Ok(());
    }
    rollouts::save(tx.connection(), deployment, &progress).await?;
    sql::query(
        "UPDATE device_deployments SET lost = NULL WHERE deployment_id = $1 AND device_id = $2",
    )
    .bind(deployment.to_string())
    .bind(device.to_string())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Ends the older deployments of a device that it has not begun: nobody gets an older release after a newer one.
async fn pass_over(tx: &mut Tx, device: Id, sequence: i64, now: i64) -> Result<(), Error> {
    let rows = sql::query(
        "SELECT deployment_id, status, lost FROM device_deployments
         WHERE device_id = $1 AND open = 1 AND sequence < $2
           AND (status IS NULL OR status = 'pending' OR lost IS NOT NULL)",
    )
    .bind(device.to_string())
    .bind(sequence)
    .fetch_all(tx.connection())
    .await?;
    for row in rows {
        let deployment = parsed(&row, "deployment_id")?;
        asked(tx, deployment, device, now).await?;
        let mut step = Step::of(&row, (deployment, device), DeploymentStatus::Aborted, now)?;
        step.substate = Some("a newer deployment went first".to_owned());
        step.take(tx).await?;
    }
    Ok(())
}

/// Notes when a device heard of a deployment first.
async fn asked(tx: &mut Tx, deployment: Id, device: Id, now: i64) -> Result<(), Error> {
    sql::query(
        "UPDATE device_deployments SET created = COALESCE(created, $3)
         WHERE deployment_id = $1 AND device_id = $2",
    )
    .bind(deployment.to_string())
    .bind(device.to_string())
    .bind(now)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Ends a deployment on all devices that are not done with it.
pub(super) async fn abort_all(tx: &mut Tx, deployment: Id, now: i64) -> Result<(), Error> {
    let rows = sql::query(
        "SELECT device_id, status, lost FROM device_deployments
         WHERE deployment_id = $1 AND open = 1 AND status IS NOT NULL",
    )
    .bind(deployment.to_string())
    .fetch_all(tx.connection())
    .await?;
    for row in rows {
        let device = parsed(&row, "device_id")?;
        let step = Step::of(&row, (deployment, device), DeploymentStatus::Aborted, now)?;
        step.take(tx).await?;
    }
    // Those that never asked get nothing.
    sql::query("UPDATE device_deployments SET open = 0 WHERE deployment_id = $1 AND open = 1")
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
    let rows = sql::query(
        "SELECT deployment_id, status, lost FROM device_deployments WHERE device_id = $1 AND open = 1",
    )
    .bind(device.to_string())
    .fetch_all(tx.connection())
    .await?;
    for row in rows {
        let deployment = parsed(&row, "deployment_id")?;
        asked(tx, deployment, device, now).await?;
        let step = Step::of(&row, (deployment, device), after, now)?;
        step.take(tx).await?;
    }
    Ok(())
}

/// One change of status, or one report that changes none.
struct Step {
    deployment: Id,
    device: Id,
    before: Option<DeploymentStatus>,
    place: Place,
    after: DeploymentStatus,
    substate: Option<String>,
    now: i64,
}

impl Step {
    /// One of the device in this row, which has its `status` and when it was `lost`.
    fn of(
        row: &Row,
        (deployment, device): (Id, Id),
        after: DeploymentStatus,
        now: i64,
    ) -> Result<Self, Error> {
        let before = parsed_or_null(row, "status")?;
        Ok(Self {
            deployment,
            device,
            before,
            place: Place::of(before, row.try_get("lost")?),
            after,
            substate: None,
            now,
        })
    }

    /// Counts a failure. Where the device is to try again the deployment is as if it was just offered.
    async fn fail(&mut self, tx: &mut Tx) -> Result<(), Error> {
        let row = sql::query(
            "UPDATE device_deployments SET failures = failures + 1 WHERE deployment_id = $1 AND device_id = $2
             RETURNING failures",
        )
        .bind(self.deployment.to_string())
        .bind(self.device.to_string())
        .fetch_one(tx.connection())
        .await?;
        let failures: i64 = row.try_get(0)?;
        let plan = rollouts::load(tx.connection(), self.deployment)
            .await?
            .map(|(plan, _, _)| plan)
            .unwrap_or_default();
        if failures <= i64::from(plan.retries) {
            self.record(tx).await?;
            let why = self.substate.take().map(|text| format!(": {text}"));
            self.after = DeploymentStatus::Pending;
            self.substate = Some(format!(
                "failed, is offered again ({failures} of {}){}",
                plan.retries,
                why.unwrap_or_default()
            ));
        }
        Ok(())
    }

    /// Makes the change, and all that follows from it for the deployment.
    async fn take(self, tx: &mut Tx) -> Result<(), Error> {
        let (started, finished) = (
            self.after != DeploymentStatus::Pending && !self.after.is_final(),
            self.after.is_final(),
        );
        sql::query(
            "UPDATE device_deployments
             SET status = $3, substate = $4, open = $5, lost = CASE WHEN $7 THEN NULL ELSE lost END,
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
            if self.before.is_none() || finished {
                self.progress(tx).await?;
            }
            self.advance(tx).await?;
            if finished {
                self.remember(tx).await?;
            }
        }
        tx.changed(Change::Shown(Topic::Deployments));
        Ok(())
    }

    /// Keeps what decides who may begin next.
    async fn progress(&self, tx: &mut Tx) -> Result<(), Error> {
        let Some((plan, mut progress, _)) =
            rollouts::load(tx.connection(), self.deployment).await?
        else {
            return Ok(());
        };
        let stopped = progress.halt.is_some();
        if self.after.is_final() {
            progress.finish(&plan, self.place, self.after, self.now);
        } else {
            progress.start(&plan, self.now);
        }
        if let (false, Some(halt)) = (stopped, &progress.halt) {
            warn!(deployment:% = self.deployment; "deployment stopped itself: {}", halt.reason);
        }
        rollouts::save(tx.connection(), self.deployment, &progress).await
    }

    /// Keeps what people are shown at a glance: the last outcome on the device, and the outcomes of the day.
    async fn remember(&self, tx: &mut Tx) -> Result<(), Error> {
        sql::query("UPDATE devices SET outcome = $2 WHERE id = $1")
            .bind(self.device.to_string())
            .bind(self.after.as_str())
            .execute(tx.connection())
            .await?;
        sql::query(
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
        let whom = (self.deployment, self.device);
        record(tx, whom, self.after, self.substate.as_deref(), self.now).await
    }

    async fn count(&self, tx: &mut Tx) -> Result<(), Error> {
        for (status, change) in [(self.before, -1), (Some(self.after), 1)] {
            let Some(status) = status else { continue };
            sql::query(
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
            sql::query(
                "UPDATE deployments SET status = 'inprogress' WHERE id = $1 AND status = 'pending'",
            )
            .bind(self.deployment.to_string())
            .execute(tx.connection())
            .await?;
        }
        if self.after.is_final() {
            end_if_done(tx, self.deployment, self.now).await?;
        }
        Ok(())
    }
}

/// Keeps what was heard about a deployment on a device, or that nothing was.
pub(super) async fn record(
    tx: &mut Tx,
    (deployment, device): (Id, Id),
    status: DeploymentStatus,
    substate: Option<&str>,
    now: i64,
) -> Result<(), Error> {
    sql::query(
        "INSERT INTO deployment_events (deployment_id, device_id, number, at, status, substate)
         SELECT $1, $2, last + 1, $3, $4, $5 FROM
             (SELECT COALESCE(MAX(number), 0) AS last FROM deployment_events
              WHERE deployment_id = $1 AND device_id = $2) AS e
         WHERE last < $6",
    )
    .bind(deployment.to_string())
    .bind(device.to_string())
    .bind(now)
    .bind(status.as_str())
    .bind(substate)
    .bind(EVENTS)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Ends a deployment if all its devices are done.
pub(super) async fn end_if_done(tx: &mut Tx, deployment: Id, now: i64) -> Result<(), Error> {
    let mut query = QueryBuilder::new("UPDATE deployments SET status = 'finished', finished = ");
    query.push_bind(now);
    query.push(" WHERE finished IS NULL AND continuous = 0 AND id = ");
    query.push_bind(deployment.to_string());
    query.push(
        " AND max_devices <= (SELECT COALESCE(SUM(devices), 0) FROM deployment_statistics
                              WHERE deployment_id = deployments.id AND status IN ",
    );
    push_statuses(&mut query, DeploymentStatus::is_final);
    query.push(")");
    query.build().execute(tx.connection()).await?;
    Ok(())
}

async fn find(tx: &mut Tx, deployment: Id, device: Id) -> Result<Option<Row>, Error> {
    let row = sql::query(
        "SELECT open, status, lost FROM device_deployments WHERE deployment_id = $1 AND device_id = $2",
    )
    .bind(deployment.to_string())
    .bind(device.to_string())
    .fetch_optional(tx.connection())
    .await?;
    Ok(row)
}
