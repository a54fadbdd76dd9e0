//! What operators and their tools ask and are answered.

use serde_json::{Value, json};

use crate::harness::{Answer, Device, Server, artifact, build};

const DEVICES: &str = "/api/management/v2/devauth/devices";
const INVENTORY: &str = "/api/management/v1/inventory";
const DEPLOYMENTS: &str = "/api/management/v1/deployments/deployments";
const USERS: &str = "/api/management/v1/useradm/users";
const NEVER: &str = "11111111-1111-4111-8111-111111111111";

#[track_caller]
fn check(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.header("x-men-requestid").is_some());
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    if status >= 400 {
        let body = answer.json();
        assert!(!body["error"].as_str().unwrap().is_empty());
        assert_eq!(
            body["request_id"].as_str(),
            answer.header("x-men-requestid")
        );
    }
}

/// Preauthorizes devices, which is the quickest way to have many.
fn many(server: &Server, count: usize) -> Vec<String> {
    let mut http = server.connect();
    (0..count)
        .map(|n| {
            let new = json!({"identity_data": {"sn": format!("{n:04}")}, "pubkey": Device::new("x").pem()});
            let answer = http.with_token("POST", DEVICES, server.token(), new);
            assert_eq!(answer.status, 201, "{}", answer.text());
            answer.location()
        })
        .collect()
}

/// Follows the links to the next page until there is none; what was on the pages.
fn walk(server: &Server, first: &str) -> (Vec<Value>, usize) {
    let (mut all, mut pages) = (Vec::new(), 0);
    let mut path = first.to_owned();
    loop {
        let answer = server.admin("GET", &path, ());
        check(&answer, 200);
        all.extend(answer.json().as_array().unwrap().clone());
        pages += 1;
        let links = answer.all("link");
        assert!(
            links.iter().any(|link| link.ends_with("rel=\"first\"")),
            "{links:?}"
        );
        assert_eq!(
            pages > 1,
            links.iter().any(|link| link.ends_with("rel=\"prev\""))
        );
        match links.iter().find(|link| link.ends_with("; rel=\"next\"")) {
            None => return (all, pages),
            Some(link) => path = link[1..link.find('>').unwrap()].to_owned(),
        }
    }
}

#[test]
fn lists_are_walked_page_by_page() {
    let server = Server::start();
    let ids = many(&server, 101);
    for (path, pages) in [
        (format!("{DEVICES}?per_page=20"), 6),
        (
            format!("{DEVICES}?status=preauthorized&per_page=50&page=1"),
            3,
        ),
        (format!("{INVENTORY}/devices?per_page=100"), 2),
        (format!("{INVENTORY}/devices?identity/sn=0042"), 1),
    ] {
        let (found, walked) = walk(&server, &path);
        assert_eq!(walked, pages, "{path}");
        let mut found: Vec<&str> = found
            .iter()
            .map(|one| one["id"].as_str().unwrap())
            .collect();
        found.sort();
        found.dedup();
        let expected = if path.contains("0042") { 1 } else { ids.len() };
        assert_eq!(found.len(), expected, "{path}");
    }
    let counted = server.admin("GET", &format!("{INVENTORY}/devices?per_page=2&page=3"), ());
    assert_eq!(counted.header("x-total-count"), Some("101"));
    assert!(
        counted
            .all("link")
            .iter()
            .any(|link| link.contains("page=51") && link.ends_with("rel=\"last\""))
    );
    let beyond = server.admin("GET", &format!("{DEVICES}?page=99"), ());
    check(&beyond, 200);
    assert_eq!(beyond.json(), json!([]));
    for wrong in [
        "page=0",
        "per_page=0",
        "per_page=501",
        "page=x",
        "per_page=-1",
        "page=99999999999999999999",
        "status=nonsense",
    ] {
        check(&server.admin("GET", &format!("{DEVICES}?{wrong}"), ()), 400);
    }
    // Artifacts fall back instead.
    check(
        &server.admin(
            "GET",
            "/api/management/v1/deployments/artifacts/list?per_page=9999",
            (),
        ),
        200,
    );
}

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

