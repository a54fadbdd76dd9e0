//! Deployments, and the releases in them.

use serde_json::{Value, json};

use super::{DEPLOYMENTS, DEVICES, INVENTORY, NEVER, check};
use crate::harness::{Server, artifact, build};

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
