//! Devices: who they are and what became of them.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

use tandem_api::management::{AuthSetStatus, DeviceStatus};

use super::sql::{self, Pool, QueryBuilder, Row};
use super::writer::{Change, Tx};
use super::{Connection, Error, Id, Store, enrolment, push_ids, steps};
use crate::audit::{Action, Kind};
use crate::identity::Identity;
use crate::paging::{Page, Window};

/// A device.
#[derive(Debug, Clone)]
pub struct DeviceRow {
    /// Identifies it to operators.
    pub id: Id,
    /// What it says it is: normalised JSON.
    pub identity: String,
    /// The best of its auth sets.
    pub status: DeviceStatus,
    /// When it first knocked, ms.
    pub created: i64,
    /// When its admission changed last, ms.
    pub updated: i64,
    /// When it was heard from last, ms.
    pub check_in: Option<i64>,
    /// The keys it came with.
    pub auth_sets: Vec<AuthSetRow>,
}

/// A key that a device came with.
#[derive(Debug, Clone)]
pub struct AuthSetRow {
    /// Identifies it.
    pub id: Id,
    /// Normalised PEM.
    pub pubkey: String,
    /// Whether the device is let in with it.
    pub status: AuthSetStatus,
    /// When the device first came with it, ms.
    pub created: i64,
}

/// Which devices.
#[derive(Debug, Clone, Default)]
pub struct DeviceFilter {
    /// Those with one of these, unless empty.
    pub status: Vec<DeviceStatus>,
    /// Those among these, unless absent.
    pub ids: Option<Vec<Id>>,
}

impl Store {
    /// Some of the devices, the oldest first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn devices(
        &self,
        filter: &DeviceFilter,
        window: Window,
    ) -> Result<Vec<DeviceRow>, Error> {
        let mut query = QueryBuilder::new(
            "SELECT d.id, d.identity, d.status, d.created, d.updated, c.at AS check_in
             FROM devices d LEFT JOIN check_ins c ON c.device_id = d.id WHERE 1 = 1",
        );
        if !filter.status.is_empty() {
            query.push(" AND d.status IN (");
            let mut list = query.separated(", ");
            for status in &filter.status {
                list.push_bind(status.as_str());
            }
            query.push(")");
        }
        if let Some(ids) = &filter.ids {
            query.push(" AND d.id IN ");
            push_ids(&mut query, ids);
        }
        query.push(" ORDER BY d.created, d.id LIMIT ");
        query.push_bind(window.limit);
        query.push(" OFFSET ");
        query.push_bind(window.offset);
        let rows = query.build().fetch_all(&self.readers).await?;
        let mut devices = rows.iter().map(device).collect::<Result<Vec<_>, _>>()?;
        add_auth_sets(&self.readers, &mut devices).await?;
        Ok(devices)
    }

    /// One device.
    ///
    /// # Errors
    /// Of the database.
    pub async fn device(&self, id: Id) -> Result<Option<DeviceRow>, Error> {
        let filter = DeviceFilter {
            ids: Some(vec![id]),
            ..DeviceFilter::default()
        };
        Ok(self.devices(&filter, Page::first(1).window()).await?.pop())
    }

    /// How many devices there are, of one status or of all.
    ///
    /// # Errors
    /// Of the database.
    pub async fn count_devices(&self, status: Option<DeviceStatus>) -> Result<u64, Error> {
        let row = sql::query(
            "SELECT CAST(COALESCE(SUM(devices), 0) AS BIGINT) FROM device_counts
             WHERE $1 IS NULL OR status = $1",
        )
        .bind(status.map(DeviceStatus::as_str))
        .fetch_one(&self.readers)
        .await?;
        Ok(unsigned(row.try_get(0)?))
    }

    /// Forgets a device for good; false if there is none. Its deployments end as `decommissioned`; if it comes again
    /// it is a new device.
    ///
    /// # Errors
    /// Of the database.
    pub async fn decommission(&self, id: Id, now: i64) -> Result<bool, Error> {
        self.write(move |tx| Box::pin(remove(tx, id, now))).await
    }

    /// Notes when devices were heard from, ms.
    ///
    /// # Errors
    /// Of the database.
    pub async fn record_check_ins(&self, check_ins: Vec<(Id, i64)>) -> Result<(), Error> {
        for chunk in check_ins.chunks(400) {
            let chunk = chunk.to_vec();
            self.write(move |tx| {
                Box::pin(async move {
                    let mut query = QueryBuilder::new(
                        "INSERT INTO check_ins (device_id, at)
                         SELECT v.column1, v.column2 FROM (",
                    );
                    query.push_values(chunk, |mut row, (id, at)| {
                        row.push_bind(id.to_string()).push_bind(at);
                    });
                    // A device may have gone meanwhile.
                    query.push(
                        ") AS v JOIN devices d ON d.id = v.column1 WHERE 1 = 1
                         ON CONFLICT (device_id) DO UPDATE SET at = excluded.at",
                    );
                    query.build().execute(tx.connection()).await?;
                    Ok(())
                })
            })
            .await?;
        }
        Ok(())
    }
}

/// The work of [`Store::decommission`].
pub(super) async fn remove(tx: &mut Tx, id: Id, now: i64) -> Result<bool, Error> {
    let Some(status) = status(tx.connection(), id).await? else {
        return Ok(false);
    };
    tx.audit(Action::Decommission, Kind::Device, id, "").await?;
    steps::decommission(tx, id, now).await?;
    sql::query("DELETE FROM devices WHERE id = $1")
        .bind(id.to_string())
        .execute(tx.connection())
        .await?;
    count(tx.connection(), status, -1).await?;
    tx.changed(Change::Device(id));
    Ok(true)
}

