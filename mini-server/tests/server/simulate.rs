//! The verb `simulate` against the real server: its fleet counts exactly as the server does.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{PROGRAM, SOON, Server, artifact, pause, wait_until};
use crate::rollouts::{deploy, shown};

/// A fleet that is played.
struct Simulation(Child);

impl Simulation {
    /// Fifty devices that poll every second, and what else is said.
    fn start(server: &Server, args: &[&str]) -> Self {
        let out = File::create_new(server.dir.path().join("simulation.json")).unwrap();
        let mut command = Command::new(PROGRAM);
        command
            .arg("simulate")
            .args(["--server", &server.url(), "--ca"])
            .arg(server.authority())
            .args(["--devices", "50", "--device-type", "testboard"])
            .args(["--poll", "1s", "--step", "50ms", "--json"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::inherit());
        Self(command.spawn().unwrap())
    }

    /// Tells it to end; whether it was content, and what it has seen.
    fn end(&mut self, server: &Server) -> (bool, Value) {
        let kill = Command::new("kill").arg(self.0.id().to_string()).status();
        assert!(kill.unwrap().success());
        let begun = std::time::Instant::now();
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < SOON, "the simulation does not end");
            pause();
        };
        let text = std::fs::read(server.dir.path().join("simulation.json")).unwrap();
        (status.success(), serde_json::from_slice(&text).unwrap())
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn accepted(server: &Server) -> Value {
    let path = "/api/management/v2/devauth/devices/count?status=accepted";
    server.admin("GET", path, ()).json()["count"].clone()
}

/// How many devices of a deployment have this status.
fn count(server: &Server, id: &str, status: &str) -> u64 {
    shown(server, id)["statistics"]["status"][status]
        .as_u64()
        .unwrap_or(0)
}

#[test]
fn fifty_devices_fail_and_vanish_as_they_were_told_and_nobody_is_lost_count_of() {
    let server = Server::start();
    server.uploaded(&artifact("r2"));
    let rates = ["--fail", "20%", "--fail", "10%=rebooting", "--vanish", "6%"];
    let token = ["--token", server.token(), "--group", "canary=20%"];
    let mut fleet = Simulation::start(&server, &[&rates[..], &token, &["--download"]].concat());
    wait_until("the fleet", || accepted(&server) == 50);
    let group = "/api/management/v1/inventory/groups/canary/devices?per_page=500";
    let members = || server.admin("GET", group, ()).json();
    // These numbers are what the seed "1" draws; another seed has others.
    wait_until("the group", || {
        members().as_array().map(Vec::len) == Some(9)
    });
    let id = deploy(
        &server,
        json!({"phases": [{"group": "canary"}, {}], "max_concurrent": 20, "lost_after_seconds": 3}),
    );
    let done = |status: &str, wanted: u64| {
        wait_until(status, || count(&server, &id, status) == wanted);
    };
    done("success", 30);
    done("failure", 14);
    done("downloading", 6);
    let failed = format!(
        "/api/management/v1/deployments/deployments/{id}/devices/list?status=failure&per_page=50"
    );
    wait_until("the logs", || {
        let failed = server.admin("GET", &failed, ()).json();
        let failed = failed.as_array().unwrap();
        failed.len() == 14 && failed.iter().all(|device| device["log"] == true)
    });
    let (content, seen) = fleet.end(&server);
    assert!(content, "{seen}");
    let deployment = &seen["deployments"][0];
    for (what, count) in [
        ("taken", 50),
        ("success", 30),
        ("failure", 14),
        ("vanished", 6),
    ] {
        assert_eq!(deployment[what], count, "{what}: {seen}");
    }
    assert_eq!(seen["errors"], json!({}), "{seen}");
    assert_eq!(seen["devices"]["vanished"], 6);
    let bytes = artifact("r2").len() * 50;
    assert_eq!(seen["bytes_downloaded"], bytes, "{seen}");
}

#[test]
fn a_rollout_that_fails_everywhere_stops_itself() {
    let server = Server::start();
    server.uploaded(&artifact("r2"));
    let mut fleet = Simulation::start(
        &server,
        &["--token", server.token(), "--fail", "100%=committing"],
    );
    wait_until("the fleet", || accepted(&server) == 50);
    let how = json!({"max_concurrent": 2, "stop_on_failures": {"count": 3}});
    let id = deploy(&server, how);
    wait_until("the stop", || {
        shown(&server, &id)["rollout"]["paused_by"] == "failures"
    });
    // Who is at it goes on; nobody begins any more.
    wait_until("the rest", || shown(&server, &id)["rollout"]["active"] == 0);
    let failed = count(&server, &id, "failure");
    assert!((3..=4).contains(&failed), "{failed}");
    let (content, seen) = fleet.end(&server);
    assert!(content, "{seen}");
    let deployment = &seen["deployments"][0];
    assert_eq!(
        (&deployment["failure"], &deployment["taken"]),
        (&json!(failed), &json!(failed))
    );
}

#[test]
fn a_server_that_is_killed_meanwhile_is_outlived() {
    let mut server = Server::start();
    server.uploaded(&artifact("r2"));
    let mut fleet = Simulation::start(&server, &["--token", server.token(), "--expect-outages"]);
    wait_until("the fleet", || accepted(&server) == 50);
    let id = deploy(&server, json!({"max_concurrent": 10}));
    for successes in [3, 20] {
        wait_until("some", || count(&server, &id, "success") >= successes);
        server.kill();
        server.restart();
    }
    wait_until("all", || shown(&server, &id)["status"] == "finished");
    let (content, seen) = fleet.end(&server);
    assert!(content, "{seen}");
    assert_eq!(seen["deployments"][0]["success"], 50, "{seen}");
    assert_eq!(seen["deployments"][0]["failure"], 0, "{seen}");
}

#[test]
fn a_list_lets_the_fleet_in_and_what_is_installed_is_remembered() {
    let server = Server::start();
    server.uploaded(&artifact("r2"));
    let (list, state) = (
        server.dir.path().join("fleet.csv"),
        server.dir.path().join("fleet.json"),
    );
    let (list, state) = (list.to_str().unwrap(), state.to_str().unwrap());
    let run = |args: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command
            .arg("simulate")
            .args(["--devices", "20", "--seed", "secret"]);
        command.args(args).output().unwrap()
    };
    assert!(run(&["--write-list", list]).status.success());
    let url = server.url();
    let ca = server.authority();
    let where_to = [
        "--server",
        url.as_str(),
        "--ca",
        ca.to_str().unwrap(),
        "--device-type",
        "testboard",
    ];
    let short = [
        "--for", "2s", "--poll", "1s", "--step", "10ms", "--json", "--state", state,
    ];
    // Nobody has let them in.
    let out = run(&[&where_to[..], &["--for", "1s"]].concat());
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("20 devices are not let in"), "{said}");
    let imported = server.done(&["device", "import", list, "--force"]);
    assert!(imported.contains("20 of 20 devices"), "{imported}");
    let again = server.verb(&["device", "import", list]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        said.contains("line 2: there is a device") && said.contains("line 21"),
        "{said}"
    );
    assert!(run(&[&where_to[..], &short].concat()).status.success());
    assert_eq!(accepted(&server), 20);
    let id = deploy(&server, json!({}));
    let out = run(&[&where_to[..], &short].concat());
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    // It may have taken longer than that; then the next run ends it.
    while count(&server, &id, "success") < 20 {
        assert!(run(&[&where_to[..], &short].concat()).status.success());
    }
    let next = deploy(&server, json!({"name": "again"}));
    let out = run(&[&where_to[..], &short].concat());
    assert!(out.status.success());
    wait_until("all", || count(&server, &next, "already-installed") == 20);
}
