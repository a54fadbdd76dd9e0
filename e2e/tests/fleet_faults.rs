//! The daemons of a fleet against the real server, each through a line with another fault: every
//! deployment ends, in success or in one reported failure, and the device is as it says.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail loudly, and its files are its own"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tandem_e2e::faulty::{Fault, FaultyServer, Request, Upstream, certificate};
use tandem_e2e::{FleetServer, Powered, Workshop};

const MIB: u64 = 1 << 20;
const LONG: Duration = Duration::from_secs(600);
const LIMIT: Duration = Duration::from_secs(180);

/// How the deployment has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Success,
    Failure,
}

/// When the fault strikes.
#[derive(Clone, Copy, Debug)]
enum Strikes {
    /// Requests for artifacts, the first so many times.
    Downloads(usize),
    /// All other requests, the first so many times for each path.
    Api(usize),
    /// The download that goes on after a break, and then the server when it is asked for a new address.
    Resumed,
}

use End::{Failure, Success};
use Strikes::{Api, Downloads, Resumed};

const ALWAYS: usize = usize::MAX;

fn cases() -> Vec<(&'static str, Strikes, Fault, End)> {
    vec![
        (
            "cut-always",
            Downloads(ALWAYS),
            Fault::Cut(MIB / 4),
            Success,
        ),
        ("cut-at-once", Downloads(2), Fault::Cut(0), Success),
        ("stall", Downloads(2), Fault::Stall(MIB / 4, LONG), Success),
        ("silence", Downloads(1), Fault::Silence(LONG), Success),
        ("flip", Downloads(ALWAYS), Fault::Flip(MIB / 2), Failure),
        ("swap", Downloads(ALWAYS), Fault::Swap(MIB / 2), Failure),
        (
            "shorten",
            Downloads(ALWAYS),
            Fault::Shorten(MIB / 2),
            Failure,
        ),
        ("promise", Downloads(1), Fault::Promise(1000), Failure),
        ("400", Downloads(1), Fault::Status(400, None), Success),
        ("403", Downloads(1), Fault::Status(403, None), Success),
        ("expired", Resumed, Fault::Status(403, None), Success),
        ("404", Downloads(ALWAYS), Fault::Status(404, None), Failure),
        ("416", Downloads(ALWAYS), Fault::Status(416, None), Failure),
        ("429", Downloads(1), Fault::Status(429, Some(1)), Success),
        ("503", Downloads(2), Fault::Status(503, None), Success),
        ("garbage", Downloads(1), Fault::Garbage, Success),
        ("flood", Downloads(ALWAYS), Fault::HeaderFlood, Failure),
        ("api-cut", Api(1), Fault::Cut(10), Success),
        ("api-silence", Api(1), Fault::Silence(LONG), Success),
        ("api-500", Api(1), Fault::Status(500, None), Success),
        ("api-503", Api(1), Fault::Status(503, Some(1)), Success),
        ("api-429", Api(1), Fault::Status(429, Some(1)), Success),
        ("api-401", Api(1), Fault::Status(401, None), Success),
        ("api-garbage", Api(1), Fault::Garbage, Success),
        ("api-shorten", Api(1), Fault::Shorten(1), Success),
        ("api-flood", Api(1), Fault::HeaderFlood, Success),
    ]
}

/// A MiB that does not compress and has no two blocks alike.
fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..MIB).map(|_| next()).collect()
}

fn is_download(request: &Request) -> bool {
    request.path.contains("/download/")
}

/// The end that a device reports with this request, if it does.
fn final_report(request: &Request) -> Option<End> {
    let body = String::from_utf8_lossy(&request.body);
    if request.method != "PUT" || !request.path.ends_with("/status") {
        return None;
    }
    if body.contains("\"success\"") {
        return Some(Success);
    }
    body.contains("\"failure\"").then_some(Failure)
}

/// A device behind a faulty line.
struct Line {
    name: &'static str,
    strikes: Strikes,
    end: End,
    _proxy: FaultyServer,
    reports: Arc<Mutex<Vec<End>>>,
    struck: Arc<AtomicUsize>,
    powered: Powered,
    _workshop: Workshop,
}

