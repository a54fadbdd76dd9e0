//! Letting devices in: the keys they come with, and what was decided about them.

use tandem_api::management::{AuthSetStatus, DeviceStatus};

use super::devices::{self, parsed};
use super::sql::{self, Row};
use super::writer::{Change, Tx};
use super::{Error, Id, Store};
use crate::audit::{Action, Kind};
use crate::identity::Identity;
use crate::secret::new_id;

/// What a device's token is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The device.
    pub device: Id,
    /// The key with which it is let in.
    pub auth_set: Id,
    /// Tokens of another generation are revoked.
    pub generation: i64,
}

/// What became of a device that knocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knock {
    /// It is let in.
    Accepted(Grant),
    /// Nobody has decided yet, or it was decided against it.
    Refused {
        /// Whether the server had not seen it, or not with this key, before.
        new: bool,
    },
    /// It is new, and too many are waiting already.
    Full,
}

/// What is known about the bearer of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The device.
    pub device: Id,
    /// The generation of tokens that is good.
    pub generation: i64,
    /// Whether the device is let in with this key.
    pub accepted: bool,
}

/// What became of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is so now.
    Done,
    /// There is no such auth set.
    Missing,
    /// From its status there is no way to the wanted one.
    Forbidden,
    /// No more devices may be accepted.
    OverLimit,
}

/// What became of a preauthorization.
#[derive(Debug)]
pub enum Preauthorization {
    /// The device is expected; its identifier.
    Done(Id),
    /// There is a device with this identity already; its identifier.
    Exists(Id),
}

/// How many devices may be in.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Accepted.
    pub accepted: Option<u64>,
    /// Waiting for a decision.
    pub pending: u64,
}

/// Keys that one device may have waiting: whoever knows an identity can send more.
const KEYS_PER_DEVICE: i64 = 16;

impl Store {
    /// A device came with a key that it has proven to own. What is known about it without writing anything: `None` if
    /// something has to be written.
    ///
    /// # Errors
    /// Of the database.
    pub async fn recognize(
        &self,
        identity: &Identity,
        pubkey: &str,
    ) -> Result<Option<Knock>, Error> {
        let row = sql::query(
            "SELECT s.id, s.device_id, s.status, s.token_generation
             FROM devices d JOIN auth_sets s ON s.device_id = d.id
             WHERE d.identity_hash = $1 AND s.pubkey = $2",
        )
        .bind(identity.hash().to_string())
        .bind(pubkey)
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(match parsed(&row, "status")? {
            AuthSetStatus::Accepted => Some(Knock::Accepted(grant(&row)?)),
            AuthSetStatus::Pending | AuthSetStatus::Rejected => Some(Knock::Refused { new: false }),
            AuthSetStatus::Preauthorized => None,
        })
    }

