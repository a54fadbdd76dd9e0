//! What people come for, from the first page to the last.

use serde_json::json;
use tandem_api::device::INVENTORY;

use super::browser::{Browser, check_page};
use crate::harness::{Device, Server, artifact, build};

#[test]
fn devices_are_let_in_grouped_and_put_out_several_at_once() {
    let server = Server::start();
    let mut devices: Vec<Device> = (0..5).map(|n| Device::new(&format!("d{n}"))).collect();
    for device in &mut devices {
        assert_eq!(device.authenticate(&server).status, 401);
    }
    // One has come with two keys: somebody has to look.
    let mut twin = Device::new("d4");
    assert_eq!(twin.authenticate(&server).status, 401);
    let browser = Browser::signed_in(&server);
    let pending = browser.page("/devices?status=pending");
    let print = tandem_server::device_key::fingerprint(&devices[0].pem());
    assert!(pending.contains(&print[..8]), "{pending}");
    assert!(pending.contains("5 pending"));
    let back = ("back", "status=pending");
    let location = browser.done("/devices", &[back, ("action", "accept"), ("all", "on")]);
    assert_eq!(
        location,
        "/devices?status=pending&done=accepted&n=4&skipped=1"
    );
    assert!(browser.page(&location).contains("4 devices accepted."));
    for device in &mut devices[..4] {
        assert_eq!(device.authenticate(&server).status, 200);
        device.id = server.find(device).0;
    }
    let ids: Vec<String> = devices.iter().map(|device| device.id.clone()).collect();
    let two = [("device", ids[0].as_str()), ("device", ids[1].as_str())];
    let with = |more: &[(&'static str, &'static str)]| [&two[..], more].concat();
    browser.done("/devices", &with(&[("action", "group"), ("group", "beta")]));
    let beta = browser.page("/devices?group=beta");
    let has = |name: &str| beta.contains(&format!(">{name}</a>"));
    assert!(has("d0") && has("d1") && !has("d2"));
    browser.done("/devices", &with(&[("action", "ungroup")]));
    assert!(
        browser
            .page("/devices?group=beta")
            .contains("No device is like that")
    );
    let deploy = browser.done("/devices", &with(&[("action", "deploy")]));
    assert!(deploy.starts_with("/deployments/new?to=devices&device="));
    browser.done("/devices", &with(&[("action", "reject")]));
    assert_eq!(devices[0].authenticate(&server).status, 401);
    let all = browser.post("/devices", &[("action", "decommission"), ("all", "on")]);
    assert_eq!(all.status, 400);
    browser.done("/devices", &with(&[("action", "decommission")]));
    assert!(browser.page("/devices?status=rejected").contains("None"));

    let path = format!("/devices/{}", devices[2].id);
    browser.done(&path, &[("action", "name"), ("name", "lobby")]);
    browser.done(&path, &[("action", "group"), ("group", "beta")]);
    assert!(browser.page(&path).contains("<h1>lobby"));
    assert!(browser.page("/devices?q=LOBB").contains("lobby"));
    assert!(
        browser
            .page(&format!("/devices?q={}", devices[2].id))
            .contains("lobby")
    );
    browser.done(&path, &[("action", "group"), ("group", "")]);
    assert!(
        !browser
            .page("/devices")
            .contains("<td data-label=\"Group\">beta")
    );
}

