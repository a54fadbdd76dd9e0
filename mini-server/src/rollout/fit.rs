//! Which artifacts fit a device, and which of them is the best. Pure.

use std::collections::BTreeMap;

use tandem_artifact::{ARTIFACT_NAME, Depends};

use crate::store::{Id, StoredArtifact};

/// An artifact that might be the one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Identifies it.
    pub id: Id,
    /// Bytes.
    pub size: u64,
    /// All that it depends on; `device_type` is among it.
    pub depends: BTreeMap<String, Vec<String>>,
    /// Whether it has failed so often on the device that it is not offered to it again.
    pub quarantined: bool,
}

impl From<&StoredArtifact> for Candidate {
    fn from(artifact: &StoredArtifact) -> Self {
        Self {
            id: artifact.id,
            size: artifact.size,
            depends: artifact.content.depends.clone(),
            quarantined: false,
        }
    }
}

/// What a device says it has: all its provides, its type among them.
pub type Provides = BTreeMap<String, String>;

/// What will become of a deployment on devices that are alike, as far as one can tell before they ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forecast {
    /// They get this artifact.
    Gets(Id),
    /// They have it already.
    HasIt,
    /// Nothing of that name fits them; why, for people.
    Misfit(String),
    /// They have not said enough about themselves: it is decided when they ask.
    Open(String),
}

/// What a device will be told that is given the artifacts `candidates` of the name `artifact_name`, where `known` is
/// what it has said about itself so far: a device says all of it only when it asks.
#[must_use]
pub fn forecast(
    artifact_name: &str,
    forced: bool,
    known: &Provides,
    candidates: &[Candidate],
) -> Forecast {
    if !forced
        && known
            .get(ARTIFACT_NAME)
            .is_some_and(|has| has == artifact_name)
    {
        return Forecast::HasIt;
    }
    if let Some(artifact) = best(None, known, candidates) {
        return Forecast::Gets(artifact.id);
    }
    let contradicted = |one: &&Candidate| {
        one.depends
            .iter()
            .any(|(key, wanted)| known.get(key).is_some_and(|has| !wanted.contains(has)))
    };
    match candidates.iter().find(|one| !contradicted(one)) {
        Some(possible) => {
            let missing: Vec<&str> = possible
                .depends
                .keys()
                .filter(|key| !known.contains_key(*key))
                .map(String::as_str)
                .take(SHOWN)
                .collect();
            Forecast::Open(format!(
                "the device has not said its {}",
                missing.join(", ")
            ))
        }
        None => Forecast::Misfit(misfits(artifact_name, known, candidates)),
    }
}

/// The artifact that fits and was chosen before, so that a broken download can go on; else the smallest that fits.
pub(super) fn best<'a>(
    chosen: Option<Id>,
    device: &Provides,
    candidates: &'a [Candidate],
) -> Option<&'a Candidate> {
    let fitting = || {
        candidates
            .iter()
            .filter(|one| misfit(one, device).is_none())
    };
    fitting()
        .find(|one| Some(one.id) == chosen)
        .or_else(|| fitting().min_by_key(|one| (one.size, one.id)))
}

/// The first thing that an artifact depends on and the device has not, or that it is in quarantine.
fn misfit(artifact: &Candidate, device: &Provides) -> Option<String> {
    let fulfilled =
        |key: &String, wanted: &[String]| device.get(key).is_some_and(|has| wanted.contains(has));
    // The type of the device comes first: an artifact for others is not worth more words.
    let device_type = artifact.depends.get_key_value(Depends::DEVICE_TYPE);
    let Some((key, wanted)) = device_type
        .into_iter()
        .chain(&artifact.depends)
        .find(|(key, wanted)| !fulfilled(key, wanted))
    else {
        return artifact.quarantined.then(|| {
            "it has failed on this device too often, and is offered to it again only by force"
                .to_owned()
        });
    };
    let has = match device.get(key) {
        Some(value) => format!("the device has {value:?}"),
        None => "the device does not say what it has".to_owned(),
    };
    let wanted: Vec<_> = wanted
        .iter()
        .take(SHOWN)
        .map(|value| format!("{value:?}"))
        .collect();
    Some(format!("{key} must be {}, {has}", wanted.join(" or ")))
}

/// Why no artifact fits, for people.
pub(super) fn misfits(artifact_name: &str, device: &Provides, candidates: &[Candidate]) -> String {
    if candidates.is_empty() {
        return format!("there is no artifact {artifact_name:?} any more");
    }
    let mut reasons: Vec<String> = candidates
        .iter()
        .filter_map(|one| misfit(one, device))
        .collect();
    reasons.sort();
    reasons.dedup();
    reasons.truncate(SHOWN);
    format!("no artifact {artifact_name:?} fits: {}", reasons.join("; "))
}

/// Values and reasons that are named to people.
const SHOWN: usize = 5;