    /// The same, and notes the device and its key if they are new. A preauthorized key is accepted now.
    ///
    /// # Errors
    /// Of the database.
    pub async fn knock(
        &self,
        identity: Identity,
        pubkey: String,
        limits: Limits,
        now: i64,
    ) -> Result<Knock, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let Some(device) = find_device(tx, &identity).await? else {
                    let pending = DeviceStatus::Pending;
                    if !devices::count_below(tx.connection(), pending, limits.pending).await? {
                        return Ok(Knock::Full);
                    }
                    let status = AuthSetStatus::Pending;
                    let device = insert_device(tx, &identity, &pubkey, status, now).await?;
                    tx.audit(Action::Enrol, Kind::Device, device, "status: pending")
                        .await?;
                    return Ok(Knock::Refused { new: true });
                };
                let Some(row) = find_auth_set(tx, device, &pubkey).await? else {
                    if count_auth_sets(tx, device).await? >= KEYS_PER_DEVICE {
                        return Ok(Knock::Full);
                    }
                    insert_auth_set(tx, device, &pubkey, AuthSetStatus::Pending, now).await?;
                    devices::refresh_status(tx, device, now).await?;
                    tx.audit(Action::Enrol, Kind::Device, device, "with another key")
                        .await?;
                    return Ok(Knock::Refused { new: true });
                };
                match parsed(&row, "status")? {
                    AuthSetStatus::Accepted => return Ok(Knock::Accepted(grant(&row)?)),
                    AuthSetStatus::Pending | AuthSetStatus::Rejected => {
                        return Ok(Knock::Refused { new: false });
                    }
                    AuthSetStatus::Preauthorized => {}
                }
                if over_limit(tx, device, limits).await? {
                    return Ok(Knock::Refused { new: false });
                }
                let grant = grant(&row)?;
                accept(tx, device, grant.auth_set, now).await?;
                let change = format!("preauthorized key {} has come", grant.auth_set);
                tx.audit(Action::Accept, Kind::Device, device, change)
                    .await?;
                Ok(Knock::Accepted(grant))
            })
        })
        .await
    }

    /// What is known about the bearer of a token for `auth_set`.
    ///
    /// # Errors
    /// Of the database.
    pub async fn session(&self, auth_set: Id) -> Result<Option<Session>, Error> {
        let row =
            sql::query("SELECT device_id, status, token_generation FROM auth_sets WHERE id = $1")
                .bind(auth_set.to_string())
                .fetch_optional(&self.readers)
                .await?;
        row.map(|row| {
            Ok(Session {
                device: parsed(&row, "device_id")?,
                generation: row.try_get("token_generation")?,
                accepted: parsed::<AuthSetStatus>(&row, "status")? == AuthSetStatus::Accepted,
            })
        })
        .transpose()
    }

    /// Decides about a device and a key.
    ///
    /// # Errors
    /// Of the database.
    pub async fn decide(
        &self,
        device: Id,
        auth_set: Id,
        wanted: AuthSetStatus,
        limits: Limits,
        now: i64,
    ) -> Result<Decision, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let row =
                    sql::query("SELECT status FROM auth_sets WHERE id = $1 AND device_id = $2")
                        .bind(auth_set.to_string())
                        .bind(device.to_string())
                        .fetch_optional(tx.connection())
                        .await?;
                let Some(row) = row else {
                    return Ok(Decision::Missing);
                };
                let status: AuthSetStatus = parsed(&row, "status")?;
                if status == wanted {
                    return Ok(Decision::Done);
                }
                match (status, wanted) {
                    (AuthSetStatus::Pending | AuthSetStatus::Rejected, AuthSetStatus::Accepted) => {
                        if over_limit(tx, device, limits).await? {
                            return Ok(Decision::OverLimit);
                        }
                        accept(tx, device, auth_set, now).await?;
                    }
                    (AuthSetStatus::Pending | AuthSetStatus::Accepted, AuthSetStatus::Rejected)
                    | (AuthSetStatus::Accepted | AuthSetStatus::Rejected, AuthSetStatus::Pending) =>
                    {
                        set_status(tx, auth_set, wanted).await?;
                        devices::refresh_status(tx, device, now).await?;
                    }
                    (
                        AuthSetStatus::Pending
                        | AuthSetStatus::Accepted
                        | AuthSetStatus::Rejected
                        | AuthSetStatus::Preauthorized,
                        _,
                    ) => return Ok(Decision::Forbidden),
                }
                let action = match wanted {
                    AuthSetStatus::Accepted => Action::Accept,
                    AuthSetStatus::Rejected => Action::Reject,
                    AuthSetStatus::Pending | AuthSetStatus::Preauthorized => Action::Update,
                };
                let change = format!("key {auth_set}: {status} to {wanted}");
                tx.audit(action, Kind::Device, device, change).await?;
                Ok(Decision::Done)
            })
        })
        .await
    }

    /// Announces a device. With `force` also one that there is already: the key is added to it.
    ///
    /// # Errors
    /// Of the database.
    pub async fn preauthorize(
        &self,
        identity: Identity,
        pubkey: String,
        force: bool,
        now: i64,
    ) -> Result<Preauthorization, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let Some(device) = find_device(tx, &identity).await? else {
                    let status = AuthSetStatus::Preauthorized;
                    devices::count(tx.connection(), DeviceStatus::Preauthorized, 1).await?;
                    let device = insert_device(tx, &identity, &pubkey, status, now).await?;
                    tx.audit(Action::Preauthorize, Kind::Device, device, "")
                        .await?;
                    return Ok(Preauthorization::Done(device));
                };
                if !force {
                    return Ok(Preauthorization::Exists(device));
                }
                match find_auth_set(tx, device, &pubkey).await? {
                    None => {
                        let status = AuthSetStatus::Preauthorized;
                        insert_auth_set(tx, device, &pubkey, status, now).await?;
                    }
                    Some(row) => match parsed(&row, "status")? {
                        AuthSetStatus::Accepted | AuthSetStatus::Preauthorized => {}
                        AuthSetStatus::Pending | AuthSetStatus::Rejected => {
                            let id = parsed(&row, "id")?;
                            set_status(tx, id, AuthSetStatus::Preauthorized).await?;
                        }
                    },
                }
                devices::refresh_status(tx, device, now).await?;
                tx.audit(
                    Action::Preauthorize,
                    Kind::Device,
                    device,
                    "with another key",
                )
                .await?;
                Ok(Preauthorization::Done(device))
            })
        })
        .await
    }

    /// Forgets a key of a device; false if there is no such key. A device that was only announced goes with it.
    ///
    /// # Errors
    /// Of the database.
    pub async fn dismiss(&self, device: Id, auth_set: Id, now: i64) -> Result<bool, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let row = sql::query(
                    "DELETE FROM auth_sets WHERE id = $1 AND device_id = $2 RETURNING status",
                )
                .bind(auth_set.to_string())
                .bind(device.to_string())
                .fetch_optional(tx.connection())
                .await?;
                let Some(row) = row else { return Ok(false) };
                let status: AuthSetStatus = parsed(&row, "status")?;
                let change = format!("key {auth_set}, which was {status}");
                tx.audit(Action::Dismiss, Kind::Device, device, change)
                    .await?;
                devices::refresh_status(tx, device, now).await?;
                if status == AuthSetStatus::Preauthorized && count_auth_sets(tx, device).await? == 0
                {
                    devices::remove(tx, device, now).await?;
                }
                Ok(true)
            })
        })
        .await
    }

    /// Revokes the tokens that were made for `auth_set`; false if there is none. The device may ask for a new one.
    ///
    /// # Errors
    /// Of the database.
    pub async fn revoke_tokens(&self, auth_set: Id) -> Result<bool, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let row = sql::query(
                    "UPDATE auth_sets SET token_generation = token_generation + 1
                     WHERE id = $1 AND status = 'accepted' RETURNING device_id",
                )
                .bind(auth_set.to_string())
                .fetch_optional(tx.connection())
                .await?;
                let Some(row) = row else { return Ok(false) };
                let device = parsed(&row, "device_id")?;
                tx.changed(Change::Device(device));
                tx.audit(Action::Revoke, Kind::Device, device, "its tokens")
                    .await?;
                Ok(true)
            })
        })
        .await
    }
}