fn line(
    server: &FleetServer,
    certificate: &Path,
    (name, strikes, fault, end): (&'static str, Strikes, Fault, End),
) -> Line {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let struck = Arc::new(AtomicUsize::new(0));
    // The proxy counts per path, and links differ from request to request.
    let downloads = AtomicUsize::new(0);
    let script = {
        let (reports, struck) = (Arc::clone(&reports), Arc::clone(&struck));
        move |request: &Request, number: usize| {
            if let Resumed = strikes {
                let fault = match is_download(request) {
                    true => match downloads.fetch_add(1, Ordering::Relaxed) {
                        0 => Fault::Cut(MIB / 4),
                        1 => fault.clone(),
                        _ => Fault::None,
                    },
                    // It has nothing to say at the first time.
                    false
                        if request.path.ends_with("/next")
                            && downloads.load(Ordering::Relaxed) == 2
                            && struck.fetch_add(1, Ordering::Relaxed) == 0 =>
                    {
                        Fault::Status(503, Some(1))
                    }
                    false => Fault::None,
                };
                if fault != Fault::None {
                    return fault;
                }
            }
            let now = match strikes {
                Downloads(count) if is_download(request) => {
                    downloads.fetch_add(1, Ordering::Relaxed) < count
                }
                Api(count) if !is_download(request) => number < count,
                Downloads(_) | Api(_) | Resumed => false,
            };
            if now {
                struck.fetch_add(1, Ordering::Relaxed);
                return fault.clone();
            }
            if let Some(end) = final_report(request) {
                reports.lock().unwrap().push(end);
            }
            Fault::None
        }
    };
    let proxy = FaultyServer::start(
        certificate,
        &certificate.with_extension("key"),
        Arc::new(Upstream::new(server.address(), &server.authority()).unwrap()),
        Arc::new(script),
    )
    .unwrap();
    let workshop = Workshop::with(&format!(
        "allow_unsigned = true\n\
         server_url = '{}'\n\
         server_certificate = '{}'\n\
         identity_script = '{{dir}}/identity'\n\
         update_poll_interval_seconds = 1\n\
         retry_poll_interval_seconds = 1\n\
         stall_timeout_seconds = 3",
        proxy.url("").trim_end_matches('/'),
        certificate.display()
    ));
    let identity = workshop.path("identity");
    fs::write(&identity, format!("#!/bin/sh\necho name={name}\n")).unwrap();
    fs::set_permissions(&identity, fs::Permissions::from_mode(0o755)).unwrap();
    let powered = Powered::on(workshop.device.clone(), &[]).unwrap();
    Line {
        name,
        strikes,
        end,
        _proxy: proxy,
        reports,
        struck,
        powered,
        _workshop: workshop,
    }
}

/// The status of the deployment for each device that has begun it, by name.
fn statuses(server: &FleetServer, deployment: &str) -> BTreeMap<String, String> {
    let shown = server.verb(&["deployment", "show", deployment]).unwrap();
    let devices = server.verb(&["device", "list"]).unwrap();
    let name = |id: &str| {
        let devices = devices.as_array().unwrap();
        let device = devices.iter().find(|device| device["id"] == id).unwrap();
        device["identity_data"]["name"].as_str().unwrap().to_owned()
    };
    let one = |device: &serde_json::Value| {
        let (id, status) = (&device["id"], &device["status"]);
        (
            name(id.as_str().unwrap()),
            status.as_str().unwrap().to_owned(),
        )
    };
    shown["devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(one)
        .collect()
}

fn live(lines: &mut [Line], what: &str, mut done: impl FnMut(&[Line]) -> bool) {
    let begun = Instant::now();
    while !done(lines) {
        assert!(begun.elapsed() < LIMIT, "not in time: {what}");
        for line in &mut *lines {
            line.powered.live().unwrap();
        }
    }
}

#[test]
fn whatever_the_line_does_a_deployment_ends_in_success_or_in_one_reported_failure() {
    let dir = tempfile::tempdir().unwrap();
    let server = FleetServer::start(&dir.path().join("server")).unwrap();
    let crt = dir.path().join("line.crt");
    certificate(&dir.path().join("line")).unwrap();
    let mut lines: Vec<Line> = cases()
        .into_iter()
        .map(|case| line(&server, &crt, case))
        .collect();
    let count = lines.len();
    live(&mut lines, "every device knocks", |_| {
        let known = server.verb(&["device", "list"]).unwrap();
        known.as_array().unwrap().len() == count
    });
    server.verb(&["device", "accept", "--all-pending"]).unwrap();

    let maker = Workshop::new();
    fs::write(maker.path("tree/etc/noise"), noise()).unwrap();
    let artifact = maker.artifact("release-2", &[]);
    let path = artifact.to_str().unwrap();
    server.verb(&["artifact", "upload", path]).unwrap();
    let made = server.verb(&["deployment", "create", "release-2", "--all"]);
    let deployment = made.unwrap()["id"].as_str().unwrap().to_owned();
    live(&mut lines, "every deployment ends", |lines| {
        let statuses = statuses(&server, &deployment);
        let open: Vec<_> = lines
            .iter()
            .filter(|line| {
                let status = statuses.get(line.name).map(String::as_str);
                !matches!(status, Some("success" | "failure"))
            })
            .map(|line| line.name)
            .collect();
        eprintln!("open: {open:?}");
        open.is_empty()
    });

    let statuses = statuses(&server, &deployment);
    for line in &lines {
        let name = line.name;
        let console = line.powered.console();
        assert!(line.struck.load(Ordering::Relaxed) > 0, "{name}: no fault");
        let (status, running) = match line.end {
            Success => ("success", "release-2"),
            Failure => ("failure", "release-1"),
        };
        assert_eq!(statuses[name], status, "{name}: {console}");
        let release = line.powered.device().path("running/etc/release");
        let release = fs::read_to_string(release).unwrap();
        assert_eq!(release, running, "{name}: {console}");
        let reports = line.reports.lock().unwrap();
        if let Downloads(_) | Resumed = line.strikes {
            assert_eq!(*reports, [line.end], "{name}: {console}");
        }
    }
}
