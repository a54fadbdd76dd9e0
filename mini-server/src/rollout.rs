//! Which artifact a device gets now, or nothing, and why. Pure: no I/O, no clock, no log.
//!
//! ```text
//! a device asks -> choose(what is open for it) -> answer(what it says it has, artifacts of that name)
//!                    | the one it has begun          | the artifact that fits best -> offered
//!                    | else the oldest it may get    | it has it already            -> settled
//!                    | else nothing                  | none fits                    -> settled, with the reason
//! ```
//!
//! Spec `device-api` §2.5 and §2.6.

use std::collections::BTreeMap;

use tandem_api::DeploymentStatus;
use tandem_artifact::Depends;

use crate::store::{Id, StoredArtifact};

/// A deployment that is open for a device: not yet asked for, or begun and not final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Which deployment.
    pub deployment: Id,
    /// Its place in the order in which deployments were made.
    pub sequence: i64,
    /// How far it is; `None` if the device has not asked yet.
    pub status: Option<DeploymentStatus>,
    /// The artifact that the device had when it was offered this one.
    pub found_name: Option<String>,
    /// The artifact that was chosen.
    pub artifact: Option<Id>,
    /// The name of its artifact.
    pub artifact_name: String,
    /// Whether a device gets it that has an artifact of this name.
    pub forced: bool,
}

/// All that is open for a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prospects {
    /// In the order in which they were made.
    pub open: Vec<Open>,
    /// The place of the newest deployment that the device is done with.
    pub newest_done: Option<i64>,
}

/// An artifact that might be the one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Identifies it.
    pub id: Id,
    /// Bytes.
    pub size: u64,
    /// All that it depends on; `device_type` is among it.
    pub depends: BTreeMap<String, Vec<String>>,
}

impl From<&StoredArtifact> for Candidate {
    fn from(artifact: &StoredArtifact) -> Self {
        Self {
            id: artifact.id,
            size: artifact.size,
            depends: artifact.content.depends.clone(),
        }
    }
}

/// What a device says it has: all its provides, its type among them.
pub type Provides = BTreeMap<String, String>;

/// The answer to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It gets this artifact.
    Offer {
        /// Which.
        artifact: Id,
    },
    /// It is done with the deployment; nothing is downloaded.
    Settle {
        /// The final status.
        status: DeploymentStatus,
        /// Why, for people.
        reason: String,
    },
}

/// The deployment that a device is to be given: the oldest that it has begun; else the oldest that was made after the
/// newest that it is done with, for nobody gets an older release after a newer one.
#[must_use]
pub fn choose(prospects: &Prospects) -> Option<&Open> {
    let begun = |open: &&Open| open.status.is_some();
    let next = |open: &&Open| Some(open.sequence) > prospects.newest_done;
    prospects
        .open
        .iter()
        .find(begun)
        .or_else(|| prospects.open.iter().find(next))
}

/// What a device is told that has this deployment open, where `candidates` are the artifacts of its name.
#[must_use]
pub fn answer(open: &Open, device: &Provides, candidates: &[Candidate]) -> Answer {
    let has_it = device.get(ARTIFACT_NAME) == Some(&open.artifact_name);
    let had_it = open.found_name.as_ref() == Some(&open.artifact_name);
    match open.status {
        None | Some(DeploymentStatus::Pending) if has_it && !open.forced => {
            return settle(
                DeploymentStatus::AlreadyInstalled,
                "the device had this artifact when it asked".to_owned(),
            );
        }
        // DIFFERS: Mender's server calls this a failure (409): the device has what it was to get, so its last report
        // was lost and not the update. Where it had the artifact from the beginning nothing can be said.
        Some(status) if status != DeploymentStatus::Pending && has_it && !had_it => {
            return settle(
                DeploymentStatus::Success,
                "inferred: the device asked again and has the artifact".to_owned(),
            );
        }
        _ => {}
    }
    match best(open.artifact, device, candidates) {
        Some(artifact) => Answer::Offer {
            artifact: artifact.id,
        },
        None => settle(
            DeploymentStatus::NoArtifact,
            misfits(&open.artifact_name, device, candidates),
        ),
    }
}

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
fn best<'a>(
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

