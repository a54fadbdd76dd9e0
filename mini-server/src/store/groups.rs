//! Static groups of devices: each device is in one or none.

use tandem_api::management::{DeviceStatus, Updated};

use super::devices::{parsed, unsigned};
use super::enrolment::enrol;
use super::sql::{self, QueryBuilder};
use super::writer::{Change, Topic, Tx};
use super::{Error, Id, Store, audit_log, push_ids};
use crate::audit::{Action, Kind};
use crate::paging::Window;

/// What became of a change of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouped {
    /// It is so now.
    Done,
    /// There is no such device, or it is not in that group.
    Missing,
}

impl Store {
    /// The names of all groups that have a device, or a device of one status.
    ///
    /// # Errors
    /// Of the database.
    pub async fn groups(&self, status: Option<DeviceStatus>) -> Result<Vec<String>, Error> {
        let rows = sql::query(
            "SELECT DISTINCT group_name FROM devices
             WHERE group_name IS NOT NULL AND ($1 IS NULL OR status = $1) ORDER BY group_name",
        )
        .bind(status.map(DeviceStatus::as_str))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// The group of a device; `None` if there is no such device.
    ///
    /// # Errors
    /// Of the database.
    pub async fn group_of(&self, device: Id) -> Result<Option<Option<String>>, Error> {
        let row = sql::query("SELECT group_name FROM devices WHERE id = $1")
            .bind(device.to_string())
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| Ok(row.try_get(0)?)).transpose()
    }

    /// Some of the devices of a group, and how many there are in all.
    ///
    /// # Errors
    /// Of the database.
    pub async fn group_devices(
        &self,
        group: &str,
        window: Window,
    ) -> Result<(Vec<Id>, u64), Error> {
        let row = sql::query("SELECT COUNT(*) FROM devices WHERE group_name = $1")
            .bind(group)
            .fetch_one(&self.readers)
            .await?;
        let total = unsigned(row.try_get(0)?);
        let rows = sql::query(
            "SELECT id FROM devices WHERE group_name = $1 ORDER BY created, id LIMIT $2 OFFSET $3",
        )
        .bind(group)
        .bind(window.limit)
        .bind(window.offset)
        .fetch_all(&self.readers)
        .await?;
        let ids = rows.iter().map(|row| parsed(row, "id"));
        Ok((ids.collect::<Result<_, Error>>()?, total))
    }

    /// Puts devices into a group, out of the one that they were in.
    ///
    /// # Errors
    /// Of the database.
    pub async fn add_to_group(&self, devices: Vec<Id>, group: String) -> Result<Updated, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let matched_count = count(tx.connection(), &devices).await?;
                let mut query = QueryBuilder::new("UPDATE devices SET group_name = ");
                query.push_bind(&group);
                query.push(" WHERE (group_name IS NULL OR group_name <> ");
                query.push_bind(&group);
                query.push(") AND id IN ");
                push_ids(&mut query, &devices);
                let done = query.build().execute(tx.connection()).await?;
                for device in &devices {
                    enrol(tx, *device).await?;
                }
                moved(tx);
                if done.rows_affected() > 0 {
                    let change = format!("with {}", audit_log::devices(&devices));
                    tx.audit(Action::Update, Kind::Group, &group, change)
                        .await?;
                }
                Ok(Updated {
                    matched_count,
                    updated_count: done.rows_affected(),
                })
            })
        })
        .await
    }

    /// Takes devices out of a group; all of them if none is named.
    ///
    /// # Errors
    /// Of the database.
    pub async fn remove_from_group(
        &self,
        devices: Option<Vec<Id>>,
        group: String,
    ) -> Result<Updated, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let mut query =
                    QueryBuilder::new("UPDATE devices SET group_name = NULL WHERE group_name = ");
                query.push_bind(&group);
                if let Some(devices) = &devices {
                    query.push(" AND id IN ");
                    push_ids(&mut query, devices);
                }
                let updated_count = query
                    .build()
                    .execute(tx.connection())
                    .await?
                    .rows_affected();
                let matched_count = match &devices {
                    Some(devices) => count(tx.connection(), devices).await?,
                    None => updated_count,
                };
                moved(tx);
                if updated_count > 0 {
                    let (action, change) = match &devices {
                        Some(devices) => {
                            let list = audit_log::devices(devices);
                            (Action::Update, format!("without {list}"))
                        }
                        None => (Action::Delete, format!("it had {updated_count} devices")),
                    };
                    tx.audit(action, Kind::Group, &group, change).await?;
                }
                Ok(Updated {
                    matched_count,
                    updated_count,
                })
            })
        })
        .await
    }

    /// Puts one device into a group, or takes it out of one.
    ///
    /// # Errors
    /// Of the database.
    pub async fn set_group(&self, device: Id, change: GroupChange) -> Result<Grouped, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let query = match &change {
                    GroupChange::Into(group) => {
                        sql::query("UPDATE devices SET group_name = $2 WHERE id = $1")
                            .bind(device.to_string())
                            .bind(group)
                    }
                    GroupChange::OutOf(group) => sql::query(
                        "UPDATE devices SET group_name = NULL WHERE id = $1 AND group_name = $2",
                    )
                    .bind(device.to_string())
                    .bind(group),
                };
                let done = query.execute(tx.connection()).await?;
                enrol(tx, device).await?;
                moved(tx);
                if done.rows_affected() == 0 {
                    return Ok(Grouped::Missing);
                }
                let change = match change {
                    GroupChange::Into(group) => format!("into group {group}"),
                    GroupChange::OutOf(group) => format!("out of group {group}"),
                };
                tx.audit(Action::Update, Kind::Device, device, change)
                    .await?;
                Ok(Grouped::Done)
            })
        })
        .await
    }
}

/// What is to change about the group of a device.
#[derive(Debug, Clone)]
pub enum GroupChange {
    /// It goes into this group.
    Into(String),
    /// It leaves this group.
    OutOf(String),
}

/// Devices are in other groups now, which may have other maintenance windows.
fn moved(tx: &mut Tx) {
    tx.changed(Change::Deployments);
    tx.changed(Change::Shown(Topic::Devices));
}

async fn count(connection: &mut super::Connection, devices: &[Id]) -> Result<u64, Error> {
    let mut query = QueryBuilder::new("SELECT COUNT(*) FROM devices WHERE id IN ");
    push_ids(&mut query, devices);
    let row = query.build().fetch_one(connection).await?;
    Ok(unsigned(row.try_get(0)?))
}