#[test]
fn a_deployment_is_checked_made_counted_and_aborted() {
    let server = Server::start();
    let (a, b) = (server.device("a"), server.device("b"));
    let post = |body: Value| server.admin("POST", DEPLOYMENTS, body);
    check(
        &post(json!({"name": "d", "artifact_name": "v2", "devices": [a.id]})),
        422,
    );
    server.uploaded(&artifact("v2"));
    for wrong in [
        json!({"name": "", "artifact_name": "v2", "devices": [a.id]}),
        json!({"name": "d".repeat(257), "artifact_name": "v2", "devices": [a.id]}),
        json!({"name": "d", "artifact_name": "", "devices": [a.id]}),
        json!({"name": "d", "artifact_name": "v2"}),
        json!({"name": "d", "artifact_name": "v2", "devices": []}),
        json!({"name": "d", "artifact_name": "v2", "devices": ["x"]}),
        json!({"name": "d", "artifact_name": "v2", "devices": [a.id], "all_devices": true}),
        json!([]),
    ] {
        check(&post(wrong), 400);
    }
    check(
        &post(
            json!({"name": "d", "artifact_name": "v2", "devices": [a.id], "phases": [{"batch_size": 5}]}),
        ),
        422,
    );
    let body = json!({"name": "d", "artifact_name": "v2", "all_devices": true});
    let made = post(body.clone());
    check(&made, 201);
    assert!(made.body.is_empty());
    let id = made.location();
    check(&post(body), 409);
    let shown = |field: &str| {
        server
            .admin("GET", &format!("{DEPLOYMENTS}/{id}"), ())
            .json()[field]
            .clone()
    };
    assert_eq!(
        (shown("status"), shown("max_devices"), shown("device_count")),
        (json!("pending"), json!(2), json!(0))
    );
    assert_eq!(a.next(&server, "v1").status, 200);
    a.report(&server, &id, "downloading");
    assert_eq!(
        (shown("status"), shown("device_count")),
        (json!("inprogress"), json!(1))
    );
    let statistics = server
        .admin("GET", &format!("{DEPLOYMENTS}/{id}/statistics"), ())
        .json();
    assert_eq!(statistics["downloading"], 1);
    assert_eq!(statistics.as_object().unwrap().len(), 13, "{statistics}");
    let listed = server.admin(
        "POST",
        &format!("{DEPLOYMENTS}/statistics/list"),
        json!({"deployment_ids": [id]}),
    );
    assert_eq!(listed.json()[0]["stats"]["downloading"], 1);
    assert_eq!(
        server
            .admin(
                "POST",
                &format!("{DEPLOYMENTS}/statistics/list"),
                json!({"deployment_ids": []})
            )
            .json(),
        json!({})
    );
    let mut targets: Vec<String> = serde_json::from_value(
        server
            .admin("GET", &format!("{DEPLOYMENTS}/{id}/device_list"), ())
            .json(),
    )
    .unwrap();
    targets.sort();
    let mut expected = vec![a.id.clone(), b.id.clone()];
    expected.sort();
    assert_eq!(targets, expected);
    a.report(&server, &id, "success");
    for (status, count) in [("finished", 1), ("active", 0), ("success", 1), ("pause", 0)] {
        let answer = server.admin(
            "GET",
            &format!("{DEPLOYMENTS}/{id}/devices/list?status={status}"),
            (),
        );
        check(&answer, 200);
        assert_eq!(
            answer.header("x-total-count"),
            Some(count.to_string().as_str()),
            "{status}"
        );
    }
    let history = server.admin("GET", &format!("{DEPLOYMENTS}/devices/{}", a.id), ());
    assert_eq!(history.json()[0]["device"]["status"], "success");
    check(
        &server.admin(
            "PUT",
            &format!("{DEPLOYMENTS}/{id}/status"),
            json!({"status": "finished"}),
        ),
        400,
    );
    check(
        &server.admin(
            "PUT",
            &format!("{DEPLOYMENTS}/{id}/status"),
            json!({"status": "aborted"}),
        ),
        204,
    );
    assert_eq!(shown("status"), "finished");
    assert_eq!(
        b.next(&server, "v1").status,
        204,
        "who had not begun gets nothing"
    );
    for (query, count) in [
        ("status=aborted", 1),
        ("status=inprogress", 0),
        ("search=v2", 1),
        ("search=nothing", 0),
        ("created_after=1&sort=asc", 1),
    ] {
        let answer = server.admin("GET", &format!("{DEPLOYMENTS}?{query}"), ());
        assert_eq!(
            answer.header("x-total-count"),
            Some(count.to_string().as_str()),
            "{query}"
        );
    }
    check(
        &server.admin("GET", &format!("{DEPLOYMENTS}/not-a-uuid"), ()),
        400,
    );
    check(
        &server.admin("GET", &format!("{DEPLOYMENTS}/{NEVER}"), ()),
        404,
    );
}

