//! Which devices will get a release, which will not, and why: as the server would decide if they asked now.

use std::collections::BTreeSet;

use super::wording::{count, escape, grouped, inert, sentence};
use crate::app::App;
use crate::reply::Result;
use crate::rollout::{Candidate, Forecast, forecast};
use crate::store::{Id, Similar, StoredArtifact, Targets};
use tandem_api::management::DeviceStatus;
use tandem_artifact::{ARTIFACT_NAME, Depends};

/// Sets of devices that are alike which are listed one by one.
const SETS: usize = 100;

/// What will happen to all the devices.
pub(super) struct Preview {
    /// In one sentence.
    pub(super) summary: String,
    /// Devices that are alike, those that get it first.
    pub(super) sets: Vec<Set>,
    /// How many devices the deployment would be for.
    pub(super) devices: u64,
    /// Sets that are not listed.
    pub(super) more: usize,
    /// On how many it failed too often; empty if on none.
    pub(super) quarantined: String,
}

/// Devices that are alike.
pub(super) struct Set {
    pub(super) devices: String,
    /// Who they are: their type and release.
    pub(super) kind: String,
    pub(super) release: String,
    /// The page with exactly these.
    pub(super) href: String,
    pub(super) verdict: &'static str,
    pub(super) class: &'static str,
    pub(super) reason: String,
}

/// Looks ahead: what becomes of a deployment of the artifacts `artifacts`, all of one name, to `targets`.
///
/// # Errors
/// Of the database.
pub(super) async fn preview(
    app: &App,
    artifacts: &[StoredArtifact],
    forced: bool,
    targets: &Targets,
) -> Result<Preview> {
    let candidates: Vec<Candidate> = artifacts.iter().map(Candidate::from).collect();
    let name = artifacts
        .first()
        .map(|one| one.name.as_str())
        .unwrap_or_default();
    let keys: BTreeSet<&String> = candidates
        .iter()
        .flat_map(|one| one.depends.keys())
        .collect();
    let keys: Vec<String> = keys.into_iter().cloned().collect();
    let similar = app.store.similar_devices(targets, &keys).await?;
    let group = match targets {
        Targets::Group(group) => Some(group.as_str()),
        Targets::All | Targets::Devices(_) | Targets::Filter(_) => None,
    };
    let mut preview = weigh(&similar, name, forced, &candidates, group);
    let limit = app.settings.quarantine;
    if !forced && limit > 0 {
        let ids: Vec<Id> = candidates.iter().map(|one| one.id).collect();
        preview.quarantined = match app.store.count_quarantined(targets, &ids, limit).await? {
            0 => String::new(),
            devices => format!(
                "It has failed {limit} times or more on {}, where it is offered again only by force",
                count(devices, "device")
            ),
        };
    }
    Ok(preview)
}

/// The same without the database.
fn weigh(
    similar: &[Similar],
    name: &str,
    forced: bool,
    candidates: &[Candidate],
    group: Option<&str>,
) -> Preview {
    let mut sets = Vec::new();
    let (mut gets, mut may, mut not) = (0_u64, 0_u64, 0_u64);
    for one in similar {
        let (rank, sum, verdict, class, reason) = if one.status != DeviceStatus::Accepted {
            let reason = format!("{}: let it in first", one.status);
            (1, &mut may, "When accepted", "idle", reason)
        } else if let Some(pinned) = one.pinned.as_deref().filter(|pinned| *pinned != name) {
            let reason = format!("pinned to {pinned:?}: it stays with that");
            (2, &mut not, "Pinned", "idle", reason)
        } else {
            match forecast(name, forced, &one.provides, candidates) {
                Forecast::Gets(_) => (0, &mut gets, "Gets it", "ok", String::new()),
                Forecast::Open(reason) => (1, &mut may, "Decided when it asks", "idle", reason),
                Forecast::HasIt => {
                    let reason = "it runs this release already".to_owned();
                    (2, &mut not, "Has it", "idle", reason)
                }
                Forecast::Misfit(reason) => (3, &mut not, "Does not fit", "warn", reason),
            }
        };
        *sum = sum.saturating_add(one.devices);
        let value = |key: &str| one.provides.get(key).map(String::as_str);
        sets.push((
            rank,
            Set {
                devices: count(one.devices, "device"),
                kind: inert(value(Depends::DEVICE_TYPE).unwrap_or("unknown type"), 60),
                release: inert(value(ARTIFACT_NAME).unwrap_or("unknown release"), 60),
                href: link(one, group),
                verdict,
                class,
                reason: if reason.is_empty() {
                    reason
                } else {
                    sentence(&reason)
                },
            },
        ));
    }
    sets.sort_by_key(|(rank, _)| *rank);
    let more = sets.len().saturating_sub(SETS);
    let verb = if gets == 1 { "gets" } else { "get" };
    let mut summary = format!("{} {verb} it", count(gets, "device"));
    if may > 0 {
        summary.push_str(&format!(", {} may", grouped(may)));
    }
    if not > 0 {
        summary.push_str(&format!(", {} will not", grouped(not)));
    }
    Preview {
        summary,
        devices: [gets, may, not].into_iter().fold(0, u64::saturating_add),
        sets: sets.into_iter().take(SETS).map(|(_, set)| set).collect(),
        more,
        quarantined: String::new(),
    }
}

/// The list of exactly these devices.
fn link(one: &Similar, group: Option<&str>) -> String {
    let mut href = format!("/devices?status={}", one.status);
    let value = |key: &str| one.provides.get(key);
    if let Some(kind) = value(Depends::DEVICE_TYPE) {
        href.push_str(&format!("&type={}", escape(kind)));
    }
    match value(ARTIFACT_NAME) {
        Some(release) => href.push_str(&format!("&release={}", escape(release))),
        None => href.push_str("&state=unsaid"),
    }
    if let Some(group) = group {
        href.push_str(&format!("&group={}", escape(group)));
    }
    href
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_told_why() {
        let similar = |status, provides: &[(&str, &str)], devices| Similar {
            status,
            pinned: None,
            provides: provides
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
            devices,
        };
        let accepted = DeviceStatus::Accepted;
        let all = [
            similar(
                accepted,
                &[("device_type", "bone"), ("artifact_name", "r1")],
                4,
            ),
            similar(
                accepted,
                &[("device_type", "pi"), ("artifact_name", "r2")],
                3,
            ),
            similar(
                accepted,
                &[("device_type", "pi"), ("artifact_name", "r1")],
                2,
            ),
            similar(accepted, &[], 1),
            similar(DeviceStatus::Pending, &[], 5),
        ];
        let candidate = Candidate {
            id: Id::nil(),
            size: 1,
            depends: [("device_type".to_owned(), vec!["pi".to_owned()])].into(),
            quarantined: false,
        };
        let preview = weigh(
            &all,
            "r2",
            false,
            std::slice::from_ref(&candidate),
            Some("beta"),
        );
        assert_eq!(preview.summary, "2 devices get it, 6 may, 7 will not");
        let verdicts: Vec<_> = preview.sets.iter().map(|set| set.verdict).collect();
        assert_eq!(
            verdicts,
            [
                "Gets it",
                "Decided when it asks",
                "When accepted",
                "Has it",
                "Does not fit"
            ]
        );
        assert_eq!(
            preview.sets[0].href,
            "/devices?status=accepted&type=pi&release=r1&group=beta"
        );
        assert_eq!(
            preview.sets[4].reason,
            "No artifact \"r2\" fits: device_type must be \"pi\", the device has \"bone\"."
        );
    }
}
