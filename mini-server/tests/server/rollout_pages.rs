//! Rollouts on the pages: what would come of one, how it goes, why a device does not get it yet.

use serde_json::json;

use crate::harness::{Answer, Server, artifact};

/// Somebody who is signed in with a browser.
struct Browser<'a> {
    server: &'a Server,
    cookie: String,
}

impl<'a> Browser<'a> {
    fn signed_in(server: &'a Server) -> Self {
        let mut browser = Self {
            server,
            cookie: String::new(),
        };
        let fields = [
            ("email", server.email.as_str()),
            ("password", &server.password),
        ];
        let answer = browser.post("/sign-in", &fields);
        let cookie = answer.header("set-cookie").unwrap();
        browser.cookie = cookie.split(';').next().unwrap().to_owned();
        browser
    }

    fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let origin = self.server.url();
        let headers = [
            ("cookie", self.cookie.as_str()),
            ("accept", "text/html"),
            ("origin", origin.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        self.server
            .connect()
            .request("POST", path, &headers, body.finish().as_bytes())
    }

    /// A form whose answer leads to another page; where to.
    #[track_caller]
    fn done(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.post(path, fields);
        assert_eq!(answer.status, 303, "{path} {fields:?}: {}", answer.text());
        answer.header("location").unwrap().to_owned()
    }

    /// A page with all of these texts.
    #[track_caller]
    fn shows(&self, path: &str, texts: &[&str]) -> String {
        let headers = [("cookie", self.cookie.as_str()), ("accept", "text/html")];
        let answer = self.server.connect().request("GET", path, &headers, b"");
        let page = answer.text();
        assert_eq!(answer.status, 200, "{path}: {page}");
        for text in texts {
            assert!(page.contains(text), "{path} has no {text:?}: {page}");
        }
        page
    }
}

#[test]
fn a_rollout_is_foretold_made_watched_and_steered() {
    let server = Server::start();
    server.uploaded(&artifact("r2"));
    let devices: Vec<_> = (0..4).map(|n| server.device(&format!("d{n}"))).collect();
    let browser = Browser::signed_in(&server);
    browser.shows(
        "/deployments/new?release=r2&phases=1%0Arest,pause&max_concurrent=2&stop_after=1",
        &[
            "Phase 1: 1 device (1 device).",
            "Phase 2: all that are left, when somebody says go on (3 devices).",
            "At most 2 devices at once.",
            "It stops itself after 1 failure.",
        ],
    );
    browser.shows(
        "/deployments/new?release=r2&phases=99%25",
        &["Phase 1: 99 % of the devices (3 devices)."],
    );
    browser.shows(
        "/deployments/new?release=r2&phases=10",
        &["Nothing is left for phase 2 of 4 devices."],
    );
    browser.shows(
        "/deployments/new?release=r2&window=never",
        &["A day is one of mon, tue"],
    );
    let refused = browser.post("/deployments/new", &[("release", "r2"), ("phases", "<b>")]);
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("is no phase"), "{}", refused.text());
    assert!(!refused.text().contains("<b>"));

    let fields = [
        ("release", "r2"),
        ("phases", "1\r\nrest,pause"),
        ("max_concurrent", "2"),
        ("stop_after", "1"),
    ];
    let there = browser.done("/deployments/new", &fields);
    let path = there.split('?').next().unwrap();
    let id = path.rsplit('/').next().unwrap();
    assert_eq!(devices[0].next(&server, "r1").status, 200);
    browser.shows(
        path,
        &["No device begins now: phase 1 has all its devices; the next begins when those are done.", "1 of 1", "0 of 3"],
    );
    let second = format!("/devices/{}", devices[1].id);
    browser.shows(
        &second,
        &[
            "Still to come",
            "Phase 1 has all its devices; the next begins when those are done.",
        ],
    );
    assert_eq!(devices[0].report(&server, id, "failure").status, 204);
    browser.shows(
        path,
        &[
            "Stopped itself",
            "the deployment stopped itself: it failed on 1 device",
            "Go on",
        ],
    );
    browser.done(path, &[("action", "resume")]);
    browser.shows(path, &["the next waits for somebody to say go on", "Go on"]);
    browser.done(path, &[("action", "resume")]);
    browser.shows(&second, &["It gets it when it asks next."]);
    browser.done(path, &[("action", "pause"), ("reason", "lunch & tea")]);
    browser.shows(
        path,
        &["Paused", "the deployment is paused: lunch &#38; tea"],
    );
    assert_eq!(browser.post(path, &[("action", "pause")]).status, 409);
    browser.done(path, &[("action", "resume")]);

    // The same release once and once more, then it is known not to be for this device.
    for _ in 0..2 {
        let again = server.deploy("r2", &[&devices[0]]);
        assert_eq!(devices[0].next(&server, "r1").status, 200);
        assert_eq!(devices[0].report(&server, &again, "failure").status, 204);
    }
    browser.shows(
        "/deployments/new?release=r2",
        &["It has failed 3 times or more on 1 device, where it is offered again only by force."],
    );

    browser.done(&second, &[("action", "pin"), ("pin", "<i>r0")]);
    let page = browser.shows(&second, &["Pinned to", "The device is pinned to"]);
    assert!(!page.contains("<i>"));
    browser.shows("/deployments/new?release=r2", &["Pinned"]);
    browser.done(&second, &[("action", "pin"), ("pin", "")]);
}

#[test]
fn standing_orders_and_windows_are_kept_below_the_deployments() {
    let server = Server::start();
    server.uploaded(&artifact("r2"));
    let device = server.device("d");
    let group = "/api/management/v1/inventory/groups/beta/devices";
    assert_eq!(server.admin("PATCH", group, json!([device.id])).status, 200);
    let browser = Browser::signed_in(&server);
    browser.done(
        "/deployments",
        &[("action", "order"), ("tag", "stable"), ("group", "beta")],
    );
    browser.shows("/deployments", &["stable", "system/group=beta", "none yet"]);
    let tags = "/api/management/v2/deployments/deployments/releases/r2/tags";
    assert_eq!(server.admin("PUT", tags, json!(["stable"])).status, 204);
    let page = browser.shows("/deployments", &["r2 (newest of stable)"]);
    browser.done(
        "/deployments",
        &[
            ("action", "window"),
            ("group", "beta"),
            ("window", "sun 03:00 1h Asia/Kolkata"),
        ],
    );
    browser.shows("/deployments", &["sun 03:00 1h Asia/Kolkata"]);
    browser.done(
        "/deployments",
        &[("action", "window"), ("group", "beta"), ("window", "")],
    );
    assert_eq!(
        browser
            .post(
                "/deployments",
                &[("action", "window"), ("group", "beta"), ("window", "x")]
            )
            .status,
        400
    );
    let order = page.split("name=\"order\" value=\"").nth(1).unwrap();
    let order = order.split('"').next().unwrap();
    browser.done("/deployments", &[("action", "take-back"), ("order", order)]);
    assert_eq!(
        browser
            .post("/deployments", &[("action", "take-back"), ("order", order)])
            .status,
        404
    );
    assert_eq!(browser.post("/deployments", &[("action", "?")]).status, 400);
}
