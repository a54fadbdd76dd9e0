//! Deployments that go through their devices step by step: phases, limits, stops, windows, groups that change.

use serde_json::{Value, json};
use tandem_api::device::INVENTORY;

use crate::harness::{Answer, Device, Server, artifact};

const DEPLOYMENTS: &str = "/api/management/v1/deployments/deployments";

/// A server with a release `r2` and so many devices that are let in.
fn fleet(count: usize) -> (Server, Vec<Device>) {
    let server = Server::start();
    server.uploaded(&artifact("r2"));
    let devices = (0..count)
        .map(|n| server.device(&format!("d{n}")))
        .collect();
    (server, devices)
}

#[track_caller]
fn check(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text());
}

/// Deploys `r2` to all devices in this way.
#[track_caller]
fn deploy(server: &Server, how: Value) -> String {
    let mut new = json!({"name": "d", "artifact_name": "r2", "all_devices": true});
    new.as_object_mut()
        .unwrap()
        .extend(how.as_object().unwrap().clone());
    let answer = server.admin("POST", DEPLOYMENTS, new);
    check(&answer, 201);
    answer.location()
}

fn shown(server: &Server, id: &str) -> Value {
    server
        .admin("GET", &format!("{DEPLOYMENTS}/{id}"), ())
        .json()
}

/// Which of the devices get it when they ask.
fn offered(server: &Server, devices: &[Device]) -> Vec<usize> {
    let gets = |device: &Device| match device.next(server, "r1").status {
        200 => true,
        204 => false,
        other => panic!("{other}"),
    };
    (0..devices.len()).filter(|n| gets(&devices[*n])).collect()
}

