//! Who a deployment is for changes while it goes: dynamic groups, standing orders, pins; and all of it at the command
//! line.

use serde_json::{Value, json};
use tandem_api::device::INVENTORY;

use crate::harness::{Device, Server, artifact};
use crate::rollouts::{DEPLOYMENTS, check, deploy, fleet, offered, report, shown};

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
