//! The audit log: every change has a line, with who, from where and what; nothing secret is in it; nothing changes it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Device, Server, artifact};
use crate::people::Person;

const LOG: &str = "/api/management/v1/auditlogs/logs";

/// The lines that a query finds, the oldest first.
fn lines(server: &Server, query: &str) -> Vec<Value> {
    let path = format!("{LOG}?per_page=500&sort=asc&{query}");
    let answer = server.admin("GET", &path, ());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().as_array().unwrap().clone()
}

/// Whether the newest line is about this: who, action, kind of thing, its name, and a part of the change.
#[track_caller]
fn check(server: &Server, expected: [&str; 5]) {
    let all = lines(server, "");
    let line = all.last().unwrap();
    let who = match line["actor"]["email"].as_str() {
        Some(email) => email,
        None => line["actor"]["type"].as_str().unwrap(),
    };
    let found = [
        who,
        line["action"].as_str().unwrap(),
        line["object"]["type"].as_str().unwrap(),
        line["object"]["name"].as_str().unwrap_or_default(),
        line["change"].as_str().unwrap_or_default(),
    ];
    assert_eq!(found[..4], expected[..4], "{line}");
    assert!(found[4].contains(expected[4]), "{line}");
    assert_eq!(line["outcome"], "done", "{line}");
}

#[test]
fn every_change_has_a_line_that_says_who_made_it() {
    let server = Server::start();
    let admin = server.email.as_str();
    check(&server, [admin, "sign_in", "user", admin, ""]);
    assert_eq!(lines(&server, "")[0]["actor"]["type"], "server");

    let mut device = Device::new("a");
    device.authenticate(&server);
    let identity = r#"{"mac":"a"}"#;
    check(&server, ["device", "enrol", "device", identity, "pending"]);
    server.accept(&mut device);
    check(
        &server,
        [admin, "accept", "device", identity, "pending to accepted"],
    );
    device.authenticate(&server);
    let id = device.id.clone();

    let tags = format!("/api/management/v1/inventory/devices/{id}/tags");
    server.admin(
        "PUT",
        &tags,
        json!([{"name": "site", "value": "secret-site"}]),
    );
    check(&server, [admin, "update", "device", identity, "tags: site"]);
    server.done(&["group", "add", "beta", &id]);
    check(&server, ["cli", "update", "group", "beta", &id]);
    let group = format!("/api/management/v1/inventory/devices/{id}/group");
    server.admin("PUT", &group, json!({"group": "stable"}));
    check(
        &server,
        [admin, "update", "device", identity, "into group stable"],
    );

    let file = server.uploaded(&artifact("v1"));
    check(&server, [admin, "upload", "artifact", "v1", "SHA-256"]);
    let notes = "/api/management/v2/deployments/deployments/releases/v1";
    server.admin("PATCH", notes, json!({"notes": "n"}));
    check(&server, [admin, "update", "release", "v1", "notes"]);
    let deployment = server.deploy("v1", &[&device]);
    check(&server, [admin, "create", "deployment", "d: v1", "POST"]);
    let of_deployment = lines(&server, &format!("object_id={deployment}"));
    assert_eq!(of_deployment.len(), 1);
    let path = format!("/api/management/v1/deployments/deployments/{deployment}/status");
    server.admin("PUT", &path, json!({"status": "aborted"}));
    check(&server, [admin, "update", "deployment", "d: v1", "/status"]);
    server.admin(
        "DELETE",
        &format!("/api/management/v1/deployments/artifacts/{file}"),
        (),
    );
    check(&server, [admin, "delete", "artifact", "v1", ""]);

    let mut ops = Person::new(&server, "ops@example.com", "operator");
    let token = ops.make_token(&server, "ci", Some("operator"));
    check(
        &server,
        ["ops@example.com", "create", "token", "ci", "operator"],
    );
    let path = format!("/api/management/v2/devauth/devices/{id}");
    server.connect().with_token("DELETE", &path, &token, ());
    check(
        &server,
        ["ops@example.com", "decommission", "device", identity, ""],
    );
    let line = lines(&server, "action=decommission").pop().unwrap();
    assert_eq!(
        (&line["actor"]["token"], &line["actor"]["address"]),
        (&json!("ci"), &json!("127.0.0.1"))
    );
    server.done(&["token", "revoke", "ci", "--user", "ops@example.com"]);
    check(&server, ["cli", "revoke", "token", "ci", ""]);
    let path = format!("/api/management/v1/useradm/users/{}", ops.id);
    server.admin("PUT", &path, json!({"role": "viewer"}));
    check(
        &server,
        [admin, "update", "user", "ops@example.com", "role: viewer"],
    );
    let change = json!({"password": "correct horse 2", "current_password": ops.password});
    ops.api(
        &server,
        "PUT",
        "/api/management/v1/useradm/users/me",
        change,
    );
    check(
        &server,
        [
            "ops@example.com",
            "update",
            "user",
            "ops@example.com",
            "a new password",
        ],
    );
    ops.password = "correct horse 2".to_owned();
    ops.sign_in(&server);
    ops.form(&server, "/sign-out", &[]);
    check(
        &server,
        ["ops@example.com", "sign_out", "user", "ops@example.com", ""],
    );
    server.done(&["user", "delete", "ops@example.com"]);
    check(&server, ["cli", "delete", "user", "ops@example.com", ""]);

    let numbers: Vec<i64> = lines(&server, "")
        .iter()
        .map(|line| line["number"].as_i64().unwrap())
        .collect();
    assert!(
        numbers.is_sorted_by(|one, next| *next == one + 1),
        "none is missing: {numbers:?}"
    );
}

