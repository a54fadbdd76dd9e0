//! What whoever looks after the server needs: how much is logged, what is kept, how much space there is, lists of
//! devices, and the description of the APIs.

use serde_json::{Value, json};

use crate::harness::{Device, Server, artifact, build, form, postgres, wait_until, write};
use crate::people::Person;

const LEVEL: &str = "/api/management/v1/server/log_level";

#[test]
fn the_log_level_changes_while_the_server_runs() {
    let server = Server::start();
    assert_eq!(
        server.admin("GET", LEVEL, ()).json(),
        json!({"level": "debug"})
    );
    assert_eq!(
        server.admin("PUT", LEVEL, json!({"level": "error"})).status,
        204
    );
    let before = server.log().len();
    server.admin("GET", "/api/management/v2/devauth/devices", ());
    assert_eq!(server.log().len(), before, "nothing is logged any more");
    let said = server.done(&["log-level", "info"]);
    assert!(said.contains("info"), "{said}");
    assert_eq!(server.done(&["log-level"]).trim(), "info");
    server.nobody("POST", "/api/management/v1/useradm/auth/login", b"");
    assert!(server.log().len() > before);
    assert_eq!(
        server.admin("PUT", LEVEL, json!({"level": "loud"})).status,
        400
    );
    let operator = Person::new(&server, "ops@example.com", "operator");
    assert_eq!(
        operator
            .api(&server, "PUT", LEVEL, json!({"level": "trace"}))
            .status,
        403
    );
    let log = server.done(&["audit", "list", "--kind", "server"]);
    assert!(
        log.contains("log level: error") && log.contains("log level: info"),
        "{log}"
    );
}

#[test]
fn all_artifacts_together_keep_to_the_quota() {
    let server = Server::start_with(&["--artifact-quota", "1"]);
    let large = |name: &str| build(name, &["testboard"], &[], 600_000);
    assert_eq!(server.upload(&large("v1")).status, 201);
    let answer = server.upload(&large("v2"));
    assert_eq!(answer.status, 507);
    assert!(answer.text().contains("quota"), "{}", answer.text());
    assert_eq!(server.upload(&artifact("v3")).status, 201);
}

#[test]
fn uploads_leave_space_on_the_disk() {
    let server = Server::start_with(&["--min-free", "100000000000"]);
    let answer = server.upload(&artifact("v1"));
    assert_eq!(answer.status, 507, "{}", answer.text());
    assert!(answer.text().contains("free space"), "{}", answer.text());
    // Neither do sizes that nobody can have.
    let server = Server::start_with(&["--max-artifact-size", "100000000000"]);
    let fields: [(&str, &[u8]); 2] = [("size", b"90000000000000000"), ("artifact", b"x")];
    assert_eq!(server.upload_form(&form(&fields)).status, 507);
    assert_eq!(server.upload(&artifact("v1")).status, 201);
}

#[test]
fn the_watched_figures_have_rollouts_and_storage() {
    let server = Server::start();
    server.uploaded(&artifact("v1"));
    let device = server.device("a");
    let deployment = server.deploy("v1", &[&device]);
    device.next(&server, "v0");
    device.report(&server, &deployment, "installing");
    let text = server.nobody("GET", "/metrics", b"").text();
    let value = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {text}"))
            .trim()
            .parse()
            .unwrap()
    };
    assert_eq!(value("tandem_rollout_devices{status=\"installing\"}"), 1);
    assert!(value("tandem_storage_free_bytes ") > 0);
    assert!(value("tandem_database_bytes ") > 10_000);
    assert_eq!(value("tandem_webhook_events_waiting "), 0);
    assert_eq!(value("tandem_deployments_active "), 1);
}

/// Makes everything in the database of a stopped server a hundred days old.
fn age(server: &Server) {
    let days = 100 * 86_400_000_i64;
    let on = if postgres::wanted() {
        "ON audit_log"
    } else {
        ""
    };
    server.sql(&format!(
        "UPDATE artifacts SET modified = modified - {days};
         UPDATE deployments SET created = created - {days}, finished = finished - {days};
         DROP TRIGGER audit_log_is_append_only {on};
         UPDATE audit_log SET at = at - {days};"
    ));
}