/// Adds a device, which has this status by the auth set that it is to get, and has been counted.
pub(super) async fn insert(
    tx: &mut Tx,
    id: Id,
    identity: &Identity,
    status: DeviceStatus,
    now: i64,
) -> Result<(), Error> {
    sql::query(
        "INSERT INTO devices (id, identity_hash, identity, status, created, updated)
         VALUES ($1, $2, $3, $5, $4, $4)",
    )
    .bind(id.to_string())
    .bind(identity.hash().to_string())
    .bind(identity.as_str())
    .bind(now)
    .bind(status.as_str())
    .execute(tx.connection())
    .await?;
    super::attributes::insert_identity(tx.connection(), id, identity, now).await
}

/// Sets the status of a device to the best of its auth sets.
pub(super) async fn refresh_status(tx: &mut Tx, id: Id, now: i64) -> Result<(), Error> {
    let Some(before) = status(tx.connection(), id).await? else {
        return Ok(());
    };
    let rows = sql::query("SELECT DISTINCT status FROM auth_sets WHERE device_id = $1")
        .bind(id.to_string())
        .fetch_all(tx.connection())
        .await?;
    let statuses = rows
        .iter()
        .map(|row| parsed(row, "status"))
        .collect::<Result<Vec<AuthSetStatus>, _>>()?;
    let after = DeviceStatus::of(&statuses);
    sql::query("UPDATE devices SET status = $2, updated = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(after.as_str())
        .bind(now)
        .execute(tx.connection())
        .await?;
    if before != after {
        count(tx.connection(), before, -1).await?;
        count(tx.connection(), after, 1).await?;
        enrolment::enrol(tx, id).await?;
    }
    tx.changed(Change::Device(id));
    Ok(())
}

/// How many devices of a status there are, inside a transaction.
pub(super) async fn counted(
    connection: &mut Connection,
    status: DeviceStatus,
) -> Result<u64, Error> {
    let row = sql::query("SELECT devices FROM device_counts WHERE status = $1")
        .bind(status.as_str())
        .fetch_one(connection)
        .await?;
    Ok(unsigned(row.try_get(0)?))
}

/// Counts one more device of a status if there are fewer than `limit` of them; whether it did.
pub(super) async fn count_below(
    connection: &mut Connection,
    status: DeviceStatus,
    limit: u64,
) -> Result<bool, Error> {
    let done = sql::query(
        "UPDATE device_counts SET devices = devices + 1 WHERE status = $1 AND devices < $2",
    )
    .bind(status.as_str())
    .bind(signed(limit))
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn count(
    connection: &mut Connection,
    status: DeviceStatus,
    change: i64,
) -> Result<(), Error> {
    sql::query("UPDATE device_counts SET devices = devices + $2 WHERE status = $1")
        .bind(status.as_str())
        .bind(change)
        .execute(connection)
        .await?;
    Ok(())
}

async fn status(connection: &mut Connection, id: Id) -> Result<Option<DeviceStatus>, Error> {
    let row = sql::query("SELECT status FROM devices WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    row.map(|row| parsed(&row, "status")).transpose()
}

async fn add_auth_sets(readers: &Pool, devices: &mut [DeviceRow]) -> Result<(), Error> {
    if devices.is_empty() {
        return Ok(());
    }
    let ids: Vec<Id> = devices.iter().map(|device| device.id).collect();
    let mut query = QueryBuilder::new(
        "SELECT device_id, id, pubkey, status, created FROM auth_sets WHERE device_id IN ",
    );
    push_ids(&mut query, &ids);
    query.push(" ORDER BY created, id");
    let mut sets: HashMap<Id, Vec<AuthSetRow>> = HashMap::new();
    for row in query.build().fetch_all(readers).await? {
        let set = AuthSetRow {
            id: parsed(&row, "id")?,
            pubkey: row.try_get("pubkey")?,
            status: parsed(&row, "status")?,
            created: row.try_get("created")?,
        };
        sets.entry(parsed(&row, "device_id")?)
            .or_default()
            .push(set);
    }
    for device in devices {
        device.auth_sets = sets.remove(&device.id).unwrap_or_default();
    }
    Ok(())
}

fn device(row: &Row) -> Result<DeviceRow, Error> {
    Ok(DeviceRow {
        id: parsed(row, "id")?,
        identity: row.try_get("identity")?,
        status: parsed(row, "status")?,
        created: row.try_get("created")?,
        updated: row.try_get("updated")?,
        check_in: row.try_get("check_in")?,
        auth_sets: Vec::new(),
    })
}

/// A column that holds the text form of a `T`.
pub(super) fn parsed<T: FromStr<Err: Display>>(row: &Row, column: &str) -> Result<T, Error> {
    let text: &str = row.try_get(column)?;
    text.parse()
        .map_err(|err| Error::corrupt(format!("column {column}: {err}")))
}

/// The same for a column that may be empty.
pub(super) fn parsed_or_null<T: FromStr<Err: Display>>(
    row: &Row,
    column: &str,
) -> Result<Option<T>, Error> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| {
        text.parse()
            .map_err(|err| Error::corrupt(format!("column {column}: {err}")))
    })
    .transpose()
}

/// A count or size, which is never negative.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// A count or size for the database.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
