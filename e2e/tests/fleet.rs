//! The daemon of virtual devices against the real server, each as a process of its own.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail loudly, and its files are its own"
)]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tandem_e2e::{FleetServer, Powered, Workshop};

const LIMIT: Duration = Duration::from_secs(60);

/// A server, and what its devices are made with.
struct Fleet {
    dir: tempfile::TempDir,
    server: FleetServer,
}

impl Fleet {
    fn new() -> Fleet {
        let dir = tempfile::tempdir().unwrap();
        let server = FleetServer::start(&dir.path().join("server")).unwrap();
        Fleet { dir, server }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("server")
    }

    fn restart(&mut self, address: SocketAddr) {
        self.server = FleetServer::start_at(&self.data(), address, &[]).unwrap();
    }

    /// A device that the server has accepted.
    fn device(&self, name: &str, environment: &[(&str, &str)]) -> (Workshop, Powered) {
        let workshop = Workshop::with(&format!(
            "allow_unsigned = true\n\
             server_url = '{}'\n\
             server_certificate = '{}'\n\
             identity_script = '{{dir}}/identity'\n\
             update_poll_interval_seconds = 1\n\
             retry_poll_interval_seconds = 1\n\
             retry_poll_count = 3",
            self.server.url(),
            self.server.authority().display()
        ));
        program(
            &workshop.path("identity"),
            &format!("echo name={name}; echo serial=1"),
        );
        let mut powered = Powered::on(workshop.device.clone(), environment).unwrap();
        powered
            .until("the device knocks", LIMIT, |_| {
                Ok(self.devices("pending").contains(&name.to_owned()))
            })
            .unwrap();
        self.server
            .verb(&["device", "accept", &format!("name={name}")])
            .unwrap();
        (workshop, powered)
    }

    /// The names of the devices with this status.
    fn devices(&self, status: &str) -> Vec<String> {
        let found = self.server.verb(&["device", "list", "--status", status]);
        let found = found.unwrap();
        let name = |device: &Value| device["identity_data"]["name"].as_str().unwrap().to_owned();
        found.as_array().unwrap().iter().map(name).collect()
    }

    /// Gives the artifact to all devices; the deployment.
    fn deploy(&self, artifact: &Path) -> String {
        let path = artifact.to_str().unwrap();
        self.server.verb(&["artifact", "upload", path]).unwrap();
        let name = artifact.file_stem().unwrap().to_str().unwrap();
        let made = self.server.verb(&["deployment", "create", name, "--all"]);
        made.unwrap()["id"].as_str().unwrap().to_owned()
    }

    /// What the server knows of the deployment on its only device.
    fn status(&self, deployment: &str) -> String {
        let shown = self.server.verb(&["deployment", "show", deployment]);
        let shown = shown.unwrap();
        match shown["devices"].as_array().unwrap().as_slice() {
            [] => String::new(),
            [one] => one["status"].as_str().unwrap().to_owned(),
            several => panic!("{several:?}"),
        }
    }

    fn ends(&self, powered: &mut Powered, deployment: &str, expected: &str) {
        powered
            .until(expected, LIMIT, |_| {
                let status = self.status(deployment);
                let ended = ["success", "failure", "aborted"].contains(&status.as_str());
                assert!(!ended || status == expected, "{status}");
                Ok(ended)
            })
            .unwrap();
    }
}