#[test]
fn what_is_too_old_goes_but_nothing_that_is_needed() {
    let mut server = Server::start_with(&[
        "--keep-artifacts",
        "30",
        "--keep-logs",
        "30",
        "--keep-audit",
        "30",
    ]);
    for name in ["unused", "deployed", "reported", "installed", "newest"] {
        server.uploaded(&artifact(name));
    }
    let [mut a, b, c] = ["a", "b", "c"].map(|name| server.device(name));
    server.deploy("deployed", &[&a]);
    let reported = json!([{"name": "artifact_name", "value": "reported"}]);
    b.request(
        &server,
        "PATCH",
        "/api/devices/v1/inventory/device/attributes",
        reported,
    );
    let installed = server.deploy("installed", &[&c]);
    c.next(&server, "v0");
    c.report(&server, &installed, "success");
    let failed = server.deploy("newest", &[&b]);
    b.next(&server, "v0");
    let log = json!({"messages": [{"timestamp": "2026-01-01T00:00:00Z", "level": "error", "message": "broken"}]});
    let path = format!("/api/devices/v1/deployments/device/deployments/{failed}/log");
    assert_eq!(b.request(&server, "PUT", &path, log).status, 204);
    b.report(&server, &failed, "failure");
    server.terminate();
    assert!(server.wait());
    age(&server);
    server.restart();
    let names = |server: &Server| -> Vec<Value> {
        let all = server
            .admin("GET", "/api/management/v1/deployments/artifacts", ())
            .json();
        let mut names: Vec<Value> = all
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].clone())
            .collect();
        names.sort_by_key(ToString::to_string);
        names
    };
    wait_until("a tidy server", || names(&server).len() == 4);
    assert_eq!(
        names(&server),
        ["deployed", "installed", "newest", "reported"]
    );
    let log = format!(
        "/api/management/v1/deployments/deployments/{failed}/devices/{}/log",
        b.id
    );
    wait_until("no log", || server.admin("GET", &log, ()).status == 404);
    wait_until("a short audit log", || {
        let lines = server
            .admin("GET", "/api/management/v1/auditlogs/logs?per_page=500", ())
            .json();
        let actions: Vec<&str> = lines
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["action"].as_str().unwrap())
            .collect();
        actions.contains(&"prune") && actions.contains(&"delete") && !actions.contains(&"upload")
    });
    assert_eq!(a.authenticate(&server).status, 200);
}

#[test]
fn devices_of_a_list_are_let_in_when_they_come() {
    let server = Server::start();
    let mut devices = ["a", "b", "c"]
        .map(|name| Device::with_identity(json!({"mac": name, "sn": format!("=1+{name}")})));
    let line = |device: &Device| {
        let (mac, sn) = (&device.identity["mac"], &device.identity["sn"]);
        let key: String = device
            .pem()
            .lines()
            .filter(|line| !line.starts_with('-'))
            .collect();
        format!("{},{},{key}\n", mac.as_str().unwrap(), sn.as_str().unwrap())
    };
    let list = format!(
        "mac,sn,pubkey\n{}x,y,no key\nshort\n\"b\",{},\"{}\"\n",
        line(&devices[0]),
        devices[1].identity["sn"].as_str().unwrap(),
        devices[1].pem()
    );
    let file = server.dir.path().join("devices.csv");
    write(&file, list.as_bytes());
    let file = file.to_str().unwrap();
    let out = server.verb(&["device", "import", file]);
    let (said, problems) = (
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr),
    );
    assert!(said.contains("2 of 4 devices"), "{said}");
    assert!(
        problems.contains("line 3") && problems.contains("line 4"),
        "{problems}"
    );
    assert!(!out.status.success());
    for device in &mut devices[..2] {
        assert_eq!(device.authenticate(&server).status, 200);
    }
    assert_eq!(devices[2].authenticate(&server).status, 401);

    let admin = Person::admin(&server);
    let list = format!(
        "mac,sn,pubkey\n{}{}<script>,1,x\n",
        line(&devices[0]),
        line(&devices[2])
    );
    let page = admin
        .form(&server, "/devices/import", &[("list", &list)])
        .text();
    assert!(
        page.contains("Line 2: there is a device with this identity"),
        "{page}"
    );
    assert!(
        page.contains("Line 3: there is a device") && page.contains("Line 4"),
        "{page}"
    );
    assert!(!page.contains("<script>,1"));
    let page = admin
        .form(
            &server,
            "/devices/import",
            &[("list", &list), ("force", "on")],
        )
        .text();
    assert!(page.contains("2 devices imported"), "{page}");
    assert_eq!(devices[2].authenticate(&server).status, 200);
    let page = admin
        .form(&server, "/devices/import", &[("list", "nonsense")])
        .text();
    assert!(
        page.contains("The first line has to name the columns"),
        "{page}"
    );
}

#[test]
fn the_server_describes_its_apis() {
    let server = Server::start();
    let answer = server.nobody("GET", "/api/openapi.json", b"");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let document = answer.json();
    assert_eq!(document["openapi"], "3.0.3");
    let post = &document["paths"]["/api/management/v1/useradm/users"]["post"];
    assert_eq!(post["x-role"], "admin");
    assert_eq!(post["security"], json!([{"person": []}]));
}
