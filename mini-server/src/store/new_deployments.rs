//! Making deployments: which devices, in which phases; and what takes the place of what.

use std::collections::BTreeMap;

use tandem_api::management::{DeploymentFilter as TargetFilter, Filter};
use tandem_artifact::Sha256;

use super::devices::{parsed, signed};
use super::enrolment::{matching, next_sequence};
use super::rollouts::to_json;
use super::sql::{self, QueryBuilder};
use super::writer::{Change, Topic, Tx};
use super::{Error, Id, Store, steps};
use crate::rollout::{Plan, earliest};
use crate::secret::new_id;

/// A deployment to be made.
#[derive(Debug, Clone)]
pub struct DeploymentToMake {
    /// What to call it.
    pub name: String,
    /// Which artifact.
    pub artifact_name: String,
    /// Whether devices get it that have an artifact of this name.
    pub forced: bool,
    /// For which devices.
    pub targets: Targets,
    /// How it goes through them.
    pub plan: Plan,
    /// Whether devices join that come to be among them later. Not for [`Targets::Devices`].
    pub continuous: bool,
    /// No more devices than these join.
    pub device_limit: Option<u64>,
}

/// Which devices a deployment is for.
#[derive(Debug, Clone)]
pub enum Targets {
    /// These.
    Devices(Vec<Id>),
    /// All that are accepted now.
    All,
    /// All that are accepted now and in this group.
    Group(String),
    /// All that are accepted now and fulfil this filter.
    Filter(TargetFilter),
}

impl Targets {
    /// The same as a filter; `None` if they are named one by one.
    #[must_use]
    pub fn filter(&self) -> Option<TargetFilter> {
        match self {
            Self::Devices(_) => None,
            Self::All => Some(TargetFilter::default()),
            Self::Group(group) => Some(TargetFilter {
                terms: vec![Filter {
                    scope: "system".to_owned(),
                    attribute: "group".to_owned(),
                    kind: "$eq".to_owned(),
                    value: group.as_str().into(),
                }],
                ..TargetFilter::default()
            }),
            Self::Filter(filter) => Some(filter.clone()),
        }
    }
}

/// What became of a deployment to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It is made.
    Done(Id),
    /// There is no artifact of that name.
    NoArtifact,
    /// There is no device for it.
    NoDevices,
    /// There is an active one that is the same.
    Exists,
    /// Its plan does not fit its devices; why, for people.
    Refused(String),
}

impl Store {
    /// Makes a deployment. Its devices are those of now.
    ///
    /// # Errors
    /// Of the database.
    pub async fn create_deployment(
        &self,
        new: DeploymentToMake,
        now: i64,
    ) -> Result<Created, Error> {
        self.write(move |tx| Box::pin(create(tx, new, now))).await
    }
}

