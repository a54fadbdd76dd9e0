//! Deployments that go through their devices step by step: phases, limits, stops, windows, groups that change.

use serde_json::{Value, json};

use crate::harness::{Answer, Device, Server, artifact};

pub const DEPLOYMENTS: &str = "/api/management/v1/deployments/deployments";

/// A server with a release `r2` and so many devices that are let in.
pub fn fleet(count: usize) -> (Server, Vec<Device>) {
    let server = Server::start();
    server.uploaded(&artifact("r2"));
    let devices = (0..count)
        .map(|n| server.device(&format!("d{n}")))
        .collect();
    (server, devices)
}

#[track_caller]
pub fn check(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text());
}

/// Deploys `r2` to all devices in this way.
#[track_caller]
pub fn deploy(server: &Server, how: Value) -> String {
    let mut new = json!({"name": "d", "artifact_name": "r2", "all_devices": true});
    new.as_object_mut()
        .unwrap()
        .extend(how.as_object().unwrap().clone());
    let answer = server.admin("POST", DEPLOYMENTS, new);
    check(&answer, 201);
    answer.location()
}

pub fn shown(server: &Server, id: &str) -> Value {
    server
        .admin("GET", &format!("{DEPLOYMENTS}/{id}"), ())
        .json()
}

/// Which of the devices get it when they ask.
pub fn offered(server: &Server, devices: &[Device]) -> Vec<usize> {
    let gets = |device: &Device| match device.next(server, "r1").status {
        200 => true,
        204 => false,
        other => panic!("{other}"),
    };
    (0..devices.len()).filter(|n| gets(&devices[*n])).collect()
}

#[track_caller]
pub fn report(server: &Server, devices: &[Device], which: &[usize], id: &str, status: &str) {
    for n in which {
        check(&devices[*n].report(server, id, status), 204);
    }
}

#[track_caller]
fn say(server: &Server, id: &str, word: &str, status: u16) {
    check(
        &server.admin("POST", &format!("{DEPLOYMENTS}/{id}/{word}"), ()),
        status,
    );
}

