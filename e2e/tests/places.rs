//! A framed artifact comes from wherever the fleet's artifacts are: the server, a store with links that it signs, a
//! cache, a plain web server. Of each the device fetches only what it does not have.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and its files are its own"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tandem_e2e::{FleetServer, Powered, Workshop};
use tandem_places::{Nginx, ObjectStore, Sent};

const LIMIT: Duration = Duration::from_secs(120);

/// Bytes of a file that both releases have.
const COMMON: u64 = 1 << 20;

/// What the device may fetch of the second one, heads of answers and index included.
const FEW: u64 = 200_000;

/// Whether all that this test needs is here.
fn possible(store: bool) -> bool {
    let possible = Nginx::installed().unwrap() && (!store || ObjectStore::installed().unwrap());
    if !possible {
        eprintln!("SKIPPED: nginx, or the S3-compatible store (e2e/s3.sh), is not installed");
    }
    possible
}

/// A server, and whatever stands beside it, with certificates by the server's authority.
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

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn restart(&mut self, options: &[&str], environment: &[(String, String)]) {
        self.server.stop().unwrap();
        let (data, address) = (self.path("server"), self.server.address());
        self.server = FleetServer::start_among(&data, address, options, environment).unwrap();
    }

    /// An nginx that devices and the server trust.
    fn nginx(&self, http: &str, server: &str) -> Nginx {
        let authority = self.path("server/tls");
        Nginx::start(&self.path("nginx"), &authority, http, server).unwrap()
    }

    /// A device that the server has accepted.
    fn device(&self) -> (Workshop, Powered) {
        let workshop = Workshop::with(&format!(
            "allow_unsigned = true\n\
             server_url = '{}'\n\
             server_certificate = '{}'\n\
             identity_script = '{{dir}}/identity'\n\
             update_poll_interval_seconds = 1\n\
             retry_poll_interval_seconds = 1",
            self.server.url(),
            self.server.authority().display()
        ));
        let identity = workshop.path("identity");
        fs::write(&identity, "#!/bin/sh\necho name=one\n").unwrap();
        fs::set_permissions(&identity, fs::Permissions::from_mode(0o755)).unwrap();
        let mut powered = Powered::on(workshop.device.clone(), &[]).unwrap();
        powered
            .until("the device knocks", LIMIT, |_| {
                let pending = self.server.verb(&["device", "list", "--status", "pending"]);
                Ok(pending?.as_array().is_some_and(|list| !list.is_empty()))
            })
            .unwrap();
        let accepted = self.server.verb(&["device", "accept", "name=one"]);
        accepted.unwrap();
        (workshop, powered)
    }

    /// Gives the device an artifact, and waits until it runs it; what its console shows of that.
    fn updates(&self, powered: &mut Powered, artifact: &Path) -> String {
        let before = powered.console().len();
        let path = artifact.to_str().unwrap();
        self.server.verb(&["artifact", "upload", path]).unwrap();
        let name = artifact.file_stem().unwrap().to_str().unwrap();
        let made = self.server.verb(&["deployment", "create", name, "--all"]);
        let deployment = made.unwrap()["id"].as_str().unwrap().to_owned();
        powered
            .until("success", LIMIT, |powered| {
                let shown = self.server.verb(&["deployment", "show", &deployment])?;
                let status = shown["devices"][0]["status"].clone();
                assert!(status != "failure", "{}", powered.console());
                Ok(status == "success")
            })
            .unwrap();
        let release = powered.device().path("running/etc/release");
        assert_eq!(fs::read_to_string(release).unwrap(), name);
        powered.console().split_off(before)
    }

    /// Bytes of artifacts that the server has sent.
    fn sent(&self) -> u64 {
        let text = Command::new("curl")
            .args(["-sS", "--cacert"])
            .arg(self.server.authority())
            .arg(format!("{}/metrics", self.server.url()))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("tandem_artifact_sent_bytes_total "));
        line.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
    }
}

/// Two releases for one device: the second one shares with the first all but a few blocks.
fn releases(workshop: &Workshop) -> [PathBuf; 2] {
    let mut noise = fs::File::open("/dev/urandom").unwrap();
    let mut common = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(&mut noise, COMMON), &mut common).unwrap();
    fs::write(workshop.path("tree/etc/noise"), common).unwrap();
    ["release-2", "release-3"].map(|name| workshop.artifact(name, &["--framed"]))
}

/// What was asked for in pieces, and what of it came.
fn pieces(sent: &[Sent]) -> u64 {
    let pieces = sent.iter().filter(|one| one.status == 206);
    pieces.map(|one| one.bytes).sum()
}

#[track_caller]
fn fetched_little(console: &str) {
    let said = console.rsplit("fetching ").next().unwrap();
    let bytes: u64 = said.split(' ').next().unwrap().parse().unwrap();
    assert!((1000..FEW).contains(&bytes), "{console}");
    assert!(!console.contains("whole artifact"), "{console}");
}