#[test]
fn a_release_goes_from_a_form_to_devices_and_its_failures_are_explained() {
    let server = Server::start();
    let browser = Browser::signed_in(&server);
    assert!(browser.page("/").contains("To your first update"));
    let start = browser.page("/start");
    assert!(start.contains("BEGIN CERTIFICATE") && start.contains(&server.url()));

    for (bytes, sentence) in [
        (&b"not an artifact"[..], "it is a text file"),
        (b"", "it is empty"),
    ] {
        let page = browser.upload(bytes, "text/html");
        assert_eq!(page.status, 400);
        check_page("/releases", &page);
        assert!(page.text().contains(sentence), "{}", page.text());
        assert!(browser.upload(bytes, "application/json").json()["error"].is_string());
    }
    let uploaded = browser.upload(&artifact("v2"), "text/html");
    assert_eq!(uploaded.status, 303, "{}", uploaded.text());
    let release = uploaded.header("location").unwrap().to_owned();
    let again = browser.upload(&artifact("v2"), "application/json");
    assert_eq!(
        (again.status, again.json()["error"].is_string()),
        (409, true)
    );
    let other = browser.upload(&build("v2", &["other"], &[], 100), "application/json");
    assert_eq!(other.status, 201);
    assert!(
        other.json()["path"]
            .as_str()
            .unwrap()
            .starts_with("/releases/")
    );
    let page = browser.page(&release);
    assert!(page.contains("payload.bin") && page.contains("Not signed"));
    let id = release.split(['/', '?']).nth(2).unwrap();
    let download = browser.get(&format!("/releases/{id}/download"));
    let link = download.header("location").unwrap();
    let file = server.nobody("GET", link, b"");
    assert_eq!(file.body, artifact("v2"));

    let devices: Vec<Device> = ["a", "b", "c"]
        .iter()
        .map(|name| server.device(name))
        .collect();
    let say = |device: &Device, kind: &str, release: &str| {
        let inventory = json!([{"name": "device_type", "value": kind}, {"name": "artifact_name", "value": release}]);
        assert_eq!(
            device.request(&server, "PUT", INVENTORY, inventory).status,
            200
        );
    };
    say(&devices[0], "testboard", "v1");
    say(&devices[1], "alien", "v1");
    let form = browser.page("/deployments/new?release=v2&to=all");
    assert!(
        form.contains("1 device gets it, 1 may, 1 will not"),
        "{form}"
    );
    assert!(form.contains("device_type must be"));
    let location = browser.done("/deployments/new", &[("release", "v2"), ("to", "all")]);
    assert!(browser.page(&location).contains("Waiting for devices"));
    let same = browser.post("/deployments/new", &[("release", "v2"), ("to", "all")]);
    assert_eq!(same.status, 409);
    assert!(
        same.text()
            .contains("An active deployment with the same parameters already exists.")
    );
    let deployment = location.split(['/', '?']).nth(2).unwrap().to_owned();
    for device in [&devices[0], &devices[2]] {
        assert_eq!(device.next(&server, "v1").status, 200);
        assert_eq!(
            device.report(&server, &deployment, "downloading").status,
            204
        );
    }
    let device_path = format!("/devices/{}", devices[0].id);
    let page = browser.page(&device_path);
    assert!(page.contains("Updating to v2") && page.contains("value=\"20\""));
    for (device, code) in [(&devices[0], 12_345_678), (&devices[2], 87_654_321)] {
        let log = json!({"messages": [
            {"timestamp": "2026-11-23T08:03:37Z", "level": "info", "message": "begin"},
            {"timestamp": "2026-11-23T08:03:38Z", "level": "error", "message": format!("no space at {code}")},
        ]});
        let path = tandem_api::device::log_path(&deployment);
        assert_eq!(device.request(&server, "PUT", &path, log).status, 204);
        assert_eq!(device.report(&server, &deployment, "failure").status, 204);
    }
    let path = format!("/deployments/{deployment}");
    let page = browser.page(&path);
    assert!(
        page.contains("Why it failed") && page.contains("no space at …"),
        "{page}"
    );
    assert_eq!(page.matches("A log</a>").count(), 1, "one reason for both");
    assert!(
        browser
            .page(&format!("{device_path}/logs/{deployment}"))
            .contains("no space at 12345678")
    );
    let raw = browser.get(&format!("{device_path}/logs/{deployment}?raw"));
    assert_eq!(
        raw.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert!(browser.page("/devices?state=failing").contains("1–2 of 2"));
    assert_eq!(
        browser.done(&path, &[("action", "abort")]),
        format!("{path}?done=aborted")
    );
    assert!(browser.page(&path).contains("Aborted"));
    assert_eq!(browser.post(&path, &[("action", "abort")]).status, 422);
    let again = browser.done(&path, &[("action", "retry")]);
    let page = browser.page(&again);
    assert!(
        page.contains("v2 (again)") && page.contains("All <strong>2</strong>"),
        "{page}"
    );
    let delete = browser.post(&format!("/releases/{id}"), &[("action", "delete")]);
    assert!(
        delete
            .text()
            .contains("Artifact is used in active deployment.")
    );
    let again = again.split('?').next().unwrap();
    browser.done(again, &[("action", "abort")]);
    browser.done(&format!("/releases/{id}"), &[("action", "delete")]);
    assert!(browser.page("/").contains("Updates in the last 30 days"));
}

#[test]
fn people_look_after_themselves() {
    let server = Server::start();
    let browser = Browser::signed_in(&server);
    let fields = [
        ("action", "add"),
        ("email", "Ann@Example.com"),
        ("password", "a-first-password"),
    ];
    browser.done("/people", &fields);
    let mut ann = Browser::stranger(&server);
    assert_eq!(
        ann.sign_in("ann@example.com", "a-first-password", "")
            .status,
        303
    );
    let new = "her own password";
    let change = [
        ("action", "password"),
        ("current", "wrong"),
        ("password", new),
        ("again", new),
    ];
    let refused = ann.post("/settings", &change);
    assert!(refused.text().contains("The current password is wrong."));
    let change = [
        ("action", "password"),
        ("current", "a-first-password"),
        ("password", new),
        ("again", new),
    ];
    assert_eq!(ann.done("/settings", &change), "/settings?done=password");
    let made = ann.post(
        "/settings",
        &[("action", "token"), ("name", "ci"), ("days", "30")],
    );
    assert_eq!(made.status, 200);
    let text = made.text();
    let token = text
        .split("<pre class=\"copy wrap\"><code>")
        .nth(1)
        .unwrap();
    let token = token.split('<').next().unwrap();
    let own = "/api/management/v1/useradm/users/me";
    let status = |token: &str| server.connect().with_token("GET", own, token, ()).status;
    assert_eq!(status(token), 200);
    let page = ann.page("/settings");
    assert!(page.contains("ci") && !page.contains(token));
    let id = page
        .split("name=\"token\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    ann.done("/settings", &[("action", "revoke"), ("token", id)]);
    assert_eq!(status(token), 401);
    let page = browser.page("/people");
    let id = page
        .split("name=\"user\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    browser.done("/people", &[("action", "remove"), ("user", id)]);
    assert_eq!(ann.get("/").status, 303);
}
