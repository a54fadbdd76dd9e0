//! Who is let in, and the groups and tags of devices.

use serde_json::{Value, json};

use super::{DEVICES, INVENTORY, NEVER, check, many};
use crate::harness::{Device, Server};

#[test]
fn a_device_is_admitted_as_its_operator_decides() {
    let server = Server::start();
    let mut device = Device::new("a");
    device.authenticate(&server);
    let (id, set) = server.find(&device);
    let status = format!("{DEVICES}/{id}/auth/{set}/status");
    let put = |path: &str, status: &str| server.admin("PUT", path, json!({"status": status}));
    let shown =
        |field: &str| server.admin("GET", &format!("{DEVICES}/{id}"), ()).json()[field].clone();
    assert_eq!(shown("status"), "pending");
    assert_eq!(shown("identity_data"), json!({"mac": "a"}));
    assert_eq!(shown("decommissioning"), false);
    for (to, code) in [
        ("accepted", 204),
        ("accepted", 204),
        ("rejected", 204),
        ("accepted", 204),
        ("pending", 204),
        ("preauthorized", 400),
        ("nonsense", 400),
    ] {
        check(&put(&status, to), code);
        if code == 204 {
            assert_eq!(shown("status"), to);
            assert_eq!(
                server.admin("GET", &status, ()).json(),
                json!({"status": to})
            );
            let count = server.admin("GET", &format!("{DEVICES}/count?status={to}"), ());
            assert_eq!(count.json(), json!({"count": 1}));
        }
    }
    check(
        &put(&format!("{DEVICES}/{id}/auth/{NEVER}/status"), "accepted"),
        404,
    );
    check(
        &put(&format!("{DEVICES}/{NEVER}/auth/{set}/status"), "accepted"),
        404,
    );
    check(&server.admin("GET", &format!("{DEVICES}/{NEVER}"), ()), 404);
    let search = server.admin(
        "POST",
        &format!("{DEVICES}/search"),
        json!({"status": ["pending"], "id": id}),
    );
    assert_eq!(search.json().as_array().unwrap().len(), 1);
    check(&server.admin("DELETE", &format!("{DEVICES}/{id}"), ()), 204);
    check(&server.admin("DELETE", &format!("{DEVICES}/{id}"), ()), 404);
    // It starts over.
    device.authenticate(&server);
    assert_ne!(server.find(&device).0, id);
}

#[test]
fn a_device_that_is_expected_gets_in_at_once_with_its_key_only() {
    let server = Server::start();
    let mut expected = Device::new("a");
    let new = |device: &Device, force: bool| json!({"identity_data": {"mac": "a"}, "pubkey": device.pem(), "force": force});
    let answer = server.admin("POST", DEVICES, new(&expected, false));
    check(&answer, 201);
    let id = answer.location();
    let again = server.admin("POST", DEVICES, new(&expected, false));
    assert_eq!(
        (again.status, again.json()["id"].as_str()),
        (409, Some(id.as_str()))
    );
    let mut impostor = Device::new("a");
    assert_eq!(impostor.authenticate(&server).status, 401);
    assert_eq!(expected.authenticate(&server).status, 200);
    assert_eq!(expected.next(&server, "v1").status, 204);
    assert_eq!(impostor.authenticate(&server).status, 401);
    check(
        &server.admin("POST", DEVICES, new(&Device::new("a"), true)),
        201,
    );
    for wrong in [
        json!({"identity_data": {}, "pubkey": "x"}),
        json!({"pubkey": expected.pem()}),
        json!({"identity_data": [1], "pubkey": expected.pem()}),
    ] {
        check(&server.admin("POST", DEVICES, wrong), 400);
    }
}

#[test]
fn groups_and_tags_are_attributes_of_devices() {
    let server = Server::start();
    let ids = many(&server, 3);
    let group = |id: &str| {
        server
            .admin("GET", &format!("{INVENTORY}/devices/{id}/group"), ())
            .json()
    };
    assert_eq!(group(&ids[0]), json!({"group": null}));
    check(
        &server.admin(
            "PUT",
            &format!("{INVENTORY}/devices/{}/group", ids[0]),
            json!({"group": "beta"}),
        ),
        204,
    );
    let patched = server.admin(
        "PATCH",
        &format!("{INVENTORY}/groups/beta/devices"),
        json!([ids[0], ids[1]]),
    );
    check(&patched, 200);
    assert_eq!(group(&ids[1]), json!({"group": "beta"}));
    assert_eq!(
        server
            .admin("GET", &format!("{INVENTORY}/groups"), ())
            .json(),
        json!(["beta"])
    );
    let listed = server.admin("GET", &format!("{INVENTORY}/groups/beta/devices"), ());
    assert_eq!(listed.header("x-total-count"), Some("2"));
    let without = server
        .admin("GET", &format!("{INVENTORY}/devices?has_group=false"), ())
        .json();
    assert_eq!(without[0]["id"], ids[2].as_str());
    for wrong in ["", "a b", "../x", "é"] {
        check(
            &server.admin(
                "PUT",
                &format!("{INVENTORY}/devices/{}/group", ids[0]),
                json!({"group": wrong}),
            ),
            400,
        );
    }
    check(
        &server.admin(
            "PUT",
            &format!("{INVENTORY}/devices/{NEVER}/group"),
            json!({"group": "beta"}),
        ),
        404,
    );
    check(
        &server.admin(
            "DELETE",
            &format!("{INVENTORY}/devices/{}/group/beta", ids[0]),
            (),
        ),
        204,
    );
    check(
        &server.admin(
            "DELETE",
            &format!("{INVENTORY}/devices/{}/group/beta", ids[0]),
            (),
        ),
        404,
    );
    check(
        &server.admin("DELETE", &format!("{INVENTORY}/groups/beta"), ()),
        200,
    );
    check(
        &server.admin("GET", &format!("{INVENTORY}/groups/beta/devices"), ()),
        404,
    );

    let tags = format!("{INVENTORY}/devices/{}/tags", ids[0]);
    check(
        &server.admin("PUT", &tags, json!([{"name": "site", "value": "north"}])),
        200,
    );
    check(
        &server.admin("PATCH", &tags, json!([{"name": "rack", "value": "7"}])),
        200,
    );
    let filter = |kind: &str, value: Value| json!({"page": 1, "per_page": 10, "filters": [{"scope": "tags", "attribute": "site", "type": kind, "value": value}]});
    let search =
        |body: Value| server.admin("POST", "/api/management/v2/inventory/filters/search", body);
    for (kind, value, found) in [
        ("$eq", json!("north"), 1),
        ("$eq", json!("south"), 0),
        ("$in", json!(["north", "x"]), 1),
        ("$exists", json!(false), 2),
        ("$regex", json!("no.*"), 1),
        ("$ne", json!("north"), 2),
    ] {
        let answer = search(filter(kind, value));
        check(&answer, 200);
        assert_eq!(
            answer.header("x-total-count"),
            Some(found.to_string().as_str()),
            "{kind}"
        );
    }
    for (kind, value) in [
        ("$nonsense", json!(1)),
        ("$in", json!("x")),
        ("$regex", json!("(")),
        ("$exists", json!("x")),
    ] {
        check(&search(filter(kind, value)), 400);
    }
    check(
        &search(
            json!({"filters": [{"scope": "nonsense", "attribute": "a", "type": "$eq", "value": 1}]}),
        ),
        400,
    );
    let tag = |n: usize| json!({"name": format!("t{n}"), "value": "v"});
    check(
        &server.admin("PUT", &tags, json!((0..21).map(tag).collect::<Vec<_>>())),
        400,
    );
}