fn grant(row: &Row) -> Result<Grant, Error> {
    Ok(Grant {
        device: parsed(row, "device_id")?,
        auth_set: parsed(row, "id")?,
        generation: row.try_get("token_generation")?,
    })
}

/// Adds a device, which has been counted, with its first key. A fleet that is switched on for the first time is a thousand of these a second:
/// it takes as few statements as it can.
async fn insert_device(
    tx: &mut Tx,
    identity: &Identity,
    pubkey: &str,
    status: AuthSetStatus,
    now: i64,
) -> Result<Id, Error> {
    let device = new_id();
    devices::insert(tx, device, identity, DeviceStatus::of(&[status]), now).await?;
    insert_auth_set(tx, device, pubkey, status, now).await?;
    tx.changed(Change::Device(device));
    Ok(device)
}

async fn find_device(tx: &mut Tx, identity: &Identity) -> Result<Option<Id>, Error> {
    let row = sql::query("SELECT id FROM devices WHERE identity_hash = $1")
        .bind(identity.hash().to_string())
        .fetch_optional(tx.connection())
        .await?;
    row.map(|row| parsed(&row, "id")).transpose()
}

async fn find_auth_set(tx: &mut Tx, device: Id, pubkey: &str) -> Result<Option<Row>, Error> {
    let row = sql::query(
        "SELECT id, device_id, status, token_generation FROM auth_sets
         WHERE device_id = $1 AND pubkey = $2",
    )
    .bind(device.to_string())
    .bind(pubkey)
    .fetch_optional(tx.connection())
    .await?;
    Ok(row)
}

async fn count_auth_sets(tx: &mut Tx, device: Id) -> Result<i64, Error> {
    let row = sql::query("SELECT COUNT(*) FROM auth_sets WHERE device_id = $1")
        .bind(device.to_string())
        .fetch_one(tx.connection())
        .await?;
    Ok(row.try_get(0)?)
}

async fn insert_auth_set(
    tx: &mut Tx,
    device: Id,
    pubkey: &str,
    status: AuthSetStatus,
    now: i64,
) -> Result<(), Error> {
    sql::query(
        "INSERT INTO auth_sets (id, device_id, pubkey, status, created, token_generation)
         VALUES ($1, $2, $3, $4, $5, 0)",
    )
    .bind(new_id().to_string())
    .bind(device.to_string())
    .bind(pubkey)
    .bind(status.as_str())
    .bind(now)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Whether accepting `device` would be one too many; a device that is accepted with another key is counted already.
async fn over_limit(tx: &mut Tx, device: Id, limits: Limits) -> Result<bool, Error> {
    let Some(limit) = limits.accepted else {
        return Ok(false);
    };
    let row = sql::query("SELECT status FROM devices WHERE id = $1")
        .bind(device.to_string())
        .fetch_one(tx.connection())
        .await?;
    if parsed::<DeviceStatus>(&row, "status")? == DeviceStatus::Accepted {
        return Ok(false);
    }
    Ok(devices::counted(tx.connection(), DeviceStatus::Accepted).await? >= limit)
}

/// Lets `device` in with `auth_set` and with no other key.
async fn accept(tx: &mut Tx, device: Id, auth_set: Id, now: i64) -> Result<(), Error> {
    sql::query(
        "UPDATE auth_sets SET status = 'rejected', token_generation = token_generation + 1
         WHERE device_id = $1 AND status = 'accepted'",
    )
    .bind(device.to_string())
    .execute(tx.connection())
    .await?;
    sql::query("UPDATE auth_sets SET status = 'accepted' WHERE id = $1")
        .bind(auth_set.to_string())
        .execute(tx.connection())
        .await?;
    devices::refresh_status(tx, device, now).await
}

/// A new status that is not `accepted`: the tokens so far are revoked.
async fn set_status(tx: &mut Tx, auth_set: Id, status: AuthSetStatus) -> Result<(), Error> {
    sql::query(
        "UPDATE auth_sets SET status = $2, token_generation = token_generation + 1 WHERE id = $1",
    )
    .bind(auth_set.to_string())
    .bind(status.as_str())
    .execute(tx.connection())
    .await?;
    Ok(())
}
