//! The verbs, on the data directory and over HTTPS.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::{Device, PROGRAM, Server, artifact, write};

/// A way to call the verbs.
type Way<'a> = &'a dyn Fn(&[&str]) -> Output;

#[track_caller]
fn done(way: Way<'_>, args: &[&str]) -> String {
    let out = way(args);
    assert!(
        out.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

#[track_caller]
fn listed(way: Way<'_>, args: &[&str]) -> Value {
    let text = done(way, &[args, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|err| panic!("{args:?}: {err}: {text}"))
}

#[track_caller]
fn fails(way: Way<'_>, args: &[&str], code: i32) {
    let out = way(args);
    let message = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(code), "{args:?}: {message}");
    assert!(message.starts_with("error: "), "{message}");
}

/// Everything that an operator does in the life of a fleet.
fn story(server: &Server, way: Way<'_>) {
    let dir = server.dir.path();
    let file = dir.join("v2.mender");
    write(&file, &artifact("v2"));
    let file = file.to_str().unwrap();

    let uploaded = listed(
        way,
        &["artifact", "upload", file, "--description", "the second"],
    );
    let artifact_id = uploaded["id"].as_str().unwrap();
    fails(way, &["artifact", "upload", file], 1);
    fails(way, &["artifact", "upload", "/nowhere"], 1);
    assert_eq!(listed(way, &["artifact", "list"])[0]["name"], "v2");
    assert!(done(way, &["artifact", "list"]).contains("the second"));
    assert!(done(way, &["artifact", "show", "v2"]).contains("payload.bin"));
    let copy = dir.join("copy");
    done(
        way,
        &[
            "artifact",
            "download",
            "v2",
            "--output",
            copy.to_str().unwrap(),
        ],
    );
    assert_eq!(std::fs::read(&copy).unwrap(), artifact("v2"));

    let mut device = Device::new("one");
    device.authenticate(server);
    let table = done(way, &["device", "list", "--status", "pending"]);
    assert!(
        table.starts_with("ID ") && table.contains("mac=one"),
        "{table}"
    );
    done(way, &["device", "accept", "mac=one"]);
    assert_eq!(device.authenticate(server).status, 200);
    device.id = server.find(&device).0;
    assert!(done(way, &["device", "show", &device.id]).contains("mac=one"));
    let key = dir.join("key.pem");
    write(&key, Device::new("two").pem().as_bytes());
    let expected = listed(
        way,
        &[
            "device",
            "preauthorize",
            "mac=two",
            "sn=7",
            "--key",
            key.to_str().unwrap(),
        ],
    );
    assert_eq!(
        listed(way, &["device", "list", "--status", "preauthorized"])[0]["id"],
        expected["id"]
    );
    fails(way, &["device", "show", "mac=nobody"], 3);
    fails(
        way,
        &["device", "accept", "11111111-1111-4111-8111-111111111111"],
        3,
    );

    done(way, &["group", "add", "beta", "mac=one"]);
    assert_eq!(listed(way, &["group", "list"]), json!(["beta"]));
    assert_eq!(
        listed(way, &["group", "devices", "beta"]),
        json!([device.id])
    );

    let made = listed(
        way,
        &[
            "deployment",
            "create",
            "v2",
            "--group",
            "beta",
            "--name",
            "to beta",
        ],
    );
    let deployment = made["id"].as_str().unwrap();
    assert_eq!(device.next(server, "v1").status, 200);
    device.report(server, deployment, "failure");
    let log = json!({"messages": [{"level": "error", "message": "no space", "timestamp": "2026-11-23T08:03:37Z"}]});
    device.request(
        server,
        "PUT",
        &tandem_api::device::log_path(deployment),
        log,
    );
    assert!(done(way, &["deployment", "show", deployment]).contains("failure"));
    assert!(done(way, &["deployment", "logs", deployment]).contains("error: no space"));
    assert!(done(way, &["deployment", "list"]).contains("to beta"));
    let second = listed(
        way,
        &[
            "deployment",
            "create",
            "v2",
            "--device",
            "mac=one",
            "--force",
        ],
    );
    done(
        way,
        &["deployment", "abort", second["id"].as_str().unwrap()],
    );
    fails(
        way,
        &["deployment", "abort", second["id"].as_str().unwrap()],
        1,
    );
    fails(way, &["deployment", "create", "v9", "--all"], 1);
    fails(
        way,
        &["deployment", "show", "11111111-1111-4111-8111-111111111111"],
        3,
    );

    done(way, &["artifact", "delete", artifact_id]);
    fails(way, &["artifact", "delete", "v2"], 3);
    done(way, &["device", "reject", "mac=one"]);
    assert_eq!(device.next(server, "v1").status, 401);
    done(way, &["device", "decommission", "mac=one"]);
    assert_eq!(
        listed(way, &["device", "list", "--status", "accepted"]),
        json!([])
    );
}

#[test]
fn the_verbs_work_on_the_data_directory_while_the_server_runs() {
    let server = Server::start();
    story(&server, &|args| server.verb(args));
}

#[test]
fn the_verbs_work_over_https_with_a_token() {
    let server = Server::start();
    let token = server
        .done(&["token", "create", "ci", "--days", "30"])
        .trim()
        .to_owned();
    let (url, authority) = (server.url(), server.authority());
    let call = |args: &[&str], token: &str, trusted: bool| {
        let mut command = Command::new(PROGRAM);
        command
            .args(args)
            .args(["--server", &url])
            .env("TANDEM_TOKEN", token);
        if trusted {
            command.env("TANDEM_CA", &authority);
        }
        command.output().unwrap()
    };
    story(&server, &|args| call(args, &token, true));
    fails(&|args| call(args, "nonsense", true), &["device", "list"], 5);
    fails(&|args| call(args, &token, false), &["device", "list"], 4);
    fails(&|args| call(args, "", true), &["device", "list"], 2);
    let plain = |args: &[&str]| {
        let http = url.replace("https://", "http://");
        Command::new(PROGRAM)
            .args(args)
            .args(["--server", &http, "--token", &token])
            .output()
            .unwrap()
    };
    assert!(!plain(&["device", "list"]).status.success());
    server.done(&["token", "revoke", "ci"]);
    fails(&|args| call(args, &token, true), &["device", "list"], 5);
}

#[test]
fn the_verbs_work_on_the_data_directory_without_a_server() {
    let mut server = Server::start();
    server.kill();
    let added = Command::new("sh")
        .envs(
            server
                .command()
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .arg("-c")
        .arg(format!(
            "echo correct horse | {PROGRAM} user add ops@example.com --password-stdin --data {}",
            server.data().display()
        ))
        .output()
        .unwrap();
    assert!(added.status.success(), "{added:?}");
    let users = server.done(&["user", "list"]);
    assert!(users.contains("ops@example.com"), "{users}");
    let token = server.done(&["token", "create", "ci", "--user", "ops@example.com"]);
    assert_eq!(token.trim().split('.').count(), 3);
    assert!(
        server
            .done(&["token", "list", "--user", "ops@example.com"])
            .contains("ci")
    );
    server.restart();
    assert_eq!(
        server.try_login("ops@example.com", "correct horse").status,
        200
    );
    server.done(&["user", "delete", "ops@example.com"]);
    assert_eq!(
        server.try_login("ops@example.com", "correct horse").status,
        401
    );
}

#[test]
fn what_is_called_in_a_wrong_way_says_so() {
    let dir = tempfile::TempDir::new().unwrap();
    let call = |args: &[&str]| {
        Command::new(PROGRAM)
            .args(args)
            .current_dir(dir.path())
            .output()
            .unwrap()
    };
    for (args, code) in [
        (&["nonsense"][..], 2),
        (&[], 2),
        (&["device", "list"], 2),
        (
            &["device", "list", "--data", ".", "--server", "https://x"],
            2,
        ),
        (&["device", "list", "--data", "nowhere"], 1),
        (&["serve", "--data", "x", "--listen", "nonsense"], 2),
        (&["serve", "--data", "x", "--public-url", "http://x"], 2),
        (&["deployment", "create", "v2", "--data", "x"], 2),
        (&["--help"], 0),
        (&["--version"], 0),
        (&["serve", "--help"], 0),
    ] {
        let out = call(args);
        assert_eq!(
            out.status.code(),
            Some(code),
            "{args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_table_shows_nothing_that_controls_a_terminal() {
    let server = Server::start();
    Device::new("\u{1b}[2Jevil\r\nrow").authenticate(&server);
    let table = server.done(&["device", "list"]);
    assert_eq!(table.lines().count(), 2, "{table:?}");
    assert!(!table.contains('\u{1b}'), "{table:?}");
}
