//! Debian's unmodified mender-client as a device of our server.
//!
//! Its paths are compiled in, so it runs in a mount namespace with directories of the test in their place: this needs
//! root.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tandem_places::{Nginx, ObjectStore, Sent};
use tempfile::TempDir;

use crate::harness::{Device, Server, artifact, build, installed, pause, wait_until, write};

/// Whether it can run here.
fn possible() -> bool {
    let root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|out| out.stdout == b"0\n");
    let required = std::env::var_os("TANDEM_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(root || !required, "mender-client has to run as root");
    if !root {
        eprintln!("SKIPPED: mender-client has to run as root");
    }
    root && installed("mender") && installed("unshare")
}

/// A device with mender-client on it.
struct MenderClient {
    dir: PathBuf,
    process: Child,
    identity: Value,
}

impl MenderClient {
    /// Runs one that knows the server by this address.
    fn start(server: &Server, address: SocketAddr) -> Self {
        let dir = server.dir.path().join("device");
        let script = |path: &str, text: &str| {
            write(&dir.join(path), format!("#!/bin/sh\n{text}").as_bytes());
            std::fs::set_permissions(dir.join(path), PermissionsExt::from_mode(0o755)).unwrap();
        };
        script(
            "share/identity/mender-device-identity",
            "echo mac=de:ad:be:ef:00:01\n",
        );
        script("share/inventory/mender-inventory-x", "echo kernel=Linux\n");
        script("share/modules/v3/okmod", MODULE);
        let config = json!({
            "ServerURL": format!("https://{address}"),
            "ServerCertificate": "/etc/mender/ca.crt",
            "UpdatePollIntervalSeconds": 1,
            "InventoryPollIntervalSeconds": 2,
            "RetryPollIntervalSeconds": 1,
            "DeviceTypeFile": "/var/lib/mender/device_type",
            "DBus": {"Enabled": false},
        });
        write(&dir.join("etc/mender.conf"), config.to_string().as_bytes());
        write(
            &dir.join("etc/ca.crt"),
            &std::fs::read(server.authority()).unwrap(),
        );
        write(&dir.join("etc/artifact_info"), b"artifact_name=v1\n");
        write(
            &dir.join("varlib/mender/device_type"),
            b"device_type=testboard\n",
        );
        let process = Command::new("unshare")
            .args(["-m", "sh", "-c", NAMESPACE])
            .arg(&dir)
            .args([
                "mender",
                "--data",
                "/var/lib/mender",
                "--no-syslog",
                "daemon",
            ])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .unwrap();
        Self {
            dir,
            process,
            identity: json!({"mac": "de:ad:be:ef:00:01"}),
        }
    }

    /// Waits until it has knocked, and lets it in; the device as the server knows it.
    fn accepted(&self, server: &Server) -> Device {
        let mut device = Device::with_identity(self.identity.clone());
        let mut known = Value::Null;
        wait_until("the knock of mender-client", || {
            known = server
                .admin("GET", "/api/management/v2/devauth/devices", ())
                .json();
            known.as_array().is_some_and(|list| !list.is_empty())
        });
        assert_eq!(known[0]["identity_data"], self.identity);
        device.id = known[0]["id"].as_str().unwrap().to_owned();
        server.done(&["device", "accept", &device.id]);
        wait_until("the inventory of mender-client", || {
            attribute(server, &device, "kernel") == "Linux"
        });
        device
    }

    /// What its update module was called for.
    fn calls(&self) -> String {
        std::fs::read_to_string(self.dir.join("share/calls")).unwrap_or_default()
    }

    /// Leaves a file where its update module sees it.
    fn tell(&self, name: &str) {
        write(&self.dir.join("share").join(name), b"");
    }
}

impl Drop for MenderClient {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!(
                "--- log of mender-client\n{}",
                std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
            );
        }
    }
}

const NAMESPACE: &str = r#"
    mount --bind "$0/varlib" /var/lib && mount --bind "$0/etc" /etc/mender && mount --bind "$0/share" /usr/share/mender &&
    exec "$@""#;

