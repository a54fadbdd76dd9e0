//! The fleet at a glance: how many devices there are, on which release, and how it goes.

use std::collections::BTreeMap;

use tandem_api::DeploymentStatus;
use tandem_api::management::DeviceStatus;
use tandem_artifact::{ARTIFACT_NAME, Depends};

use super::devices::{parsed, signed, unsigned};
use super::enrolment::predicates;
use super::search::push_predicates;
use super::sql::{self, QueryBuilder};
use super::{Error, Id, Store, Targets, push_ids};
use crate::rollout::Provides;

/// Milliseconds of a day.
pub(super) const DAY: i64 = 24 * 60 * 60 * 1000;

impl Store {
    /// How many devices of the deployments that are not finished have which status.
    ///
    /// # Errors
    /// Of the database.
    pub async fn rollout_progress(&self) -> Result<BTreeMap<DeploymentStatus, u64>, Error> {
        let rows = sql::query(
            "SELECT s.status, CAST(SUM(s.devices) AS BIGINT) AS devices
             FROM deployment_statistics s JOIN deployments d ON d.id = s.deployment_id
             WHERE d.status IN ('pending', 'inprogress') AND s.devices > 0 GROUP BY s.status",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| Ok((parsed(row, "status")?, unsigned(row.try_get("devices")?))))
            .collect()
    }
}

/// How many devices there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetCounts {
    /// By status; those that none has are left out.
    pub by_status: BTreeMap<&'static str, u64>,
    /// Accepted and heard from lately.
    pub reachable: u64,
    /// Accepted, and the deployment that they were done with last failed.
    pub failing: u64,
    /// On which a deployment is under way.
    pub updating: u64,
}

impl FleetCounts {
    /// How many devices have this status.
    #[must_use]
    pub fn of(&self, status: DeviceStatus) -> u64 {
        self.by_status
            .get(status.as_str())
            .copied()
            .unwrap_or_default()
    }
}

/// Accepted devices that say they have the same artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseInUse {
    /// Its name; `None` for devices that have not said.
    pub name: Option<String>,
    /// How many.
    pub devices: u64,
}

/// Devices that were done with a deployment on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayOutcomes {
    /// Days since 1970, UTC.
    pub day: i64,
    /// How it ended.
    pub status: DeploymentStatus,
    /// How many.
    pub devices: u64,
}

/// Devices that are alike in everything that matters for an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Similar {
    /// Whether they are let in.
    pub status: DeviceStatus,
    /// The release that they stay with.
    pub pinned: Option<String>,
    /// What they say about themselves of what was asked for.
    pub provides: Provides,
    /// How many.
    pub devices: u64,
}

/// Values of a device that are looked at; real artifacts depend on one to three.
const KEYS: usize = 8;

impl Store {
    /// How many devices there are, where those count as reachable that were heard from not before `since`, ms.
    ///
    /// # Errors
    /// Of the database.
    pub async fn fleet_counts(&self, since: i64) -> Result<FleetCounts, Error> {
        let mut counts = FleetCounts::default();
        for status in DeviceStatus::ALL {
            let devices = self.count_devices(Some(status)).await?;
            counts.by_status.insert(status.as_str(), devices);
        }
        let row = sql::query(
            "SELECT
                (SELECT COUNT(*) FROM check_ins c JOIN devices d ON d.id = c.device_id
                 WHERE c.at >= $1 AND d.status = 'accepted') AS reachable,
                (SELECT COUNT(*) FROM devices WHERE outcome = 'failure' AND status = 'accepted') AS failing,
                (SELECT CAST(COALESCE(SUM(s.devices), 0) AS BIGINT)
                 FROM deployments d JOIN deployment_statistics s ON s.deployment_id = d.id
                 WHERE d.status = 'inprogress' AND s.status IN
                    ('downloading', 'pause_before_installing', 'installing', 'pause_before_rebooting', 'rebooting',
                     'pause_before_committing')) AS updating",
        )
        .bind(since)
        .fetch_one(&self.readers)
        .await?;
        counts.reachable = unsigned(row.try_get("reachable")?);
        counts.failing = unsigned(row.try_get("failing")?);
        counts.updating = unsigned(row.try_get("updating")?);
        Ok(counts)
    }