#[test]
fn a_deployment_to_a_group_is_for_those_who_are_in_it_now() {
    let server = Server::start();
    server.uploaded(&artifact("v2"));
    let (a, b) = (server.device("a"), server.device("b"));
    check(
        &server.admin(
            "PUT",
            &format!("{INVENTORY}/devices/{}/group", a.id),
            json!({"group": "beta"}),
        ),
        204,
    );
    let body = json!({"name": "d", "artifact_name": "v2"});
    let made = server.admin("POST", &format!("{DEPLOYMENTS}/group/beta"), body.clone());
    check(&made, 201);
    server.admin(
        "PUT",
        &format!("{INVENTORY}/devices/{}/group", b.id),
        json!({"group": "beta"}),
    );
    assert_eq!(
        (a.next(&server, "v1").status, b.next(&server, "v1").status),
        (200, 204)
    );
    assert_eq!(
        server
            .admin("GET", &format!("{DEPLOYMENTS}/{}", made.location()), ())
            .json()["groups"],
        json!(["beta"])
    );
    check(
        &server.admin("POST", &format!("{DEPLOYMENTS}/group/nobody"), body),
        400,
    );
}

#[test]
fn a_decommissioned_device_ends_its_deployments() {
    let server = Server::start();
    server.uploaded(&artifact("v2"));
    let device = server.device("a");
    let deployment = server.deploy("v2", &[&device]);
    device.next(&server, "v1");
    check(
        &server.admin("DELETE", &format!("{DEVICES}/{}", device.id), ()),
        204,
    );
    assert_eq!(
        server.status_on(&deployment, &device)["status"],
        "decommissioned"
    );
    let shown = server
        .admin("GET", &format!("{DEPLOYMENTS}/{deployment}"), ())
        .json();
    assert_eq!(shown["status"], "finished");
    check(
        &server.admin("GET", &format!("{INVENTORY}/devices/{}", device.id), ()),
        404,
    );
}