#[test]
fn phases_follow_each_other_when_their_devices_are_done() {
    let (server, devices) = fleet(6);
    let phases = json!([{"batch_size": 20}, {"batch_count": 2}, {"pause": true}]);
    let id = deploy(&server, json!({"phases": phases}));
    assert_eq!(offered(&server, &devices), [0]);
    // Who has begun is told the same again, nobody else anything.
    assert_eq!(offered(&server, &devices), [0]);
    let rollout = &shown(&server, &id)["rollout"];
    assert_eq!(
        rollout["holding"],
        "phase 1 has all its devices; the next begins when those are done"
    );
    report(&server, &devices, &[0], &id, "installing");
    assert_eq!(offered(&server, &devices[1..]), [0_usize; 0]);
    report(&server, &devices, &[0], &id, "success");
    assert_eq!(offered(&server, &devices[1..]), [0, 1]);
    report(&server, &devices, &[1, 2], &id, "success");
    assert_eq!(offered(&server, &devices[3..]), [0_usize; 0]);
    let all = shown(&server, &id);
    assert_eq!(all["rollout"]["paused_by"], "phase");
    let states: Vec<&str> = all["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["past", "current", "waiting"]);
    let counts: Vec<_> = all["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["device_count"].clone())
        .collect();
    assert_eq!(counts, [1, 2, 0]);
    say(&server, &id, "resume", 204);
    say(&server, &id, "resume", 409);
    assert_eq!(offered(&server, &devices[3..]), [0, 1, 2]);
    report(&server, &devices, &[3, 4, 5], &id, "success");
    assert_eq!(shown(&server, &id)["status"], "finished");
}

#[test]
fn a_deployment_begins_at_its_time_and_phases_can_be_brought_forward() {
    let (server, devices) = fleet(2);
    let phases = json!([{"batch_size": 50, "start_ts": "2099-01-01T00:00:00Z"}, {"start_ts": "2099-01-02T00:00:00Z"}]);
    let id = deploy(&server, json!({"phases": phases}));
    assert_eq!(offered(&server, &devices), [0_usize; 0]);
    let holding = shown(&server, &id)["rollout"]["holding"].clone();
    assert_eq!(holding, "the deployment begins at 2099-01-01 00:00 UTC");
    say(&server, &id, "advance", 204);
    assert_eq!(offered(&server, &devices).len(), 1);
    say(&server, &id, "advance", 204);
    assert_eq!(offered(&server, &devices).len(), 2);
    say(&server, &id, "advance", 409);
}

#[test]
fn a_group_goes_first() {
    let (server, devices) = fleet(4);
    let path = "/api/management/v1/inventory/groups/lab/devices";
    check(&server.admin("PATCH", path, json!([devices[2].id])), 200);
    let id = deploy(&server, json!({"phases": [{"group": "lab"}, {}]}));
    assert_eq!(offered(&server, &devices), [2]);
    report(&server, &devices, &[2], &id, "success");
    assert_eq!(offered(&server, &devices), [0, 1, 3]);
}

#[test]
fn no_more_than_the_cap_are_at_it_however_many_ask_at_once() {
    let (mut server, devices) = fleet(12);
    let id = deploy(&server, json!({"max_concurrent": 3}));
    let at_once = |server: &Server, devices: &[Device]| -> usize {
        std::thread::scope(|scope| {
            let asking: Vec<_> = devices
                .iter()
                .map(|device| scope.spawn(|| usize::from(device.next(server, "r1").status == 200)))
                .collect();
            asking.into_iter().map(|one| one.join().unwrap()).sum()
        })
    };
    assert_eq!(at_once(&server, &devices), 3);
    assert_eq!(shown(&server, &id)["rollout"]["active"], 3);
    // Those that it has given a place to are in the database, not in its memory.
    server.kill();
    server.restart();
    assert_eq!(at_once(&server, &devices), 3, "the same");
    let begun = offered(&server, &devices);
    report(&server, &devices, &begun[..2], &id, "success");
    assert_eq!(at_once(&server, &devices), 3, "one of before and two more");
    assert_eq!(shown(&server, &id)["statistics"]["status"]["success"], 2);
}

#[test]
fn failures_stop_a_deployment_until_somebody_lets_it_go_on() {
    let (mut server, devices) = fleet(6);
    let id = deploy(&server, json!({"stop_on_failures": {"count": 2}}));
    assert_eq!(offered(&server, &devices[..3]), [0, 1, 2]);
    report(&server, &devices, &[0, 1, 2], &id, "downloading");
    report(&server, &devices, &[0, 1], &id, "failure");
    assert_eq!(offered(&server, &devices[3..]), [0_usize; 0]);
    // Who is at it goes on.
    assert_eq!(devices[2].next(&server, "r1").status, 200);
    let why = "the deployment stopped itself: it failed on 2 devices";
    let rollout = shown(&server, &id)["rollout"].clone();
    assert_eq!(
        (&rollout["paused_by"], &rollout["holding"]),
        (&json!("failures"), &json!(why))
    );
    // The truth is in the database.
    server.kill();
    server.restart();
    assert_eq!(offered(&server, &devices[3..]), [0_usize; 0]);
    say(&server, &id, "resume", 204);
    assert_eq!(offered(&server, &devices[3..]), [0, 1, 2]);
    // Counted anew: one more failure is not the second.
    report(&server, &devices, &[3], &id, "failure");
    assert_eq!(shown(&server, &id)["rollout"]["paused"], false);
}

#[test]
fn a_paused_deployment_starts_nothing() {
    let (server, devices) = fleet(2);
    let id = deploy(&server, json!({}));
    let pause = format!("{DEPLOYMENTS}/{id}/pause");
    check(
        &server.admin("POST", &pause, json!({"reason": "the fair is on"})),
        204,
    );
    check(&server.admin("POST", &pause, json!({"reason": "x"})), 409);
    assert_eq!(offered(&server, &devices), [0_usize; 0]);
    let holding = shown(&server, &id)["rollout"]["holding"].clone();
    assert_eq!(holding, "the deployment is paused: the fair is on");
    say(&server, &id, "resume", 204);
    assert_eq!(offered(&server, &devices), [0, 1]);
    for path in ["pause", "resume", "advance", "retry"] {
        let nowhere = format!("{DEPLOYMENTS}/{}/{path}", devices[0].id);
        check(&server.admin("POST", &nowhere, ()), 404);
    }
    check(
        &server.admin(
            "PUT",
            &format!("{DEPLOYMENTS}/{id}/status"),
            json!({"status": "aborted"}),
        ),
        204,
    );
    say(&server, &id, "pause", 422);
}

#[test]
fn what_is_stopped_does_not_keep_the_repair_from_devices() {
    let (server, devices) = fleet(2);
    server.uploaded(&artifact("r3"));
    let bad = deploy(
        &server,
        json!({"stop_on_failures": {"count": 1}, "max_concurrent": 1}),
    );
    assert_eq!(offered(&server, &devices), [0]);
    report(&server, &devices, &[0], &bad, "failure");
    let good = server.deploy("r3", &[&devices[0], &devices[1]]);
    assert_eq!(offered(&server, &devices), [0, 1]);
    report(&server, &devices, &[0, 1], &good, "success");
    // What was passed over is not given afterwards, and does not keep the deployment open.
    assert_eq!(offered(&server, &devices), [0_usize; 0]);
    assert_eq!(shown(&server, &bad)["status"], "finished");
    let passed = server.status_on(&bad, &devices[1]);
    assert_eq!(
        (&passed["status"], &passed["substate"]),
        (&json!("aborted"), &json!("a newer deployment went first"))
    );
}

#[test]
fn a_device_on_which_it_fails_tries_again_and_keeps_its_place() {
    let (server, devices) = fleet(2);
    let id = deploy(&server, json!({"retries": 1, "max_concurrent": 1}));
    assert_eq!(offered(&server, &devices), [0]);
    report(&server, &devices, &[0], &id, "failure");
    let status = server.status_on(&id, &devices[0]);
    assert_eq!(status["status"], "pending");
    assert_eq!(status["substate"], "failed, is offered again (1 of 1)");
    assert_eq!(offered(&server, &devices), [0]);
    report(&server, &devices, &[0], &id, "failure");
    assert_eq!(server.status_on(&id, &devices[0])["status"], "failure");
    assert_eq!(offered(&server, &devices), [1]);
    assert_eq!(shown(&server, &id)["retries"], 1);
}

#[test]
fn an_artifact_that_failed_three_times_on_a_device_is_offered_again_only_by_force() {
    let (server, devices) = fleet(1);
    let first = deploy(&server, json!({}));
    assert_eq!(offered(&server, &devices), [0]);
    report(&server, &devices, &[0], &first, "failure");
    for failed in [first, deploy(&server, json!({"name": "d2"}))] {
        if offered(&server, &devices) == [0] {
            report(&server, &devices, &[0], &failed, "failure");
        }
    }
    let again = deploy(&server, json!({"name": "d3"}));
    assert_eq!(offered(&server, &devices), [0]);
    report(&server, &devices, &[0], &again, "failure");
    let refused = deploy(&server, json!({"name": "d4"}));
    assert_eq!(offered(&server, &devices), [0_usize; 0]);
    let status = server.status_on(&refused, &devices[0]);
    assert_eq!(status["status"], "noartifact");
    assert!(
        status["substate"]
            .as_str()
            .unwrap()
            .contains("failed on this device too often"),
        "{status}"
    );
    deploy(&server, json!({"name": "d5", "force_installation": true}));
    assert_eq!(offered(&server, &devices), [0]);
}

/// A window that is not open now: an hour, half a day from now.
fn closed_window() -> Value {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let hour = (now / 3600 + 12) % 24;
    json!({"start": format!("{hour:02}:00"), "duration_minutes": 60, "time_zone": "UTC"})
}

#[test]
fn nothing_is_offered_outside_a_maintenance_window() {
    let (server, devices) = fleet(2);
    let group = "/api/management/v1/inventory/groups/shop/devices";
    check(&server.admin("PATCH", group, json!([devices[0].id])), 200);
    let window = "/api/management/v1/deployments/groups/shop/maintenance_window";
    check(&server.admin("GET", window, ()), 404);
    check(&server.admin("PUT", window, closed_window()), 204);
    assert_eq!(server.admin("GET", window, ()).json(), closed_window());
    deploy(&server, json!({}));
    assert_eq!(offered(&server, &devices), [1]);
    check(&server.admin("DELETE", window, ()), 204);
    assert_eq!(offered(&server, &devices), [0, 1]);
    // Also who has begun waits for the next window.
    check(&server.admin("PUT", window, closed_window()), 204);
    assert_eq!(offered(&server, &devices), [1]);
    check(&server.admin("DELETE", window, ()), 204);
    server.uploaded(&artifact("r3"));
    let closed = json!({"name": "w", "artifact_name": "r3", "all_devices": true, "maintenance_window": closed_window()});
    let answer = server.admin("POST", DEPLOYMENTS, closed);
    check(&answer, 201);
    let holding = shown(&server, &answer.location())["rollout"]["holding"].clone();
    assert!(
        holding
            .as_str()
            .unwrap()
            .starts_with("the maintenance window opens at "),
        "{holding}"
    );
}

#[test]
fn a_device_is_told_when_it_may_install() {
    let (server, devices) = fleet(1);
    deploy(
        &server,
        json!({"maintenance_window": {"start": "00:00", "duration_minutes": 1440, "time_zone": "UTC", "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}}),
    );
    let answer = devices[0].next(&server, "r1").json();
    let openings = answer["maintenance_openings"].as_array().unwrap();
    let time = |at: &Value| -> tandem_api::Timestamp { at.as_str().unwrap().parse().unwrap() };
    let now = tandem_api::Timestamp::from(std::time::SystemTime::now());
    assert!(
        time(&openings[0]["from"]) <= now && now < time(&openings[0]["until"]),
        "{answer}"
    );

    // Without a window it may at any time, and the answer is what it is everywhere.
    let (server, devices) = fleet(1);
    deploy(&server, json!({}));
    let answer = devices[0].next(&server, "r1").json();
    assert!(answer.get("id").is_some(), "{answer}");
    assert!(answer.get("maintenance_openings").is_none(), "{answer}");
}

#[test]
fn what_makes_no_sense_is_refused_with_a_sentence() {
    let (server, _devices) = fleet(3);
    let check = |how: Value, status: u16, why: &str| {
        let mut new = json!({"name": "d", "artifact_name": "r2", "all_devices": true});
        new.as_object_mut()
            .unwrap()
            .extend(how.as_object().unwrap().clone());
        let answer = server.admin("POST", DEPLOYMENTS, new);
        assert_eq!(answer.status, status, "{how}: {}", answer.text());
        assert!(answer.text().contains(why), "{how}: {}", answer.text());
    };
    check(
        json!({"phases": [{"batch_size": 5}, {}]}),
        400,
        "5 % of 3 devices is less than one",
    );
    check(
        json!({"phases": [{"batch_size": 60}, {"batch_size": 60}]}),
        422,
        "more than 100 %",
    );
    check(
        json!({"phases": [{"group": "x"}, {}]}),
        400,
        "no device of it is in group",
    );
    check(
        json!({"phases": "now"}),
        400,
        "not the JSON that is expected",
    );
    check(
        json!({"max_concurrent": 0}),
        422,
        "no device would ever begin",
    );
    check(json!({"retries": 1000}), 422, "at most 100");
    check(json!({"stop_on_failures": {}}), 422, "neither is given");
    check(
        json!({"maintenance_window": {"start": "25:00", "duration_minutes": 1}}),
        422,
        "22:30",
    );
    check(
        json!({"maintenance_window": {"start": "1:00", "duration_minutes": 1, "time_zone": "Europe/Atlantis"}}),
        422,
        "no time zone",
    );
    check(json!({"max_devices": 1}), 422, "that devices join");
    check(json!({"filter_id": "x"}), 400, "exclude each other");
    check(
        json!({"update_control_map": {"states": {}}}),
        422,
        "not supported",
    );
}