const MODULE: &str = r#"
share=/usr/share/mender
echo "$1" >> $share/calls
case "$1" in
    NeedsArtifactReboot) echo No ;;
    SupportsRollback) echo Yes ;;
    ArtifactInstall)
        while [ -e $share/hold ] && [ ! -e $share/go ]; do sleep 0.05; done
        [ ! -e $share/fail ] || { echo "no room on the device" >&2; exit 1; }
        cp files/payload.bin $share/installed ;;
esac
"#;

fn attribute(server: &Server, device: &Device, name: &str) -> String {
    let shown = server
        .admin(
            "GET",
            &format!("/api/management/v1/inventory/devices/{}", device.id),
            (),
        )
        .json();
    let found = shown["attributes"]
        .as_array()
        .and_then(|list| list.iter().find(|one| one["name"] == name));
    found
        .and_then(|one| one["value"].as_str())
        .unwrap_or_default()
        .to_owned()
}

fn wait_for(server: &Server, deployment: &str, device: &Device, status: &str) {
    wait_until(status, || {
        let now = server.status_on(deployment, device)["status"].clone();
        assert!(
            now == status || now != "failure",
            "failure instead of {status}"
        );
        now == status
    });
}

#[test]
fn mender_client_enrols_installs_and_reports() {
    if !possible() {
        return;
    }
    let server = Server::start();
    let client = MenderClient::start(&server, server.address);
    let device = client.accepted(&server);

    server.uploaded(&artifact("v2"));
    let deployment = server.deploy("v2", &[&device]);
    wait_for(&server, &deployment, &device, "success");
    assert!(
        client.calls().contains("ArtifactCommit"),
        "{}",
        client.calls()
    );
    wait_until("the new inventory", || {
        attribute(&server, &device, "artifact_name") == "v2"
    });

    // The next one fails on the device, and says why.
    client.tell("fail");
    server.uploaded(&artifact("v3"));
    let deployment = server.deploy("v3", &[&device]);
    wait_until("failure", || {
        server.status_on(&deployment, &device)["status"] == "failure"
    });
    wait_until("the log", || {
        server.status_on(&deployment, &device)["log"] == true
    });
    let log = server.done(&["deployment", "logs", &deployment]);
    assert!(
        log.contains("error: ") && log.contains("no room on the device"),
        "{log}"
    );
    assert!(client.calls().contains("ArtifactRollback"));
    assert_eq!(attribute(&server, &device, "artifact_name"), "v2");

    // What it has already is not sent again.
    let deployment = server.deploy("v2", &[&device]);
    wait_for(&server, &deployment, &device, "already-installed");
}

#[test]
fn mender_client_rolls_back_what_is_aborted() {
    if !possible() {
        return;
    }
    let server = Server::start();
    let client = MenderClient::start(&server, server.address);
    let device = client.accepted(&server);
    client.tell("hold");
    server.uploaded(&artifact("v2"));
    let deployment = server.deploy("v2", &[&device]);
    wait_until("the installation", || {
        client.calls().contains("ArtifactInstall")
    });
    server.done(&["deployment", "abort", &deployment]);
    client.tell("go");
    wait_until("the rollback", || client.calls().contains("Cleanup"));
    assert!(
        client.calls().contains("ArtifactRollback"),
        "{}",
        client.calls()
    );
    assert!(!client.calls().contains("ArtifactCommit"));
    assert_eq!(server.status_on(&deployment, &device)["status"], "aborted");
    // And it is ready for the next one.
    server.uploaded(&artifact("v3"));
    let deployment = server.deploy("v3", &[&device]);
    wait_for(&server, &deployment, &device, "success");
}