#[test]
fn of_the_server_a_device_fetches_only_what_is_new() {
    let fleet = Fleet::new();
    let (workshop, mut powered) = fleet.device();
    let [first, second] = releases(&workshop);
    fleet.updates(&mut powered, &first);
    let before = fleet.sent();
    assert!(before > COMMON, "{before}");
    let console = fleet.updates(&mut powered, &second);
    fetched_little(&console);
    // Of the first answer, of which only the beginning is read, the kernel takes some as well.
    let more = fleet.sent() - before;
    assert!(more < before, "{more}: {console}");
}

#[test]
fn of_a_store_a_device_fetches_only_what_is_new_by_links_that_it_signed() {
    if !possible(true) {
        return;
    }
    let mut fleet = Fleet::new();
    let store = ObjectStore::start(&fleet.path("store")).unwrap();
    let nginx = fleet.nginx(
        "",
        &format!(
            "location / {{ proxy_pass http://{}; proxy_set_header Host $http_host; proxy_buffering off; }}",
            store.address()
        ),
    );
    let mut environment = store.environment_behind(&nginx.url());
    let ca = fleet.server.authority().display().to_string();
    environment.push(("AWS_CA_BUNDLE".to_owned(), ca));
    let place = store.place("fleet");
    let options = ["--artifacts", &place, "--artifact-links", "store"];
    fleet.restart(&options, &environment);
    let (workshop, mut powered) = fleet.device();
    let [first, second] = releases(&workshop);
    fleet.updates(&mut powered, &first);
    let before = nginx.sent().unwrap().len();
    let console = fleet.updates(&mut powered, &second);
    fetched_little(&console);
    let sent = nginx.sent().unwrap().split_off(before);
    let part = pieces(&sent);
    assert!((1000..FEW).contains(&part), "{part}: {sent:?}");
    // Not one byte of an artifact came from the server itself.
    assert_eq!(fleet.sent(), 0);
}

#[test]
fn of_a_cache_a_device_fetches_only_what_is_new_and_the_cache_only_what_it_has_not() {
    if !possible(false) {
        return;
    }
    let mut fleet = Fleet::new();
    let dir = fleet.path("nginx").display().to_string();
    let nginx = fleet.nginx(
        &format!("proxy_cache_path {dir}/cache keys_zone=artifacts:1m use_temp_path=off;"),
        &format!(
            "location / {{ slice 64k; proxy_cache artifacts; proxy_cache_key $uri$is_args$args$slice_range;\n\
             proxy_set_header Range $slice_range; proxy_cache_valid 200 206 1d; proxy_pass https://{}; }}",
            fleet.server.address()
        ),
    );
    let base = nginx.url();
    fleet.restart(&["--artifact-base-url", &base], &[]);
    let (workshop, mut powered) = fleet.device();
    let [first, second] = releases(&workshop);
    fleet.updates(&mut powered, &first);
    let before = nginx.sent().unwrap().len();
    let console = fleet.updates(&mut powered, &second);
    fetched_little(&console);
    let sent = nginx.sent().unwrap().split_off(before);
    let part = pieces(&sent);
    assert!((1000..FEW).contains(&part), "{part}: {sent:?}");
    // Who asks for the same gets it from the cache, and the server has nothing to send.
    let before = fleet.sent();
    let piece = sent.iter().find(|one| one.status == 206).unwrap();
    let again = Command::new("curl")
        .args(["-sSf", "-o", "/dev/null", "--cacert"])
        .arg(fleet.server.authority())
        .args(["-r", piece.range.trim_start_matches("bytes=")])
        .arg(format!("{}{}", nginx.url(), piece.path))
        .status()
        .unwrap();
    assert!(again.success());
    assert_eq!(fleet.sent(), before);
    let all = nginx.sent().unwrap();
    assert_eq!(all.last().unwrap().cache, "HIT", "{all:?}");
}

#[test]
fn of_a_plain_web_server_a_device_fetches_only_what_is_new() {
    if !possible(false) {
        return;
    }
    let fleet = Fleet::new();
    let www = fleet.path("www");
    fs::create_dir(&www).unwrap();
    let nginx = fleet.nginx("", &format!("root {};", www.display()));
    let (workshop, powered) = fleet.device();
    drop(powered);
    let [first, second] = releases(&workshop);
    let install = |artifact: &Path| {
        let name = artifact.file_name().unwrap();
        fs::copy(artifact, www.join(name)).unwrap();
        let url = format!("{}/{}", nginx.url(), name.to_str().unwrap());
        let output = workshop.tandem(&["install", &url]);
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{log}");
        log
    };
    install(&first);
    tandem_e2e::boot(&workshop.device).unwrap();
    assert!(workshop.tandem(&["commit"]).status.success());
    let before = nginx.sent().unwrap().len();
    let log = install(&second);
    fetched_little(&log);
    let sent = nginx.sent().unwrap().split_off(before);
    let part = pieces(&sent);
    assert!((1000..FEW).contains(&part), "{part}: {sent:?}");
}