fn program(path: &Path, body: &str) {
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// An artifact with release 2 and one state script.
fn release(workshop: &Workshop, script: &str, body: &str) -> PathBuf {
    let path = workshop.path(script);
    program(&path, body);
    workshop.artifact("release-2", &["-s", path.to_str().unwrap()])
}

fn running(powered: &Powered) -> String {
    fs::read_to_string(powered.device().path("running/etc/release")).unwrap()
}

#[test]
fn a_device_updates_itself_and_says_so() {
    let fleet = Fleet::new();
    let (workshop, mut powered) = fleet.device("one", &[]);
    let deployment = fleet.deploy(&workshop.artifact("release-2", &[]));
    fleet.ends(&mut powered, &deployment, "success");
    assert_eq!(running(&powered), "release-2");
    assert_eq!(powered.boots(), 2);
    powered
        .until("the inventory says so", LIMIT, |_| {
            let shown = fleet.server.verb(&["device", "show", "name=one"])?;
            let attributes = shown["inventory"]["attributes"].as_array().unwrap().clone();
            Ok(attributes.iter().any(|attribute| {
                attribute["name"] == "artifact_name" && attribute["value"] == "release-2"
            }))
        })
        .unwrap();
    powered.go_down().unwrap();
}

#[test]
fn a_veto_before_the_installation_leaves_everything_as_it_was() {
    let fleet = Fleet::new();
    let (workshop, mut powered) = fleet.device("two", &[]);
    let scripts = powered.device().path("running/etc/tandem/scripts");
    fs::create_dir_all(&scripts).unwrap();
    program(
        &scripts.join("Download_Enter_00_ask"),
        "echo 'not now' >&2; exit 1",
    );
    let deployment = fleet.deploy(&workshop.artifact("release-2", &[]));
    fleet.ends(&mut powered, &deployment, "failure");
    assert_eq!(
        (running(&powered).as_str(), powered.boots()),
        ("release-1", 1)
    );
    let logs = fleet.server.verb(&["deployment", "logs", &deployment]);
    assert!(logs.unwrap().to_string().contains("not now"));
}

#[test]
fn an_unhealthy_system_is_taken_back() {
    let fleet = Fleet::new();
    let (workshop, mut powered) = fleet.device("three", &[]);
    let artifact = release(&workshop, "ArtifactCommit_Enter_00_health", "exit 1");
    let deployment = fleet.deploy(&artifact);
    fleet.ends(&mut powered, &deployment, "failure");
    assert_eq!(
        (running(&powered).as_str(), powered.boots()),
        ("release-1", 3)
    );
    // The failed release is not tried again, and the next one is taken.
    let next = fleet.deploy(&workshop.artifact("release-3", &[]));
    fleet.ends(&mut powered, &next, "success");
    assert_eq!(running(&powered), "release-3");
}

#[test]
fn a_server_that_is_gone_after_the_reboot_means_the_way_back() {
    let mut fleet = Fleet::new();
    let (workshop, mut powered) = fleet.device("four", &[]);
    let artifact = release(
        &workshop,
        "ArtifactReboot_Enter_00_wait",
        "touch \"$MARK\"; while [ ! -e \"$MARK.go\" ]; do sleep 0.1; done",
    );
    drop(powered);
    let mark = workshop.path("mark");
    let environment = [("MARK", mark.to_str().unwrap())];
    powered = Powered::on(workshop.device.clone(), &environment).unwrap();
    let deployment = fleet.deploy(&artifact);
    powered
        .until(
            "the device is about to reboot",
            LIMIT,
            |_| Ok(mark.exists()),
        )
        .unwrap();
    let address = fleet.server.address();
    fleet.server.kill().unwrap();
    fs::write(workshop.path("mark.go"), "").unwrap();
    powered
        .until("the device is back on what it had", LIMIT, |powered| {
            Ok(powered.boots() == 3 && running(powered) == "release-1")
        })
        .unwrap();
    fleet.restart(address);
    fleet.ends(&mut powered, &deployment, "failure");
}

#[test]
fn an_abort_on_the_server_stops_the_update_and_takes_it_back() {
    let fleet = Fleet::new();
    let (workshop, mut powered) = fleet.device("five", &[]);
    let mark = workshop.path("mark");
    let artifact = release(
        &workshop,
        "ArtifactInstall_Enter_00_wait",
        &format!(
            "touch {mark}; while [ ! -e {mark}.go ]; do sleep 0.1; done",
            mark = mark.display()
        ),
    );
    let deployment = fleet.deploy(&artifact);
    powered
        .until("the device installs", LIMIT, |_| Ok(mark.exists()))
        .unwrap();
    fleet
        .server
        .verb(&["deployment", "abort", &deployment])
        .unwrap();
    fs::write(workshop.path("mark.go"), "").unwrap();
    powered
        .until("the device has let go", LIMIT, |powered| {
            Ok(powered.console().contains("has withdrawn"))
        })
        .unwrap();
    let next = fleet.deploy(&workshop.artifact("release-3", &[]));
    fleet.ends(&mut powered, &next, "success");
    assert_eq!(running(&powered), "release-3");
}

#[test]
fn the_last_word_of_an_update_outlives_an_outage_and_a_power_cut() {
    let mut fleet = Fleet::new();
    let (workshop, mut powered) = fleet.device("six", &[]);
    let mark = workshop.path("mark");
    let artifact = release(
        &workshop,
        "ArtifactCommit_Leave_00_wait",
        &format!(
            "touch {mark}; while [ ! -e {mark}.go ]; do sleep 0.1; done",
            mark = mark.display()
        ),
    );
    let deployment = fleet.deploy(&artifact);
    powered
        .until("the update is committed", LIMIT, |_| Ok(mark.exists()))
        .unwrap();
    let address = fleet.server.address();
    fleet.server.kill().unwrap();
    fs::write(workshop.path("mark.go"), "").unwrap();
    powered
        .until("the update is done", LIMIT, |powered| {
            Ok(powered.console().contains("Sync fails"))
        })
        .unwrap();
    powered.cut().unwrap();
    fleet.restart(address);
    fleet.ends(&mut powered, &deployment, "success");
    assert_eq!(running(&powered), "release-2");
}

#[test]
fn a_device_that_is_thrown_out_gets_nothing_until_it_is_let_in_again() {
    let fleet = Fleet::new();
    let (workshop, mut powered) = fleet.device("seven", &[]);
    powered
        .until("it is in", LIMIT, |_| {
            Ok(fleet.devices("accepted").len() == 1)
        })
        .unwrap();
    fleet
        .server
        .verb(&["device", "reject", "name=seven"])
        .unwrap();
    let deployment = fleet.server.verb(&[
        "artifact",
        "upload",
        workshop.artifact("release-2", &[]).to_str().unwrap(),
    ]);
    deployment.unwrap();
    powered
        .until("it is told", LIMIT, |powered| {
            Ok(powered.console().contains("has not accepted this device"))
        })
        .unwrap();
    fleet
        .server
        .verb(&["device", "accept", "name=seven"])
        .unwrap();
    let made = fleet
        .server
        .verb(&["deployment", "create", "release-2", "--all"])
        .unwrap();
    let id = made["id"].as_str().unwrap().to_owned();
    fleet.ends(&mut powered, &id, "success");
}