    /// The releases that accepted devices say they have, the most frequent first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn releases_in_use(&self) -> Result<Vec<ReleaseInUse>, Error> {
        let rows = sql::query(
            "SELECT a.text AS name, COUNT(*) AS devices FROM devices d
             LEFT JOIN attributes a ON a.device_id = d.id AND a.scope = 'inventory' AND a.position <= 0
                AND a.name = $1
             WHERE d.status = 'accepted' GROUP BY a.text ORDER BY devices DESC, a.text NULLS FIRST",
        )
        .bind(ARTIFACT_NAME)
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(ReleaseInUse {
                    name: row.try_get("name")?,
                    devices: unsigned(row.try_get("devices")?),
                })
            })
            .collect()
    }

    /// The names of releases that devices say they have, to choose from; found from an index alone.
    ///
    /// # Errors
    /// Of the database.
    pub async fn release_names(&self, limit: i64) -> Result<Vec<String>, Error> {
        let rows = sql::query(
            "SELECT DISTINCT text FROM attributes WHERE scope = 'inventory' AND name = $1 ORDER BY text LIMIT $2",
        )
        .bind(ARTIFACT_NAME)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// How deployments ended on devices since a day (days since 1970), day by day.
    ///
    /// # Errors
    /// Of the database.
    pub async fn outcomes_since(&self, day: i64) -> Result<Vec<DayOutcomes>, Error> {
        let rows = sql::query(
            "SELECT day, status, devices FROM outcomes_by_day WHERE day >= $1 ORDER BY day, status",
        )
        .bind(day)
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(DayOutcomes {
                    day: row.try_get("day")?,
                    status: parsed(row, "status")?,
                    devices: unsigned(row.try_get("devices")?),
                })
            })
            .collect()
    }

    /// How many of the devices that a deployment would be for are alike: in their type, their artifact, and the values
    /// of `more`. The largest set first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn similar_devices(
        &self,
        targets: &Targets,
        more: &[String],
    ) -> Result<Vec<Similar>, Error> {
        let mut keys = vec![Depends::DEVICE_TYPE, ARTIFACT_NAME];
        for key in more {
            if keys.len() < KEYS && !keys.contains(&key.as_str()) {
                keys.push(key);
            }
        }
        let mut query = QueryBuilder::new("SELECT d.status, d.pinned");
        for n in 0..keys.len() {
            query.push(format_args!(", a{n}.text AS v{n}"));
        }
        query.push(", COUNT(*) AS devices FROM devices d");
        for (n, key) in keys.iter().enumerate() {
            query.push(format_args!(
                " LEFT JOIN attributes a{n} ON a{n}.device_id = d.id AND a{n}.scope = 'inventory' \
                 AND a{n}.position <= 0 AND a{n}.name = "
            ));
            query.push_bind((*key).to_owned());
        }
        push_targets(&mut query, targets)?;
        query.push(" GROUP BY d.status, d.pinned");
        for n in 0..keys.len() {
            query.push(format_args!(", v{n}"));
        }
        query.push(" ORDER BY devices DESC, d.status");
        for n in 0..keys.len() {
            query.push(format_args!(", v{n} NULLS FIRST"));
        }
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                let mut provides = Provides::new();
                for (n, key) in keys.iter().enumerate() {
                    let value: Option<String> = row.try_get(format!("v{n}").as_str())?;
                    provides.extend(value.map(|value| ((*key).to_owned(), value)));
                }
                Ok(Similar {
                    status: parsed(row, "status")?,
                    pinned: row.try_get("pinned")?,
                    provides,
                    devices: unsigned(row.try_get("devices")?),
                })
            })
            .collect()
    }

    /// On how many of the devices that a deployment would be for one of these artifacts failed `limit` times or more.
    ///
    /// # Errors
    /// Of the database.
    pub async fn count_quarantined(
        &self,
        targets: &Targets,
        artifacts: &[Id],
        limit: u64,
    ) -> Result<u64, Error> {
        let mut query = QueryBuilder::new(
            "SELECT COUNT(DISTINCT f.device_id) FROM (SELECT device_id FROM device_deployments
             WHERE failures > 0 AND artifact_id IN ",
        );
        push_ids(&mut query, artifacts);
        query.push(" GROUP BY device_id, artifact_id HAVING SUM(failures) >= ");
        query.push_bind(signed(limit));
        query.push(") AS f JOIN devices d ON d.id = f.device_id");
        push_targets(&mut query, targets)?;
        let row = query.build().fetch_one(&self.readers).await?;
        Ok(unsigned(row.try_get(0)?))
    }
}

/// Of the devices `d` those that a deployment would be for.
fn push_targets(query: &mut QueryBuilder, targets: &Targets) -> Result<(), Error> {
    query.push(" LEFT JOIN check_ins c ON c.device_id = d.id");
    match targets {
        Targets::All => {
            query.push(" WHERE d.status = 'accepted'");
        }
        Targets::Group(group) => {
            query.push(" WHERE d.status = 'accepted' AND d.group_name = ");
            query.push_bind(group.clone());
        }
        Targets::Devices(ids) => {
            query.push(" WHERE d.id IN ");
            push_ids(query, ids);
        }
        Targets::Filter(filter) => {
            query.push(" WHERE d.status = 'accepted'");
            push_predicates(query, &predicates(&filter.terms).map_err(Error::corrupt)?);
        }
    }
    Ok(())
}