/// The first thing that an artifact depends on and the device has not.
fn misfit(artifact: &Candidate, device: &Provides) -> Option<String> {
    let fulfilled =
        |key: &String, wanted: &[String]| device.get(key).is_some_and(|has| wanted.contains(has));
    // The type of the device comes first: an artifact for others is not worth more words.
    let device_type = artifact.depends.get_key_value(Depends::DEVICE_TYPE);
    let (key, wanted) = device_type
        .into_iter()
        .chain(&artifact.depends)
        .find(|(key, wanted)| !fulfilled(key, wanted))?;
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
fn misfits(artifact_name: &str, device: &Provides, candidates: &[Candidate]) -> String {
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

fn settle(status: DeploymentStatus, reason: String) -> Answer {
    Answer::Settle { status, reason }
}

/// What a report of a device is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It is the status from now on.
    Counts,
    /// The deployment is final on this device: the first final status stands, this one is history.
    Late,
    /// Somebody else has ended the deployment: the device is told so.
    Refused,
    /// The device was never offered this deployment.
    Unknown,
}

/// What a report is worth for a deployment that has the status `before` on the device.
#[must_use]
pub fn judge_report(before: Option<DeploymentStatus>, _report: DeploymentStatus) -> Report {
    match before {
        None => Report::Unknown,
        Some(DeploymentStatus::Aborted | DeploymentStatus::Decommissioned) => Report::Refused,
        Some(before) if before.is_final() => Report::Late,
        Some(_) => Report::Counts,
    }
}

const ARTIFACT_NAME: &str = tandem_artifact::ARTIFACT_NAME;

/// Values and reasons that are named to people.
const SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(n: u8) -> Id {
        Id::from_bytes([n; 16])
    }

    fn open(sequence: i64, status: Option<DeploymentStatus>) -> Open {
        Open {
            deployment: id(u8::try_from(sequence).unwrap()),
            sequence,
            status,
            found_name: status.map(|_| "r1".to_owned()),
            artifact: None,
            artifact_name: "r2".to_owned(),
            forced: false,
        }
    }

    fn device(pairs: &[(&str, &str)]) -> Provides {
        pairs
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect()
    }

    fn candidate(n: u8, size: u64, depends: &[(&str, &[&str])]) -> Candidate {
        Candidate {
            id: id(n),
            size,
            depends: depends
                .iter()
                .map(|(key, values)| {
                    (
                        key.to_string(),
                        values.iter().map(ToString::to_string).collect(),
                    )
                })
                .collect(),
        }
    }

    #[track_caller]
    fn check(
        open: &Open,
        has: &[(&str, &str)],
        candidates: &[Candidate],
        expected: Result<u8, (DeploymentStatus, &str)>,
    ) {
        let expected = match expected {
            Ok(n) => Answer::Offer { artifact: id(n) },
            Err((status, reason)) => settle(status, reason.to_owned()),
        };
        assert_eq!(answer(open, &device(has), candidates), expected);
    }

    const PI: &[(&str, &str)] = &[
        ("device_type", "pi"),
        ("artifact_name", "r1"),
        ("rootfs-image.version", "r1"),
    ];
    const UPDATED: &[(&str, &str)] = &[("device_type", "pi"), ("artifact_name", "r2")];

    #[test]
    fn the_smallest_artifact_that_fits_is_offered() {
        let candidates = [
            candidate(1, 100, &[("device_type", &["pi", "bone"])]),
            candidate(2, 10, &[("device_type", &["bone"])]),
            candidate(
                3,
                20,
                &[
                    ("device_type", &["pi"]),
                    ("rootfs-image.version", &["r0", "r1"]),
                ],
            ),
            candidate(4, 30, &[("device_type", &["pi"])]),
        ];
        check(&open(1, None), PI, &candidates, Ok(3));
        let without = &[("device_type", "pi"), ("artifact_name", "r1")];
        check(&open(1, None), without, &candidates, Ok(4));
    }

    #[test]
    fn an_artifact_that_was_chosen_stays_as_long_as_it_fits() {
        let candidates = [
            candidate(1, 100, &[("device_type", &["pi"])]),
            candidate(2, 10, &[("device_type", &["pi"])]),
        ];
        let mut begun = open(1, Some(DeploymentStatus::Downloading));
        begun.artifact = Some(id(1));
        check(&begun, PI, &candidates, Ok(1));
        begun.artifact = Some(id(9));
        check(&begun, PI, &candidates, Ok(2));
    }

    #[test]
    fn the_operator_sees_why_nothing_fits() {
        let candidates = [
            candidate(1, 1, &[("device_type", &["bone", "x86"])]),
            candidate(2, 1, &[("device_type", &["pi"]), ("bootloader", &["2"])]),
        ];
        let why = r#"no artifact "r2" fits: bootloader must be "2", the device does not say what it has; device_type must be "bone" or "x86", the device has "pi""#;
        check(
            &open(1, None),
            PI,
            &candidates,
            Err((DeploymentStatus::NoArtifact, why)),
        );
        let why = r#"there is no artifact "r2" any more"#;
        check(
            &open(1, None),
            PI,
            &[],
            Err((DeploymentStatus::NoArtifact, why)),
        );
    }

    #[test]
    fn what_is_foretold_is_what_happens_as_far_as_one_can_tell() {
        let candidates = [
            candidate(1, 100, &[("device_type", &["pi"])]),
            candidate(2, 10, &[("device_type", &["pi"]), ("bootloader", &["2"])]),
        ];
        let check = |known: &[(&str, &str)], forced, expected| {
            assert_eq!(
                forecast("r2", forced, &device(known), &candidates),
                expected
            );
        };
        check(PI, false, Forecast::Gets(id(1)));
        check(UPDATED, false, Forecast::HasIt);
        check(UPDATED, true, Forecast::Gets(id(1)));
        let pi = [("device_type", "pi"), ("bootloader", "2")];
        check(&pi, false, Forecast::Gets(id(2)));
        let unknown = Forecast::Open("the device has not said its device_type".to_owned());
        check(&[], false, unknown);
        let other = [("device_type", "bone")];
        let why = r#"no artifact "r2" fits: device_type must be "pi", the device has "bone""#;
        check(&other, false, Forecast::Misfit(why.to_owned()));
        assert!(matches!(
            forecast("r2", false, &device(PI), &candidates[1..]),
            Forecast::Open(_)
        ));
    }

    #[test]
    fn a_device_that_has_the_artifact_gets_it_only_by_force() {
        let candidates = [candidate(1, 1, &[("device_type", &["pi"])])];
        let why = "the device had this artifact when it asked";
        let settled = Err((DeploymentStatus::AlreadyInstalled, why));
        check(&open(1, None), UPDATED, &candidates, settled);
        check(
            &open(1, Some(DeploymentStatus::Pending)),
            UPDATED,
            &candidates,
            settled,
        );
        let mut forced = open(1, None);
        forced.forced = true;
        check(&forced, UPDATED, &candidates, Ok(1));
    }

    #[test]
    fn a_lost_final_report_is_not_a_failure() {
        let candidates = [candidate(1, 1, &[("device_type", &["pi"])])];
        let why = "inferred: the device asked again and has the artifact";
        let mut begun = open(1, Some(DeploymentStatus::Installing));
        check(
            &begun,
            UPDATED,
            &candidates,
            Err((DeploymentStatus::Success, why)),
        );
        check(&begun, PI, &candidates, Ok(1));
        // It had the artifact before: nobody can tell.
        begun.forced = true;
        begun.found_name = Some("r2".to_owned());
        check(&begun, UPDATED, &candidates, Ok(1));
    }

    #[test]
    fn what_has_begun_comes_first_and_nothing_old_after_something_new() {
        let chosen = |open: Vec<Open>, newest_done| {
            choose(&Prospects { open, newest_done }).map(|open| open.sequence)
        };
        assert_eq!(chosen(vec![], None), None);
        assert_eq!(chosen(vec![open(1, None), open(2, None)], None), Some(1));
        assert_eq!(
            chosen(
                vec![open(1, None), open(2, Some(DeploymentStatus::Pending))],
                None
            ),
            Some(2)
        );
        assert_eq!(chosen(vec![open(1, None), open(3, None)], Some(2)), Some(3));
        assert_eq!(chosen(vec![open(1, None)], Some(2)), None);
        assert_eq!(
            chosen(vec![open(1, Some(DeploymentStatus::Rebooting))], Some(2)),
            Some(1)
        );
    }

    #[test]
    fn the_first_final_status_stands() {
        use DeploymentStatus::{Aborted, Decommissioned, Failure, Installing, Pending, Success};
        for (before, report, worth) in [
            (None, Success, Report::Unknown),
            (Some(Pending), Installing, Report::Counts),
            (Some(Installing), Installing, Report::Counts),
            (Some(Installing), Success, Report::Counts),
            (Some(Success), Failure, Report::Late),
            (Some(Failure), Installing, Report::Late),
            (Some(Aborted), Success, Report::Refused),
            (Some(Decommissioned), Installing, Report::Refused),
        ] {
            assert_eq!(judge_report(before, report), worth, "{before:?} {report}");
        }
    }

    prop_compose! {
        fn provides()(pairs in proptest::collection::btree_map("[ab]", "[xyz]", 0..3), pi in any::<bool>(), name in "r[12]") -> Provides {
            let mut provides: Provides = pairs;
            provides.insert("device_type".into(), if pi { "pi" } else { "bone" }.into());
            provides.insert("artifact_name".into(), name);
            provides
        }
    }

    prop_compose! {
        fn any_candidate()(
            size in 0_u64..5,
            types in proptest::collection::vec("pi|bone", 1..3),
            depends in proptest::collection::btree_map("[ab]", proptest::collection::vec("[xyz]", 1..3), 0..2),
        ) -> Candidate {
            let mut depends = depends;
            depends.insert("device_type".into(), types);
            Candidate { id: id(0), size, depends }
        }
    }

    prop_compose! {
        // Ids tell candidates apart, as the store's primary key does.
        fn candidates()(list in proptest::collection::vec(any_candidate(), 0..6)) -> Vec<Candidate> {
            (0_u8..).zip(list).map(|(n, one)| Candidate { id: id(n), ..one }).collect()
        }
    }

    prop_compose! {
        fn any_open()(sequence in 1_i64..9, status in proptest::option::of(0_usize..7), forced in any::<bool>(),
            found in "r[12]", chosen in proptest::option::of(0_u8..8)) -> Open {
            let status = status.map(|n| DeploymentStatus::ALL[n]);
            Open {
                status,
                found_name: status.map(|_| found),
                artifact: chosen.map(id),
                forced,
                ..open(sequence, None)
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_offered_fits_and_nothing_that_fits_and_was_not_chosen_is_smaller(
            open in any_open(), device in provides(), candidates in candidates()
        ) {
            match answer(&open, &device, &candidates) {
                Answer::Offer { artifact } => {
                    let fits = |one: &&Candidate| one.depends.iter().all(|(key, wanted)| {
                        device.get(key).is_some_and(|has| wanted.contains(has))
                    });
                    let offered = candidates.iter().filter(fits).find(|one| one.id == artifact);
                    prop_assert!(offered.is_some());
                    if Some(artifact) != open.artifact {
                        let smallest = candidates.iter().filter(fits).map(|one| one.size).min();
                        prop_assert_eq!(offered.map(|one| one.size), smallest);
                    }
                }
                Answer::Settle { status, reason } => {
                    prop_assert!(status.is_final());
                    prop_assert!(!reason.is_empty());
                    // Nobody is told "success" who did not get something new.
                    if status == DeploymentStatus::Success {
                        prop_assert_eq!(&device["artifact_name"], "r2");
                        prop_assert_ne!(open.found_name.as_deref(), Some("r2"));
                    }
                }
            }
        }

        #[test]
        fn what_is_chosen_is_open_and_never_older_than_what_is_done(
            mut list in proptest::collection::vec(any_open(), 0..6), newest_done in proptest::option::of(0_i64..9)
        ) {
            list.sort_by_key(|open| open.sequence);
            let prospects = Prospects { open: list, newest_done };
            match choose(&prospects) {
                Some(chosen) => {
                    prop_assert!(chosen.status.is_some() || Some(chosen.sequence) > newest_done);
                    let earlier = prospects.open.iter().take_while(|open| open.sequence < chosen.sequence);
                    prop_assert!(earlier.into_iter().all(|open| open.status.is_none()));
                }
                None => prop_assert!(prospects.open.iter().all(|open| open.status.is_none() && Some(open.sequence) <= newest_done)),
            }
        }
    }
}