#[track_caller]
fn report(server: &Server, devices: &[Device], which: &[usize], id: &str, status: &str) {
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

/// A device says about itself that it is on this site.
#[track_caller]
fn is_on(server: &Server, device: &Device, site: &str) {
    let attributes = json!([{"name": "site", "value": site}]);
    check(&device.request(server, "PATCH", INVENTORY, attributes), 200);
}

#[test]
fn devices_join_a_dynamic_group_and_get_what_it_is_given() {
    let (server, mut devices) = fleet(3);
    is_on(&server, &devices[0], "north");
    let filters = "/api/management/v2/inventory/filters";
    let terms =
        json!([{"scope": "inventory", "attribute": "site", "type": "$eq", "value": "north"}]);
    let answer = server.admin("POST", filters, json!({"name": "north", "terms": terms}));
    check(&answer, 201);
    let filter = answer.location();
    check(
        &server.admin("POST", filters, json!({"name": "north", "terms": []})),
        409,
    );
    check(&server.admin("POST", filters, json!({"name": "x", "terms": [{"scope": "x", "attribute": "a", "type": "$eq", "value": 1}]})), 400);
    let saved = server
        .admin("GET", &format!("{filters}/{filter}"), ())
        .json();
    assert_eq!((&saved["name"], &saved["terms"]), (&json!("north"), &terms));

    let new = json!({"name": "n", "artifact_name": "r2", "filter_id": filter});
    let answer = server.admin("POST", "/api/management/v2/deployments/deployments", new);
    check(&answer, 201);
    let id = answer.location();
    assert_eq!(offered(&server, &devices), [0]);
    report(&server, &devices, &[0], &id, "success");
    assert_eq!(
        shown(&server, &id)["status"],
        "inprogress",
        "others may join"
    );
    // It comes to fit.
    is_on(&server, &devices[1], "north");
    assert_eq!(offered(&server, &devices), [1]);
    // A device that is let in later and says so first.
    let mut late = Device::new("late");
    late.authenticate(&server);
    server.accept(&mut late);
    late.authenticate(&server);
    devices.push(late);
    assert_eq!(offered(&server, &devices), [1]);
    is_on(&server, &devices[3], "north");
    assert_eq!(offered(&server, &devices), [1, 3]);
    let all = shown(&server, &id);
    assert_eq!(
        (&all["max_devices"], &all["filter"]["name"]),
        (&json!(3), &json!("north"))
    );
    check(
        &server.admin("DELETE", &format!("{filters}/{filter}"), ()),
        204,
    );
    check(
        &server.admin("DELETE", &format!("{filters}/{filter}"), ()),
        404,
    );
    is_on(&server, &devices[2], "north");
    assert_eq!(
        offered(&server, &devices),
        [1, 2, 3],
        "the deployment keeps its filter"
    );
}

#[test]
fn a_continuous_deployment_to_a_group_takes_in_who_comes_into_it_until_it_is_full() {
    let (server, devices) = fleet(4);
    let group = "/api/management/v1/inventory/groups/beta/devices";
    check(&server.admin("PATCH", group, json!([devices[0].id])), 200);
    let new = json!({"name": "b", "artifact_name": "r2", "continuous": true, "max_devices": 3});
    let answer = server.admin("POST", &format!("{DEPLOYMENTS}/group/beta"), new);
    check(&answer, 201);
    let id = answer.location();
    assert_eq!(offered(&server, &devices), [0]);
    check(
        &server.admin(
            "PATCH",
            group,
            json!([devices[1].id, devices[2].id, devices[3].id]),
        ),
        200,
    );
    assert_eq!(offered(&server, &devices).len(), 3);
    report(
        &server,
        &devices,
        &offered(&server, &devices),
        &id,
        "success",
    );
    assert_eq!(shown(&server, &id)["status"], "finished");
}

#[test]
fn a_standing_order_follows_the_newest_release_with_a_tag() {
    let (server, mut devices) = fleet(2);
    let orders = "/api/management/v1/deployments/standing_orders";
    let answer = server.admin(
        "POST",
        orders,
        json!({"tag": "Stable", "max_concurrent": 1}),
    );
    check(&answer, 201);
    let order = answer.location();
    assert_eq!(offered(&server, &devices), [0_usize; 0]);
    let tag = |release: &str, tags: Value| {
        let path = format!("/api/management/v2/deployments/deployments/releases/{release}/tags");
        check(&server.admin("PUT", &path, tags), 204);
    };
    tag("r2", json!(["stable"]));
    assert_eq!(offered(&server, &devices), [0]);
    let shown_order = server.admin("GET", orders, ()).json()[0].clone();
    assert_eq!(shown_order["release"], "r2");
    let first = shown_order["deployment"].as_str().unwrap().to_owned();
    report(&server, &devices, &[0], &first, "success");
    // A new device joins, a new release takes the place of the one before.
    devices.push(server.device("new"));
    server.uploaded(&artifact("r3"));
    tag("r3", json!(["stable"]));
    let second = server.admin("GET", orders, ()).json()[0]["deployment"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_ne!(first, second);
    assert_eq!(shown(&server, &first)["status"], "finished");
    for n in 0..3 {
        let answer = devices[n].next(&server, "r1");
        check(&answer, 200);
        assert_eq!(answer.json()["artifact"]["artifact_name"], "r3");
        report(&server, &devices, &[n], &second, "success");
    }
    assert_eq!(shown(&server, &second)["status"], "inprogress");
    check(
        &server.admin("DELETE", &format!("{orders}/{order}"), ()),
        204,
    );
    assert_eq!(shown(&server, &second)["status"], "finished");
    check(
        &server.admin("DELETE", &format!("{orders}/{order}"), ()),
        404,
    );
}

#[test]
fn a_pinned_device_stays_with_its_release() {
    let (server, devices) = fleet(1);
    let path = format!(
        "/api/management/v1/deployments/devices/{}/pin",
        devices[0].id
    );
    check(&server.admin("PUT", &path, json!({"release": "r1"})), 204);
    assert_eq!(server.admin("GET", &path, ()).json()["release"], "r1");
    let id = deploy(&server, json!({}));
    assert_eq!(offered(&server, &devices), [0_usize; 0]);
    assert_eq!(
        server.status_on(&id, &devices[0])["substate"],
        "the device is pinned to \"r1\""
    );
    check(&server.admin("DELETE", &path, ()), 204);
    deploy(&server, json!({"name": "again"}));
    assert_eq!(offered(&server, &devices), [0]);
    let nobody = format!("/api/management/v1/deployments/devices/{id}/pin");
    check(&server.admin("PUT", &nobody, json!({"release": "r1"})), 404);
    check(&server.admin("PUT", &path, json!({"release": ""})), 400);
}

#[test]
fn the_command_line_does_all_of_it() {
    let (server, devices) = fleet(4);
    let made = server.done(&[
        "deployment",
        "create",
        "r2",
        "--all",
        "--phase",
        "1",
        "--phase",
        "50%,wait=0s",
        "--phase",
        "rest,pause",
        "--max-concurrent",
        "2",
        "--stop-after",
        "3,50%",
        "--retries",
        "1",
    ]);
    let id = made.trim().strip_prefix("made ").unwrap().to_owned();
    assert_eq!(offered(&server, &devices), [0]);
    let text = server.done(&["deployment", "show", &id]);
    assert!(
        text.contains("1      current  1      1   1 device\n"),
        "{text}"
    );
    assert!(
        text.contains("3      waiting  0      1   all that are left, when somebody says go on\n"),
        "{text}"
    );
    assert!(
        text.contains("no device begins now: phase 1 has all its devices"),
        "{text}"
    );
    server.done(&["deployment", "pause", &id, "--reason", "lunch"]);
    server.done(&["deployment", "resume", &id]);
    server.done(&["deployment", "advance", &id]);
    assert_eq!(offered(&server, &devices).len(), 2, "the cap");
    for status in ["failure", "failure"] {
        report(&server, &devices, &[0], &id, status);
    }
    let again = server.done(&["deployment", "retry", &id]);
    assert!(again.starts_with("made "), "{again}");
    server.done(&["filter", "create", "old", "kernel<6", "tags/site!=lab"]);
    let filters = server.done(&["filter", "list"]);
    assert!(
        filters.contains("old   kernel<6 tags/site!=lab"),
        "{filters}"
    );
    server.done(&[
        "order", "create", "stable", "--filter", "old", "--phase", "1,pause",
    ]);
    let orders = server.done(&["order", "list"]);
    assert!(orders.contains("stable  old"), "{orders}");
    server.done(&["filter", "delete", "old"]);
    server.done(&["group", "window", "beta", "mon-fri 22:00 4h Europe/Berlin"]);
    let window = server.done(&["group", "window", "beta"]);
    assert_eq!(window, "mon,tue,wed,thu,fri 22:00 4h Europe/Berlin\n");
    server.done(&["group", "window", "beta", "always"]);
    server.done(&["device", "pin", &devices[3].id, "r1"]);
    let text = server.done(&["device", "show", &devices[3].id]);
    assert!(text.contains("pinned    r1\n"), "{text}");
    assert!(text.contains("WHY NOT YET"), "{text}");
    assert!(
        text.contains("the device is pinned to \"r1\": it will be told that nothing fits"),
        "{text}"
    );
    server.done(&["device", "unpin", &devices[3].id]);
    for wrong in [
        ["deployment", "create", "r2", "--all", "--phase", "x"],
        ["deployment", "create", "r2", "--all", "--window", "never"],
        [
            "deployment",
            "create",
            "r2",
            "--all",
            "--stop-after",
            "many",
        ],
    ] {
        assert_eq!(server.verb(&wrong).status.code(), Some(2), "{wrong:?}");
    }
}
