//! Real server, real daemon: what was fetched too late for a maintenance window waits for the next one. In between is a
//! line that moves the windows to where a test can wait for them: one has just closed, the next opens in seconds.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail loudly, and its files are its own"
)]

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tandem_e2e::faulty::{Answer, Fault, FaultyServer, Request, Site, Upstream, certificate};
use tandem_e2e::{FleetServer, Powered, Workshop};

const LIMIT: Duration = Duration::from_secs(60);

/// Long enough to pull the plug meanwhile.
const CLOSED: Duration = Duration::from_secs(12);

/// The server, with other windows.
struct Moved {
    server: Upstream,
    /// When the next window opens; said at the first offer.
    opens: Mutex<Option<SystemTime>>,
}

impl Site for Moved {
    fn answer(&self, request: &Request) -> anyhow::Result<Answer> {
        let mut answer = self.server.answer(request)?;
        if answer.status != 200 || !request.path.ends_with("/next") {
            return Ok(answer);
        }
        let mut body = Vec::new();
        answer.body.read_to_end(&mut body)?;
        let mut offer: Value = serde_json::from_slice(&body)?;
        // The real ones: the first is open now, as a device relies on.
        let told = &offer["maintenance_openings"];
        let time = |at: &Value| -> tandem_api::Timestamp { at.as_str().unwrap().parse().unwrap() };
        let now = SystemTime::now();
        assert!(time(&told[0]["from"]) <= now.into(), "{told}");
        assert!(time(&told[0]["until"]) > now.into(), "{told}");

        let opens = *self.opens.lock().unwrap().get_or_insert(now + CLOSED);
        let text = |time: SystemTime| tandem_api::Timestamp::from(time).to_string();
        offer["maintenance_openings"] = json!([
            {"from": text(now - LIMIT), "until": text(now)},
            {"from": text(opens), "until": text(opens + LIMIT)},
        ]);
        let body = serde_json::to_vec(&offer)?;
        answer.length = body.len() as u64;
        answer.body = Box::new(std::io::Cursor::new(body));
        Ok(answer)
    }
}

#[test]
fn what_came_too_late_waits_for_the_next_window_over_a_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    let server = FleetServer::start(&dir.path().join("server")).unwrap();
    let line = dir.path().join("line.crt");
    certificate(&line).unwrap();
    let site = Arc::new(Moved {
        server: Upstream::new(server.address(), &server.authority()).unwrap(),
        opens: Mutex::new(None),
    });
    let proxy = FaultyServer::start(
        &line,
        &line.with_extension("key"),
        Arc::clone(&site) as Arc<dyn Site>,
        Arc::new(|_: &Request, _| Fault::None),
    )
    .unwrap();
    let workshop = Workshop::with(&format!(
        "allow_unsigned = true\n\
         server_url = '{}'\n\
         server_certificate = '{}'\n\
         identity_script = '{{dir}}/identity'\n\
         update_poll_interval_seconds = 1\n\
         retry_poll_interval_seconds = 1",
        proxy.url("").trim_end_matches('/'),
        line.display()
    ));
    let identity = workshop.path("identity");
    fs::write(&identity, "#!/bin/sh\necho name=night\n").unwrap();
    fs::set_permissions(&identity, fs::Permissions::from_mode(0o755)).unwrap();
    let mut powered = Powered::on(workshop.device.clone(), &[]).unwrap();
    let pending = |_: &Powered| {
        let pending = server.verb(&["device", "list", "--status", "pending"])?;
        Ok(pending.as_array().is_some_and(|found| !found.is_empty()))
    };
    powered.until("the device knocks", LIMIT, pending).unwrap();
    server.verb(&["device", "accept", "name=night"]).unwrap();
    let artifact = workshop.artifact("release-2", &[]);
    let upload = ["artifact", "upload", artifact.to_str().unwrap()];
    server.verb(&upload).unwrap();
    let create = ["deployment", "create", "release-2", "--all"];
    let window = ["--window", "daily 00:00 1day"];
    let made = server.verb(&[&create[..], &window].concat()).unwrap();
    let deployment = made["id"].as_str().unwrap().to_owned();
    let on_device = || {
        let shown = server.verb(&["deployment", "show", &deployment]).unwrap();
        shown["devices"][0].clone()
    };

    let waits = |powered: &Powered| {
        powered
            .console()
            .matches("waiting for the maintenance")
            .count()
    };
    powered
        .until("it waits", LIMIT, |powered| Ok(waits(powered) == 1))
        .unwrap();
    powered.cut().unwrap();
    powered
        .until("it waits again", LIMIT, |powered| Ok(waits(powered) == 2))
        .unwrap();
    let told = |_: &Powered| {
        let waiting = on_device();
        assert_eq!(waiting["status"], "downloading", "{waiting}");
        let words = "Waiting for the maintenance window";
        Ok(waiting.to_string().contains(words))
    };
    powered
        .until("the server knows that it waits", LIMIT, told)
        .unwrap();
    let opens = site.opens.lock().unwrap().unwrap();
    // The rest says nothing on a machine that took all the time for this.
    assert!(SystemTime::now() < opens, "too slow for this test");
    assert_eq!(powered.boots(), 2);

    powered
        .until("the update ends", LIMIT, |_| {
            let status = on_device()["status"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            assert_ne!(status, "failure");
            Ok(status == "success")
        })
        .unwrap();
    assert!(
        SystemTime::now() >= opens,
        "it was installed before the window opened"
    );
    assert_eq!(powered.boots(), 3, "the cut, and the reboot of the update");
    let release = fs::read_to_string(powered.device().path("running/etc/release")).unwrap();
    assert_eq!(release, "release-2");
    let seen = proxy.seen();
    let downloads = seen.iter().filter(|seen| seen.what.contains("/download/"));
    assert_eq!(downloads.count(), 1, "what waits is not fetched again");
}
