//! What devices are told, and what their reports are worth.

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
        lost: None,
        found_name: status.map(|_| "r1".to_owned()),
        artifact: None,
        artifact_name: "r2".to_owned(),
        forced: false,
        name: "d".to_owned(),
        earliest: 0,
        plan: Plan::default(),
        progress: Progress::default(),
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
        quarantined: false,
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
    assert_eq!(answer(open, None, &device(has), candidates), expected);
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
        let prospects = Prospects {
            open,
            newest_done,
            ..Prospects::default()
        };
        match choose(&prospects, 0) {
            Turn::Take(open) => Some(open.sequence),
            Turn::Wait(until) => {
                assert_eq!(until, Some(i64::MAX));
                None
            }
        }
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
fn what_is_stopped_does_not_keep_the_repair_from_devices() {
    let mut prospects = Prospects {
        open: vec![open(1, None), open(2, None)],
        ..Prospects::default()
    };
    prospects.open[0].progress.pause("", 0);
    let taken = |prospects: &Prospects| match choose(prospects, 0) {
        Turn::Take(open) => Ok(open.sequence),
        Turn::Wait(until) => Err(until),
    };
    assert_eq!(taken(&prospects), Ok(2));
    // Also who was to try again gets the repair instead.
    prospects.open[0].status = Some(DeploymentStatus::Pending);
    assert_eq!(taken(&prospects), Ok(2));
    prospects.open[0].status = Some(DeploymentStatus::Downloading);
    assert_eq!(taken(&prospects), Ok(1));
    // Who was lost at it has given its place up, and is no longer at it.
    prospects.open[0].lost = Some(1);
    assert_eq!(taken(&prospects), Ok(2));
    prospects.open[0].lost = None;
    prospects.open[0].status = None;
    prospects.open[1].plan.cap = Some(0);
    assert_eq!(
        taken(&prospects),
        Err(None),
        "a place may become free at any time"
    );
    prospects.open.truncate(1);
    assert_eq!(
        taken(&prospects),
        Err(Some(i64::MAX)),
        "only a person can let it go on"
    );
    let why = prospects.waiting(0);
    assert_eq!(why[0].1, "the deployment is paused");
}

#[test]
fn a_pinned_device_stays_with_its_release() {
    let candidates = [candidate(1, 1, &[("device_type", &["pi"])])];
    let told = |open: &Open, pinned| answer(open, Some(pinned), &device(PI), &candidates);
    assert_eq!(
        told(&open(1, None), "r2"),
        Answer::Offer { artifact: id(1) }
    );
    let pinned = settle(
        DeploymentStatus::NoArtifact,
        "the device is pinned to \"r1\"".to_owned(),
    );
    assert_eq!(told(&open(1, None), "r1"), pinned);
    // Half-way is no place to stop.
    let begun = open(1, Some(DeploymentStatus::Installing));
    assert_eq!(told(&begun, "r1"), Answer::Offer { artifact: id(1) });
}

#[test]
fn what_failed_too_often_is_not_offered_again() {
    let mut candidates = [
        candidate(1, 1, &[("device_type", &["pi"])]),
        candidate(2, 9, &[("device_type", &["pi"])]),
    ];
    candidates[0].quarantined = true;
    check(&open(1, None), PI, &candidates, Ok(2));
    candidates[1].quarantined = true;
    let why = "no artifact \"r2\" fits: it has failed on this device too often, and is offered to it again only by force";
    check(
        &open(1, None),
        PI,
        &candidates,
        Err((DeploymentStatus::NoArtifact, why)),
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
        Candidate { id: id(0), size, depends, quarantined: false }
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
        match answer(&open, None, &device, &candidates) {
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
        let prospects = Prospects { open: list, newest_done, ..Prospects::default() };
        match choose(&prospects, 0) {
            Turn::Take(chosen) => {
                prop_assert!(chosen.status.is_some() || Some(chosen.sequence) > newest_done);
                let earlier = prospects.open.iter().take_while(|open| open.sequence < chosen.sequence);
                prop_assert!(earlier.into_iter().all(|open| open.status.is_none()));
            }
            Turn::Wait(_) => prop_assert!(prospects.open.iter().all(|open| open.status.is_none() && Some(open.sequence) <= newest_done)),
        }
    }
}