/// Passes connections on, and cuts the first one that has carried so many bytes to the device.
fn cutting_proxy(to: SocketAddr, limit: u64) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let cuts = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&cuts);
    std::thread::spawn(move || {
        for here in listener.incoming().map_while(Result::ok) {
            let there = TcpStream::connect(to).unwrap();
            let (mut up_from, mut up_to) = (here.try_clone().unwrap(), there.try_clone().unwrap());
            std::thread::spawn(move || {
                let ended = std::io::copy(&mut up_from, &mut up_to);
                (ended, up_to.shutdown(Shutdown::Write)).0.is_ok()
            });
            let cuts = Arc::clone(&counted);
            std::thread::spawn(move || {
                let (mut from, mut to, mut passed, mut buffer) = (there, here, 0, [0; 16_384]);
                while let Ok(count @ 1..) = from.read(&mut buffer) {
                    passed += count as u64;
                    if passed > limit && cuts.swap(1, Ordering::AcqRel) == 0 {
                        break;
                    }
                    if to.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
                let ends = [to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both)];
                ends.iter().all(Result::is_ok)
            });
        }
    });
    (address, cuts)
}

#[test]
fn mender_client_installs_from_a_store_by_a_link_that_the_store_signed() {
    let there = ObjectStore::installed().unwrap() && Nginx::installed().unwrap();
    if !(there && possible()) {
        return;
    }
    // The store has a certificate by the authority that the device trusts.
    let mut server = Server::start_among(TempDir::new().unwrap(), &[], Vec::new());
    let store = ObjectStore::start(&server.dir.path().join("store")).unwrap();
    let nginx = Nginx::start(
        &server.dir.path().join("nginx"),
        &server.data().join("tls"),
        "",
        &format!(
            "location / {{ proxy_pass http://{}; proxy_set_header Host $http_host; }}",
            store.address()
        ),
    )
    .unwrap();
    server.terminate();
    assert!(server.wait());
    let mut environment = store.environment_behind(&nginx.url());
    let authority = server.authority().display().to_string();
    environment.push(("AWS_CA_BUNDLE".to_owned(), authority));
    let place = store.place("fleet");
    server.set_args(&["--artifacts", &place, "--artifact-links", "store"]);
    server.set_environment(environment);
    server.restart();

    let client = MenderClient::start(&server, server.address);
    let device = client.accepted(&server);
    // In parts to the store, in one piece from it.
    let whole = build("v2", &["testboard"], &[], 12_000_000);
    server.uploaded(&whole);
    let deployment = server.deploy("v2", &[&device]);
    wait_for(&server, &deployment, &device, "success");
    let installed: &Path = &client.dir.join("share/installed");
    assert_eq!(std::fs::metadata(installed).unwrap().len(), 12_000_000);
    let sent = nginx.sent().unwrap();
    let download = |one: &Sent| one.status == 200 && one.bytes > 12_000_000;
    assert!(sent.iter().any(download), "{sent:?}");
    let answered = server.log();
    assert!(!answered.lines().any(|line| line.contains("/download/")));
}

/// It waits a minute before it goes on, whatever it is told.
#[test]
fn mender_client_goes_on_with_a_download_that_broke_off() {
    if std::env::var_os("TANDEM_REQUIRE_PEERS").is_none_or(|value| value != "1") {
        eprintln!("SKIPPED: takes more than a minute; set TANDEM_REQUIRE_PEERS=1");
        return;
    }
    if !possible() {
        return;
    }
    let server = Server::start();
    let (address, cuts) = cutting_proxy(server.address, 3_000_000);
    let client = MenderClient::start(&server, address);
    let device = client.accepted(&server);
    let whole = build("v2", &["testboard"], &[], 8_000_000);
    server.uploaded(&whole);
    let deployment = server.deploy("v2", &[&device]);
    wait_until("the cut", || cuts.load(Ordering::Acquire) == 1);
    let begun = std::time::Instant::now();
    while server.status_on(&deployment, &device)["status"] != "success" {
        assert!(
            begun.elapsed().as_secs() < 150,
            "{}",
            server.status_on(&deployment, &device)
        );
        pause();
    }
    let installed: &Path = &client.dir.join("share/installed");
    assert_eq!(std::fs::metadata(installed).unwrap().len(), 8_000_000);
    let answered = server.log();
    let downloads = answered.lines().filter(|line| line.contains("/download/"));
    let statuses: Vec<&str> = downloads
        .filter_map(|line| {
            line.split_whitespace()
                .find(|word| word.starts_with("status="))
        })
        .collect();
    assert!(statuses.contains(&"status=206"), "{statuses:?}");
}