#[test]
fn releases_are_artifacts_of_one_name() {
    let server = Server::start();
    server.uploaded(&build("v2", &["a"], &[], 5_000));
    server.uploaded(&build("v2", &["b"], &[], 5_000));
    server.uploaded(&build("v3", &["b"], &[], 5_000));
    let old = server
        .admin("GET", &format!("{DEPLOYMENTS}/releases"), ())
        .json();
    let found = old
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["Name"] == "v2")
        .unwrap()
        .clone();
    assert_eq!(
        (
            found["ArtifactsCount"].clone(),
            found["Artifacts"].as_array().unwrap().len()
        ),
        (json!(2), 2)
    );
    let releases = "/api/management/v2/deployments/deployments/releases";
    check(
        &server.admin("PATCH", &format!("{releases}/v2"), json!({"notes": "good"})),
        204,
    );
    check(
        &server.admin(
            "PUT",
            &format!("{releases}/v2/tags"),
            json!(["Stable", "lts"]),
        ),
        204,
    );
    let shown = server.admin("GET", &format!("{releases}/v2"), ()).json();
    assert_eq!(
        (shown["notes"].clone(), shown["artifacts_count"].clone()),
        (json!("good"), json!(2))
    );
    assert_eq!(shown["tags"], json!(["lts", "stable"]));
    let tagged = server.admin("GET", &format!("{releases}?tag=lts"), ());
    assert_eq!(tagged.json().as_array().unwrap().len(), 1);
    check(&server.admin("GET", &format!("{releases}/v9"), ()), 404);
    let device = server.device("a");
    server.deploy("v2", &[&device]);
    check(
        &server.admin("DELETE", &format!("{releases}?name=v2"), ()),
        409,
    );
    check(
        &server.admin("DELETE", &format!("{releases}?name=v3"), ()),
        204,
    );
    assert_eq!(
        server
            .admin("GET", releases, ())
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn users_are_managed() {
    let server = Server::start();
    let new = |email: &str, password: &str| {
        server.admin("POST", USERS, json!({"email": email, "password": password}))
    };
    let made = new("B@Example.com", "correct horse");
    check(&made, 201);
    let id = made.location();
    check(&new("b@example.com", "correct horse"), 422);
    check(&new("c@example.com", "short"), 422);
    check(&new("no address", "correct horse"), 400);
    let shown = server.admin("GET", &format!("{USERS}/{id}"), ()).json();
    assert_eq!(shown["email"], "b@example.com");
    assert!(!shown.to_string().contains("argon2"));
    assert_eq!(
        server
            .admin("GET", &format!("{USERS}?email=b@example.com"), ())
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        server.admin("GET", &format!("{USERS}/me"), ()).json()["email"],
        server.email.as_str()
    );
    check(
        &server.admin(
            "PUT",
            &format!("{USERS}/{id}"),
            json!({"email": "d@example.com"}),
        ),
        204,
    );
    check(
        &server.admin(
            "PUT",
            &format!("{USERS}/{id}"),
            json!({"password": "another one", "current_password": "correct horse"}),
        ),
        422,
    );
    check(&server.admin("DELETE", &format!("{USERS}/{id}"), ()), 204);
    check(&server.admin("DELETE", &format!("{USERS}/{id}"), ()), 404);
    let me = server.admin("GET", &format!("{USERS}/me"), ()).json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        server.admin("DELETE", &format!("{USERS}/{me}"), ()).status >= 400,
        "the last one stays"
    );
}

#[test]
fn every_answer_has_what_clients_look_for() {
    let server = Server::start();
    let mine = server
        .connect()
        .request("GET", "/healthz", &[("x-men-requestid", "mine-1")], b"");
    assert_eq!(mine.header("x-men-requestid"), Some("mine-1"));
    let hostile = server.connect().request(
        "GET",
        "/healthz",
        &[("x-men-requestid", "a b\"<script>")],
        b"",
    );
    assert_ne!(hostile.header("x-men-requestid"), Some("a b\"<script>"));
    let options = server.nobody("OPTIONS", DEVICES, b"");
    assert_eq!(options.status, 200);
    assert!(
        options.header("allow").unwrap().contains("POST"),
        "{options:?}"
    );
    check(&server.nobody("PATCH", DEVICES, b""), 405);
    check(
        &server.nobody("GET", "/api/management/v1/deviceconnect/devices/x", b""),
        404,
    );
    let refused = server.nobody("GET", DEVICES, b"");
    check(&refused, 401);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    let text = [
        ("content-type", "text/plain"),
        ("authorization", &format!("Bearer {}", server.token())),
    ];
    check(&server.connect().request("POST", USERS, &text, b"{}"), 415);
}