pub(super) async fn create(tx: &mut Tx, new: DeploymentToMake, now: i64) -> Result<Created, Error> {
    let DeploymentToMake {
        name,
        artifact_name,
        forced,
        targets,
        mut plan,
        continuous,
        device_limit,
    } = new;
    let artifact = sql::query("SELECT 1 FROM artifacts WHERE name = $1 LIMIT 1")
        .bind(&artifact_name)
        .fetch_optional(tx.connection())
        .await?;
    if artifact.is_none() {
        return Ok(Created::NoArtifact);
    }
    let filter = targets
        .filter()
        .filter(|filter| continuous || !filter.id.is_empty());
    let (group, mut devices) = match targets {
        Targets::Devices(devices) => (None, devices),
        Targets::All => (None, accepted(tx, None).await?),
        Targets::Group(group) => {
            let devices = accepted(tx, Some(&group)).await?;
            (Some(group), devices)
        }
        Targets::Filter(filter) => (None, matching(tx, &filter, None).await?),
    };
    devices.sort();
    devices.dedup();
    let limit = device_limit.unwrap_or(u64::MAX);
    devices.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    if devices.is_empty() && !continuous {
        return Ok(Created::NoDevices);
    }
    let devices = with_phases(tx, &plan, devices).await?;
    let mut members = vec![0_u64; plan.phases.len()];
    for (_, earliest) in &devices {
        if let Some(count) = members.get_mut(*earliest) {
            *count = count.saturating_add(1);
        }
    }
    if let Err(why) = plan.lay_out(&members) {
        return Ok(Created::Refused(why));
    }
    let id = new_id();
    let sequence = next_sequence(tx).await?;
    let count = u64::try_from(devices.len()).unwrap_or(u64::MAX);
    let filter = filter.map(|filter| to_json(&filter)).transpose()?;
    let plain = plan.is_plain();
    let done = sql::query(
        "INSERT INTO deployments (id, sequence, name, artifact_name, group_name, forced, created, status, aborted,
                                  max_devices, total_size, fingerprint, plan, filter, continuous, device_limit)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', 0, $8, 0, $9, $10, $11, $12, $13)
         ON CONFLICT (fingerprint) WHERE finished IS NULL DO NOTHING",
    )
    .bind(id.to_string())
    .bind(sequence)
    .bind(&name)
    .bind(&artifact_name)
    .bind(group)
    .bind(i64::from(forced))
    .bind(now)
    .bind(signed(count))
    .bind(fingerprint(&name, &artifact_name, filter.as_deref(), &devices))
    .bind(if plain { None } else { Some(to_json(&plan)?) })
    .bind(&filter)
    .bind(i64::from(continuous && count < limit))
    .bind(device_limit.map(signed))
    .execute(tx.connection())
    .await?;
    if done.rows_affected() == 0 {
        return Ok(Created::Exists);
    }
    for chunk in devices.chunks(1000) {
        let mut query = QueryBuilder::new(
            "INSERT INTO device_deployments (deployment_id, device_id, sequence, earliest, open, has_log) ",
        );
        query.push_values(chunk, |mut row, (device, earliest)| {
            row.push_bind(id.to_string())
                .push_bind(device.to_string())
                .push_bind(sequence)
                .push_bind(i64::try_from(*earliest).unwrap_or(i64::MAX))
                .push("1, 0");
        });
        query.build().execute(tx.connection()).await?;
    }
    tx.changed(Change::Deployments);
    Ok(Created::Done(id))
}

/// Devices with the phase in which each may begin first.
async fn with_phases(
    tx: &mut Tx,
    plan: &Plan,
    devices: Vec<Id>,
) -> Result<Vec<(Id, usize)>, Error> {
    let mut groups: BTreeMap<Id, String> = BTreeMap::new();
    for group in plan.groups() {
        for device in accepted(tx, Some(group)).await? {
            groups.insert(device, group.to_owned());
        }
    }
    let phase = |device| {
        (
            device,
            earliest(&plan.phases, groups.get(&device).map(String::as_str)),
        )
    };
    Ok(devices.into_iter().map(phase).collect())
}

/// A continuous deployment takes in nobody any more, and ends when those are done that have begun.
pub(super) async fn retire(tx: &mut Tx, id: Id, now: i64) -> Result<(), Error> {
    // Not in the way of a new one of the same release.
    let waiting = sql::query(
        "UPDATE device_deployments SET open = 0 WHERE deployment_id = $1 AND open = 1 AND status IS NULL",
    )
    .bind(id.to_string())
    .execute(tx.connection())
    .await?;
    sql::query(
        "UPDATE deployments SET continuous = 0, max_devices = max_devices - $2, fingerprint = id WHERE id = $1",
    )
    .bind(id.to_string())
    .bind(signed(waiting.rows_affected()))
    .execute(tx.connection())
    .await?;
    steps::end_if_done(tx, id, now).await?;
    tx.changed(Change::Shown(Topic::Deployments));
    Ok(())
}

/// The accepted devices, of a group or all.
async fn accepted(tx: &mut Tx, group: Option<&str>) -> Result<Vec<Id>, Error> {
    let rows = sql::query(
        "SELECT id FROM devices WHERE status = 'accepted' AND ($1 IS NULL OR group_name = $1)",
    )
    .bind(group)
    .fetch_all(tx.connection())
    .await?;
    rows.iter().map(|row| parsed(row, "id")).collect()
}

/// The same for two deployments of which one would be in vain.
fn fingerprint(
    name: &str,
    artifact: &str,
    filter: Option<&str>,
    devices: &[(Id, usize)],
) -> String {
    let mut sum = Sha256::new();
    for text in [name, artifact].into_iter().chain(filter) {
        sum.update(text.as_bytes());
        sum.update(&[0]);
    }
    for (device, _) in devices {
        sum.update(device.as_bytes());
    }
    sum.finish().to_string()
}