#[test]
fn what_pages_change_and_what_devices_say_is_told_apart() {
    let server = Server::start();
    let device = server.device("a");
    let admin = Person::admin(&server);
    let before = lines(&server, "").len();
    // Polls, inventory and reports are no changes by anybody.
    device.next(&server, "v0");
    let attributes = json!([{"name": "kernel", "value": "6"}]);
    device.request(
        &server,
        "PATCH",
        "/api/devices/v1/inventory/device/attributes",
        attributes,
    );
    server.admin("GET", "/api/management/v2/devauth/devices", ());
    server.admin(
        "POST",
        "/api/management/v2/devauth/devices/search",
        json!({}),
    );
    assert_eq!(lines(&server, "").len(), before);

    let form = [("action", "name"), ("name", "door")];
    assert_eq!(
        admin
            .form(&server, &format!("/devices/{}", device.id), &form)
            .status,
        303
    );
    check(
        &server,
        [
            &server.email,
            "update",
            "device",
            r#"{"mac":"a"}"#,
            "tags: name",
        ],
    );
    let form = [
        ("action", "add"),
        ("email", "b@example.com"),
        ("password", "correct horse"),
        ("role", "viewer"),
    ];
    assert_eq!(admin.form(&server, "/people", &form).status, 303);
    check(
        &server,
        [
            &server.email,
            "create",
            "user",
            "b@example.com",
            "role: viewer",
        ],
    );
    server.uploaded(&artifact("v1"));
    let form = [
        ("action", "create"),
        ("release", "v1"),
        ("to", "all"),
        ("name", "all of them"),
    ];
    let answer = admin.form(&server, "/deployments/new", &form);
    assert_eq!(answer.status, 303, "{}", answer.text());
    check(
        &server,
        [
            &server.email,
            "create",
            "deployment",
            "all of them: v1",
            "/deployments/new",
        ],
    );
}

#[test]
fn what_was_refused_is_there_too_but_not_without_end() {
    let server = Server::start();
    let viewer = Person::new(&server, "viewer@example.com", "viewer");
    let path = "/api/management/v1/inventory/groups/g";
    assert_eq!(viewer.api(&server, "DELETE", path, ()).status, 403);
    let refused = lines(&server, "actor_email=viewer").pop().unwrap();
    assert_eq!(
        refused["object"],
        json!({"type": "group", "id": "g", "name": "g"})
    );
    assert!(
        refused["outcome"]
            .as_str()
            .unwrap()
            .starts_with("refused: this needs the role"),
        "{refused}"
    );
    assert_eq!(
        server.try_login(&server.email, "not the passphrase").status,
        401
    );
    assert_eq!(
        server.try_login("my-pass-phrase-by-mistake", "x").status,
        401
    );
    let failed = lines(&server, "actor_type=unknown");
    assert_eq!(failed[0]["object"]["name"], server.email.as_str());
    assert_eq!(failed[1]["object"]["name"], Value::Null);
    for _ in 0..100 {
        viewer.api(&server, "DELETE", path, ());
    }
    let all = lines(&server, "actor_email=viewer").len();
    // The clock may pass a minute meanwhile.
    assert!((40..=130).contains(&all), "{all}");
    let out = server.verb(&["audit", "list", "--actor", "viewer", "--limit", "3"]);
    assert_eq!(String::from_utf8_lossy(&out.stdout).lines().count(), 4);
}

