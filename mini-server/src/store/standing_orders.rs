//! Standing orders: devices always get the newest release with a tag.
//!
//! An order has a continuous deployment of the release of the moment. When another release becomes the newest with its
//! tag, that deployment takes in nobody any more and one of the new release is made.

use log::info;
use tandem_api::management::DeploymentFilter as TargetFilter;

use super::devices::{parsed, parsed_or_null};
use super::new_deployments::{Created, DeploymentToMake, Targets, create, retire};
use super::rollouts::{from_json, to_json};
use super::sql::{self, Row};
use super::writer::{Change, Topic, Tx};
use super::{Error, Id, Store};
use crate::rollout::Plan;
use crate::secret::new_id;

/// A standing order.
#[derive(Debug, Clone, PartialEq)]
pub struct StandingOrderRow {
    /// Identifies it.
    pub id: Id,
    /// Releases with this tag.
    pub tag: String,
    /// Which devices.
    pub filter: TargetFilter,
    /// How each release goes through them.
    pub plan: Plan,
    /// The release of the moment.
    pub release: Option<String>,
    /// Its deployment.
    pub deployment: Option<Id>,
}

/// What became of a new standing order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ordered {
    /// It stands.
    Done(Id),
    /// There are as many as there may be.
    TooMany,
    /// Its plan does not fit the devices that it is for; why, for people.
    Refused(String),
}

/// Standing orders.
const ORDERS: i64 = 100;

impl Store {
    /// Gives a standing order, which is followed at once if there is a release with its tag.
    ///
    /// # Errors
    /// Of the database.
    pub async fn add_standing_order(
        &self,
        tag: String,
        filter: TargetFilter,
        plan: Plan,
        now: i64,
    ) -> Result<Ordered, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let row = sql::query("SELECT COUNT(*) FROM standing_orders")
                    .fetch_one(tx.connection())
                    .await?;
                if row.try_get::<i64, _>(0)? >= ORDERS {
                    return Ok(Ordered::TooMany);
                }
                let order = StandingOrderRow {
                    id: new_id(),
                    tag,
                    filter,
                    plan,
                    release: None,
                    deployment: None,
                };
                sql::query(
                    "INSERT INTO standing_orders (id, tag, filter, plan, created) VALUES ($1, $2, $3, $4, $5)",
                )
                .bind(order.id.to_string())
                .bind(&order.tag)
                .bind(to_json(&order.filter)?)
                .bind(to_json(&order.plan)?)
                .bind(now)
                .execute(tx.connection())
                .await?;
                tx.changed(Change::Shown(Topic::Deployments));
                if let Err(why) = follow(tx, &order, now).await? {
                    remove(tx, order.id).await?;
                    return Ok(Ordered::Refused(why));
                }
                Ok(Ordered::Done(order.id))
            })
        })
        .await
    }

    /// All standing orders, the oldest first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn standing_orders(&self) -> Result<Vec<StandingOrderRow>, Error> {
        let rows = sql::query("SELECT * FROM standing_orders ORDER BY created, id")
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(order).collect()
    }

    /// Takes back a standing order; false if there is none. Its deployment takes in nobody any more.
    ///
    /// # Errors
    /// Of the database.
    pub async fn remove_standing_order(&self, id: Id, now: i64) -> Result<bool, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let row = sql::query("SELECT * FROM standing_orders WHERE id = $1")
                    .bind(id.to_string())
                    .fetch_optional(tx.connection())
                    .await?;
                let Some(row) = row else {
                    return Ok(false);
                };
                if let Some(deployment) = order(&row)?.deployment {
                    retire(tx, deployment, now).await?;
                }
                remove(tx, id).await?;
                tx.changed(Change::Shown(Topic::Deployments));
                Ok(true)
            })
        })
        .await
    }
}

async fn remove(tx: &mut Tx, id: Id) -> Result<(), Error> {
    sql::query("DELETE FROM standing_orders WHERE id = $1")
        .bind(id.to_string())
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Follows all standing orders: after a change of releases or of their tags.
pub(super) async fn follow_all(tx: &mut Tx, now: i64) -> Result<(), Error> {
    let rows = sql::query("SELECT * FROM standing_orders ORDER BY created, id")
        .fetch_all(tx.connection())
        .await?;
    for row in rows {
        let order = order(&row)?;
        if let Err(why) = follow(tx, &order, now).await? {
            info!(order:% = order.id; "standing order not followed: {why}");
        }
    }
    Ok(())
}

/// Makes the deployment of the newest release, if it is another one than before; else why it cannot be made.
async fn follow(
    tx: &mut Tx,
    order: &StandingOrderRow,
    now: i64,
) -> Result<Result<(), String>, Error> {
    let row = sql::query(
        "SELECT t.name FROM release_tags t JOIN artifacts a ON a.name = t.name WHERE t.tag = $1
         ORDER BY a.modified DESC, t.name DESC LIMIT 1",
    )
    .bind(&order.tag)
    .fetch_optional(tx.connection())
    .await?;
    let newest: Option<String> = row.map(|row| row.try_get(0)).transpose()?;
    // Without a release there is nothing that could take the place of the last one.
    let Some(newest) = newest.filter(|newest| order.release.as_ref() != Some(newest)) else {
        return Ok(Ok(()));
    };
    let new = DeploymentToMake {
        name: format!("{newest} (newest of {})", order.tag),
        artifact_name: newest.clone(),
        forced: false,
        targets: Targets::Filter(order.filter.clone()),
        plan: order.plan.clone(),
        continuous: true,
        device_limit: None,
    };
    let deployment = match create(tx, new, now).await? {
        Created::Done(id) => id,
        Created::Refused(why) => return Ok(Err(why)),
        Created::NoArtifact | Created::NoDevices | Created::Exists => {
            return Ok(Err("there is such a deployment already".to_owned()));
        }
    };
    if let Some(before) = order.deployment {
        retire(tx, before, now).await?;
    }
    sql::query("UPDATE standing_orders SET release_name = $2, deployment_id = $3 WHERE id = $1")
        .bind(order.id.to_string())
        .bind(newest)
        .bind(deployment.to_string())
        .execute(tx.connection())
        .await?;
    Ok(Ok(()))
}

fn order(row: &Row) -> Result<StandingOrderRow, Error> {
    Ok(StandingOrderRow {
        id: parsed(row, "id")?,
        tag: row.try_get("tag")?,
        filter: from_json(row.try_get("filter")?)?,
        plan: from_json(row.try_get("plan")?)?,
        release: row.try_get("release_name")?,
        deployment: parsed_or_null(row, "deployment_id")?,
    })
}