#[test]
fn no_secret_is_in_it_and_nothing_changes_it() {
    let server = Server::start();
    let mut ops = Person::new(&server, "ops@example.com", "operator");
    let token = ops.make_token(&server, "ci", None);
    server.try_login(&server.email, "a wrong passphrase");
    let change = json!({"password": "brand new horse", "current_password": ops.password});
    ops.api(
        &server,
        "PUT",
        "/api/management/v1/useradm/users/me",
        change,
    );
    let wrong = json!({"password": "yet another horse", "current_password": "nonsense"});
    ops.api(&server, "PUT", "/api/management/v1/useradm/users/me", wrong);
    let text = server
        .admin("GET", &format!("{LOG}?per_page=500"), ())
        .text()
        + &server.admin("GET", &format!("{LOG}/export"), ()).text()
        + &server.done(&["audit", "export"]);
    assert!(text.contains("ops@example.com"));
    let signature = token.rsplit('.').next().unwrap();
    for secret in [
        ops.password.as_str(),
        &server.password,
        signature,
        "horse",
        "wrong passphrase",
        "nonsense",
    ] {
        assert!(!text.contains(secret), "{secret}");
    }
    ops.password = "brand new horse".to_owned();
    ops.sign_in(&server);
    for person in [&ops, &Person::new(&server, "viewer@example.com", "viewer")] {
        assert_eq!(person.api(&server, "GET", LOG, ()).status, 403);
        assert_eq!(person.page(&server, "/audit").status, 403);
        assert_eq!(person.page(&server, "/audit/download").status, 403);
    }
    for method in ["PUT", "POST", "DELETE", "PATCH"] {
        assert_eq!(server.admin(method, LOG, json!({})).status, 405);
    }
}

#[test]
fn it_can_be_searched_and_taken_away_without_harm() {
    let server = Server::start();
    // A device chooses its own name: it is shown, and does nothing.
    let mut device =
        Device::with_identity(json!({"mac": "=HYPERLINK(\"http://x\")<script>\u{202e}"}));
    device.authenticate(&server);
    server.uploaded(&artifact("=1+1"));
    let admin = Person::admin(&server);
    let page = admin.page(&server, "/audit").text();
    assert!(page.contains("enrol") && !page.contains("<script>") && !page.contains('\u{202e}'));
    let csv = admin.page(&server, "/audit/download?kind=artifact");
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(csv.text().contains("\"'=1+1\""), "{}", csv.text());
    assert_eq!(csv.text().lines().count(), 2);

    let kinds: BTreeSet<String> = lines(&server, "object_type=device")
        .iter()
        .map(|line| line["object"]["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, BTreeSet::from(["device".to_owned()]));
    assert!(lines(&server, "created_after=4000000000").is_empty());
    assert!(lines(&server, "created_before=1000").is_empty());
    assert!(!lines(&server, "created_after=1000&created_before=4000000000").is_empty());
    assert!(lines(&server, "object_name=%25").is_empty(), "no pattern");
    let answer = server.admin("GET", &format!("{LOG}?per_page=1"), ());
    assert!(
        answer
            .header("x-total-count")
            .unwrap()
            .parse::<u32>()
            .unwrap()
            > 3
    );
    for wrong in ["sort=up", "created_after=x", "per_page=0"] {
        assert_eq!(
            server.admin("GET", &format!("{LOG}?{wrong}"), ()).status,
            400,
            "{wrong}"
        );
    }
    let page = admin.page(
        &server,
        "/audit?actor=nobody&from=yesterday&to=2020-13-45&kind=%3Cb%3E",
    );
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Nothing like that"));
}
