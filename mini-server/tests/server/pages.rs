//! The pages, as a browser without scripts meets them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::json;
use tandem_api::device::INVENTORY;
use tandem_server::access::Access;
use tandem_server::routes::surface;

use crate::harness::{Answer, Device, Http, Server, artifact, build, form};

/// Somebody with a browser.
struct Browser<'a> {
    server: &'a Server,
    cookie: String,
}

impl<'a> Browser<'a> {
    fn stranger(server: &'a Server) -> Self {
        Self {
            server,
            cookie: String::new(),
        }
    }

    fn signed_in(server: &'a Server) -> Self {
        let mut browser = Self::stranger(server);
        let answer = browser.sign_in(&server.email, &server.password, "");
        assert_eq!(answer.status, 303, "{}", answer.text());
        browser
    }

    fn sign_in(&mut self, email: &str, password: &str, next: &str) -> Answer {
        let fields = [("email", email), ("password", password), ("next", next)];
        let answer = self.post("/sign-in", &fields);
        if let Some(cookie) = answer.header("set-cookie") {
            self.cookie = cookie.split(';').next().unwrap().to_owned();
        }
        answer
    }

    fn send(&self, method: &str, path: &str, more: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut headers = vec![("accept", "text/html"), ("cookie", self.cookie.as_str())];
        headers.extend(more);
        self.server.connect().request(method, path, &headers, body)
    }

    fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// A page that must be there, whole and confined.
    #[track_caller]
    fn page(&self, path: &str) -> String {
        let answer = self.get(path);
        let text = answer.text();
        assert_eq!(answer.status, 200, "{path}: {text}");
        check_page(path, &answer);
        text
    }

    fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let origin = self.server.url();
        let headers = [
            ("origin", origin.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        self.send("POST", path, &headers, body.finish().as_bytes())
    }

    /// A form whose answer leads to another page; where to.
    #[track_caller]
    fn done(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.post(path, fields);
        assert_eq!(answer.status, 303, "{path} {fields:?}: {}", answer.text());
        answer.header("location").unwrap().to_owned()
    }

    fn upload(&self, artifact: &[u8], accept: &str) -> Answer {
        let origin = self.server.url();
        let headers = [
            ("cookie", self.cookie.as_str()),
            ("accept", accept),
            ("origin", origin.as_str()),
            ("content-type", "multipart/form-data; boundary=XyZ"),
        ];
        let body = form(&[("description", b"d"), ("artifact", artifact)]);
        self.server
            .connect()
            .request("POST", "/releases", &headers, &body)
    }
}

/// Whether a page is confined by its headers, well-formed, and of this server alone.
#[track_caller]
fn check_page(path: &str, answer: &Answer) {
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8"),
        "{path}"
    );
    let policy = answer.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let text = std::str::from_utf8(&answer.body).unwrap();
    let odd = text.chars().find(|c| {
        c.is_control() && *c != '\n' || ('\u{202a}'..='\u{202e}').contains(c) || *c == '\u{200b}'
    });
    assert_eq!(odd, None, "{path} has a character that can do something");
    for (tag, attributes) in tags(path, text) {
        for (name, value) in attributes {
            assert!(
                !name.starts_with("on") && name != "style",
                "{path}: <{tag} {name}>"
            );
            if ["src", "href", "action", "formaction"].contains(&name.as_str()) {
                assert!(
                    value.starts_with('/') && !value.starts_with("//") || value.starts_with('#'),
                    "{path}: <{tag} {name}={value:?}>"
                );
            }
        }
        assert!(tag != "style" && tag != "iframe", "{path}: <{tag}>");
    }
    assert!(!text.contains("<script>"), "{path} has a script in it");
}

type Tag = (String, BTreeMap<String, String>);

/// The tags of a page, which must be closed in order.
#[track_caller]
fn tags(path: &str, text: &str) -> Vec<Tag> {
    const VOID: [&str; 4] = ["meta", "link", "input", "!DOCTYPE"];
    let mut open: Vec<String> = Vec::new();
    let mut found = Vec::new();
    let mut ids = BTreeSet::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let end = end_of_tag(rest).unwrap_or_else(|| panic!("{path}: a tag without an end"));
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{path}: </{name}>");
            continue;
        }
        let name = tag.split_whitespace().next().unwrap().to_owned();
        let attributes = attributes(&tag[name.len()..]);
        if let Some(id) = attributes.get("id") {
            assert!(
                ids.insert(id.clone()),
                "{path}: two elements are called {id}"
            );
        }
        if !VOID.contains(&name.as_str()) {
            open.push(name.clone());
        }
        found.push((name, attributes));
    }
    assert!(open.is_empty(), "{path}: {open:?} are not closed");
    found
}

fn end_of_tag(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == b'>' && !quoted
    })
}

fn attributes(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find(['=', ' ']).unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        rest = &rest[end..];
        let mut value = String::new();
        if let Some(quoted) = rest.strip_prefix("=\"") {
            let end = quoted.find('"').unwrap();
            value = quoted[..end].replace("&#38;", "&").replace("&amp;", "&");
            rest = &quoted[end + 1..];
        }
        found.insert(name, value);
        rest = rest.trim_start();
    }
    found
}

#[test]
fn one_signs_in_and_out() {
    let server = Server::start();
    let mut browser = Browser::stranger(&server);
    let answer = browser.get("/devices?status=pending&q=a%20b");
    assert_eq!(answer.status, 303);
    let next = "/sign-in?next=%2Fdevices%3Fstatus%3Dpending%26q%3Da%2520b";
    assert_eq!(answer.header("location"), Some(next));
    assert!(
        browser
            .page(next)
            .contains("value=\"/devices?status=pending")
    );
    let wrong = browser.sign_in(&server.email, "wrong", "");
    assert_eq!(wrong.status, 403);
    check_page("/sign-in", &wrong);
    assert!(
        wrong
            .text()
            .contains("The e-mail address or the password is wrong.")
    );
    let answer = browser.sign_in(&server.email, &server.password, "/devices?status=pending");
    assert_eq!(answer.header("location"), Some("/devices?status=pending"));
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-tandem="));
    for attribute in [
        "Path=/",
        "Secure",
        "HttpOnly",
        "SameSite=Lax",
        "Max-Age=604800",
    ] {
        assert!(cookie.split("; ").any(|one| one == attribute), "{cookie}");
    }
    assert!(browser.page("/").contains(&server.email));
    assert_eq!(browser.post("/sign-out", &[]).status, 303);
    // The token is of no use any more, whoever has kept it.
    assert_eq!(browser.get("/").status, 303);
    for elsewhere in [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "x",
    ] {
        let answer = browser.sign_in(&server.email, &server.password, elsewhere);
        assert_eq!(answer.header("location"), Some("/"), "{elsewhere}");
    }
    let mut last = 0;
    for _ in 0..7 {
        last = browser.sign_in("nobody@example.com", "guess", "").status;
    }
    assert_eq!(last, 429);
}

#[test]
fn what_does_not_come_from_a_page_of_ours_changes_nothing() {
    let server = Server::start();
    let browser = Browser::signed_in(&server);
    let own = server.url();
    let mut tried = 0;
    for route in surface().routes() {
        if !route.access.is_page() || route.method != "POST" {
            continue;
        }
        tried += 1;
        let path = route
            .path
            .replace("{id}", "00000000-0000-4000-8000-000000000000");
        for headers in [
            &[][..],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[("origin", own.as_str()), ("sec-fetch-site", "cross-site")],
            &[("origin", own.as_str()), ("sec-fetch-site", "same-site")],
        ] {
            let answer = browser.send("POST", &path, headers, b"action=delete");
            assert_eq!(answer.status, 403, "{path} {headers:?}: {}", answer.text());
            assert!(
                answer
                    .text()
                    .contains("does not come from a page of this server")
            );
        }
    }
    assert!(tried >= 9);
    // Still signed in, and still there.
    assert!(browser.page("/people").contains(&server.email));
    let answer = browser.send(
        "POST",
        "/sign-out",
        &[("sec-fetch-site", "same-origin")],
        b"",
    );
    assert_eq!(answer.status, 303);
}

#[test]
fn cookies_are_for_pages_and_tokens_for_the_api() {
    let server = Server::start();
    let browser = Browser::signed_in(&server);
    let token = browser.cookie.split_once('=').unwrap().1.to_owned();
    for route in surface().routes() {
        let path = route
            .path
            .replace("{id}", "00000000-0000-4000-8000-000000000000")
            .replace("{deployment}", "00000000-0000-4000-8000-000000000000");
        let method = route.method.as_str();
        match route.access {
            Access::Person(_) | Access::Device => {
                let answer = browser.send(method, &path, &[("origin", &server.url())], b"");
                assert_eq!(answer.status, 401, "{method} {path}");
            }
            Access::Browser(_) => {
                let bearer = format!("Bearer {}", server.token());
                let headers = [
                    ("authorization", bearer.as_str()),
                    ("origin", &server.url()),
                ];
                let answer = Browser::stranger(&server).send(method, &path, &headers, b"");
                assert_eq!(answer.status, 303, "{method} {path}");
                assert!(answer.header("location").unwrap().starts_with("/sign-in?"));
            }
            Access::Anyone | Access::Visitor | Access::Monitor => {}
        }
    }
    // A personal access token is for programs, and a device's for devices.
    let made = server.admin(
        "POST",
        "/api/management/v1/useradm/settings/tokens",
        json!({"name": "ci"}),
    );
    let device = server.device("a");
    for other in [made.text(), device.token.clone(), format!("{token}x")] {
        let browser = Browser {
            server: &server,
            cookie: format!("__Host-tandem={other}"),
        };
        assert_eq!(browser.get("/").status, 303);
    }
}

/// Text that would do something if it were not shown as text.
const HOSTILE: [&str; 8] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd",
    "a\u{0}b\u{1b}[31m\r\n\u{7f}\u{9b}c",
    "\u{202e}txt.exe\u{200b}\u{feff}",
    "</title></textarea></script><!--",
];

#[test]
fn whatever_devices_say_is_shown_as_text_and_every_page_is_whole() {
    let server = Server::start();
    for name in ["v2", "<b>v3</b>"] {
        server.uploaded(&artifact(name));
    }
    let mut devices = Vec::new();
    for (n, text) in HOSTILE.iter().enumerate() {
        let identity = json!({"mac": format!("{n}{text}"), *text: ["x", text]});
        let mut device = Device::with_identity(identity);
        assert_eq!(device.authenticate(&server).status, 401);
        server.accept(&mut device);
        assert_eq!(device.authenticate(&server).status, 200);
        let inventory = json!([
            {"name": "artifact_name", "value": text}, {"name": "device_type", "value": text},
            {"name": text, "value": [text, text], "description": text},
        ]);
        assert_eq!(
            device.request(&server, "PUT", INVENTORY, inventory).status,
            200
        );
        devices.push(device);
    }
    // As much as fits into one request: 1 MiB.
    let long: Vec<_> = (0..60)
        .map(|n| json!({"name": format!("{n}{}", "n".repeat(1000)), "value": "\u{1f600}".repeat(4000)}))
        .collect();
    let last = devices.last().unwrap();
    assert_eq!(
        last.request(&server, "PATCH", INVENTORY, json!(long))
            .status,
        200
    );
    let waiting = Device::with_identity(json!({"mac": HOSTILE[0]}));
    assert_eq!({ waiting }.authenticate(&server).status, 401);

    let all: Vec<&Device> = devices.iter().collect();
    let deployment = server.deploy("v2", &all);
    for (device, text) in devices.iter().zip(HOSTILE) {
        assert_eq!(device.next(&server, "v1").status, 200);
        let path = tandem_api::device::status_path(&deployment);
        let report = |status: &str| {
            device.request(
                &server,
                "PUT",
                &path,
                json!({"status": status, "substate": text}),
            )
        };
        assert_eq!(report("installing").status, 204);
        if text.len() > 20 {
            let log = json!({"messages": [
                {"timestamp": "2026-11-23T08:03:37Z", "level": "error", "message": text},
                {"timestamp": text, "level": text, "message": "x".repeat(60_000)},
            ]});
            let path = tandem_api::device::log_path(&deployment);
            assert_eq!(device.request(&server, "PUT", &path, log).status, 204);
            assert_eq!(report("failure").status, 204);
        }
    }
    server.deploy("<b>v3</b>", &all);

    // Every page that a link leads to.
    let browser = Browser::signed_in(&server);
    let (mut seen, mut next) = (BTreeSet::new(), VecDeque::new());
    for path in [
        "/",
        "/start",
        "/deployments/new",
        "/devices?q=%3Cscript%3E%22&group=%3C&state=%22",
    ] {
        next.push_back(path.to_owned());
    }
    let mut shown = String::new();
    while let Some(path) = next.pop_front() {
        if !seen.insert(path.clone()) || seen.len() > 400 {
            continue;
        }
        let text = browser.page(&path);
        assert!(text.len() < 2 << 20, "{path} has {} bytes", text.len());
        for (_, attributes) in tags(&path, &text) {
            let Some(href) = attributes.get("href") else {
                continue;
            };
            let file = ["/assets/", "/ca.crt"]
                .iter()
                .any(|file| href.starts_with(file))
                || href.ends_with("/download")
                || href.ends_with("?raw");
            if href.starts_with('/') && !file {
                next.push_back(href.split('#').next().unwrap().to_owned());
            }
        }
        shown.push_str(&text);
    }
    assert!(seen.len() > 40, "{seen:?}");
    for part in [
        "/devices/",
        "/releases/",
        "/deployments/",
        "/logs/",
        "/people",
        "/settings",
    ] {
        assert!(
            seen.iter().any(|path| path.contains(part)),
            "{part}: {seen:?}"
        );
    }
    // They have been on these pages, and were text.
    assert!(shown.contains("&#60;script&#62;alert(1)"));
    assert!(shown.contains("a␀b␛[31m␍␊␡"));
    assert!(!shown.contains("<script>alert") && !shown.contains("<img"));
}

#[test]
fn what_is_asked_for_in_vain_is_answered_by_a_page() {
    let server = Server::start();
    let browser = Browser::signed_in(&server);
    let nobody = "/devices/00000000-0000-4000-8000-000000000000";
    for (path, status, sentence) in [
        ("/nothing", 404, "Page not found."),
        (nobody, 404, "Device not found."),
        ("/devices/x", 400, "ID is not a valid UUID."),
        ("/devices?page=0", 200, "No devices yet"),
        ("/assets/../Cargo.toml", 404, "Page not found."),
        ("/devices", 405, "Method not allowed."),
    ] {
        let method = if status == 405 { "DELETE" } else { "GET" };
        let answer = browser.send(method, path, &[("origin", &server.url())], b"");
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        if status != 405 {
            assert!(
                answer.text().contains(sentence),
                "{path}: {}",
                answer.text()
            );
            check_page(path, &answer);
        }
    }
    for (path, fields, sentence) in [
        (
            "/devices",
            &[("action", "accept")][..],
            "No devices are chosen",
        ),
        (
            "/devices",
            &[("action", "accept"), ("device", "x")],
            "ID is not a valid UUID",
        ),
        (
            "/deployments/new",
            &[("release", "v9"), ("to", "all")],
            "No artifact for the deployment",
        ),
        (
            "/people",
            &[
                ("action", "add"),
                ("email", "x"),
                ("password", "longenough"),
            ],
            "e-mail address is unusable",
        ),
        (
            "/people",
            &[("action", "add"), ("email", "a@b"), ("password", "short")],
            "8",
        ),
        (
            "/settings",
            &[
                ("action", "password"),
                ("password", "one-password"),
                ("again", "another"),
            ],
            "differ",
        ),
    ] {
        let answer = browser.post(path, fields);
        assert!(
            (400..500).contains(&answer.status),
            "{path}: {}",
            answer.status
        );
        assert!(
            answer.text().contains(sentence),
            "{path}: {}",
            answer.text()
        );
        check_page(path, &answer);
    }
    let api = browser.get("/api/nothing");
    assert_eq!(api.json()["error"], "page not found");
}

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
        (&b"not an artifact"[..], "The artifact is not accepted"),
        (b"", "The artifact is not accepted"),
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
    let users = "/api/management/v1/useradm/users";
    let status = |token: &str| server.connect().with_token("GET", users, token, ()).status;
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

/// Reads events until one has come; its id and topics. `None` if the line ends.
fn event(http: &mut Http) -> Option<(String, String)> {
    let mut text = String::new();
    let mut byte = [0];
    loop {
        http.stream.read_exact(&mut byte).ok()?;
        text.push(char::from(byte[0]));
        if text.ends_with("0\r\n\r\n") && !text.contains("data: ") {
            return None;
        }
        if let Some(start) = text.find("id: ")
            && text[start..].ends_with("\n\n")
        {
            let field = |name: &str| {
                let rest = text.split(name).nth(1).unwrap();
                rest.split('\n').next().unwrap().to_owned()
            };
            return Some((field("id: "), field("data: ")));
        }
    }
}

fn listen(browser: &Browser<'_>, since: &str, last: Option<&str>) -> Http {
    let mut http = browser.server.connect();
    let last = last
        .map(|last| format!("Last-Event-ID: {last}\r\n"))
        .unwrap_or_default();
    let head = format!(
        "GET /events?since={since} HTTP/1.1\r\nHost: x\r\nCookie: {}\r\n{last}\r\n",
        browser.cookie
    );
    http.send(head.as_bytes()).unwrap();
    let (status, headers) = http.head().unwrap();
    assert_eq!(status, 200);
    assert!(headers.contains(&("content-type".to_owned(), "text/event-stream".to_owned())));
    http
}

#[test]
fn open_pages_hear_of_what_has_changed() {
    let mut server = Server::start();
    let device = server.device("a");
    let browser = Browser::signed_in(&server);
    let page = browser.page("/");
    let since = page
        .split("data-since=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    // Between the page and the line something has changed already.
    server.uploaded(&artifact("v2"));
    let mut http = listen(&browser, &since, None);
    assert_eq!(event(&mut http).unwrap().1, "releases");
    let deployment = server.deploy("v2", &[&device]);
    let (id, topics) = event(&mut http).unwrap();
    assert_eq!(topics, "deployments");
    drop(http);
    // While the line was broken, too.
    assert_eq!(device.next(&server, "v1").status, 200);
    assert_eq!(
        device.report(&server, &deployment, "installing").status,
        204
    );
    let mut http = listen(&browser, &since, Some(&id));
    assert_eq!(event(&mut http).unwrap().1, "deployments");
    // Whoever signs out hears no more.
    assert_eq!(browser.post("/sign-out", &[]).status, 303);
    let _ = device.report(&server, &deployment, "rebooting");
    assert_eq!(event(&mut http), None);
    assert_eq!(browser.get("/events").status, 303);
    // And the server stops without waiting for listeners.
    let browser = Browser::signed_in(&server);
    let since = "x".to_owned();
    let mut http = listen(&browser, &since, None);
    let begun = Instant::now();
    server.terminate();
    assert_eq!(event(&mut http), None);
    drop(http);
    assert!(server.wait());
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// Devices of the large fleet.
const FLEET: u64 = 10_000;

/// How long the server may work on any page with them. One that was built without optimisation works three times as long.
const QUICK: Duration = Duration::from_millis(if cfg!(debug_assertions) { 300 } else { 100 });

#[test]
fn every_page_comes_quickly_with_ten_thousand_devices() {
    let mut server = Server::start();
    let artifact = server.uploaded(&build("v2", &["board-0", "board-1"], &[], 100));
    server.terminate();
    assert!(server.wait());
    let (device, deployment) = fill(&server);
    server.restart();
    let browser = Browser::signed_in(&server);
    let mut http = server.connect();
    let mut slow = Vec::new();
    for path in [
        "/".to_owned(),
        "/start".to_owned(),
        "/devices".to_owned(),
        "/devices?page=200".to_owned(),
        "/devices?q=5a5a".to_owned(),
        "/devices?q=nothing-has-this".to_owned(),
        "/devices?status=pending".to_owned(),
        "/devices?status=any&sort=-name".to_owned(),
        "/devices?sort=release&page=20".to_owned(),
        "/devices?sort=-heard".to_owned(),
        "/devices?state=failing&sort=group".to_owned(),
        "/devices?state=silent".to_owned(),
        "/devices?state=unsaid".to_owned(),
        "/devices?release=v1&type=board-3&group=group-1".to_owned(),
        format!("/devices/{device}"),
        "/releases".to_owned(),
        format!("/releases/{artifact}"),
        "/deployments".to_owned(),
        "/deployments/new?release=v2&to=all".to_owned(),
        "/deployments/new?release=v2&to=group&group=group-1".to_owned(),
        format!("/deployments/{deployment}"),
        format!("/deployments/{deployment}?show=failed&page=20"),
        "/people".to_owned(),
        "/settings".to_owned(),
    ] {
        let headers = [("accept", "text/html"), ("cookie", browser.cookie.as_str())];
        let (begun, before) = (Instant::now(), processor_time(&server));
        for _ in 0..ROUNDS {
            let answer = http.request("GET", &path, &headers, b"");
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
        // What else the machine does is not what is measured: the server's own time counts.
        let (took, worked) = (
            begun.elapsed() / ROUNDS,
            (processor_time(&server) - before) / ROUNDS,
        );
        println!(
            "{:>7.1} ms, of processor time {:>6.1} ms  {path}",
            ms(took),
            ms(worked)
        );
        if worked > QUICK {
            slow.push((path, ms(worked)));
        }
    }
    assert!(slow.is_empty(), "{slow:?}");
}

/// Requests for each page.
const ROUNDS: u32 = 5;

/// How long the server has worked so far. The kernel counts hundredths of a second.
fn processor_time(server: &Server) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.id())).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks = |n: usize| fields[n].parse::<u64>().unwrap();
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Fills the database of a server that does not run; a device and a deployment.
fn fill(server: &Server) -> (String, String) {
    let database = server.data().join("tandem.db");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        use sqlx::Connection;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        for statement in [
            "CREATE TEMP TABLE n (n INTEGER PRIMARY KEY, id TEXT, sid TEXT)",
            "INSERT INTO n WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < $1)
             SELECT n, PRINTF('%08x-0000-4000-8000-%012x', (n * 2654435761) % 4294967296, n),
                    PRINTF('%08x-0000-4000-9000-%012x', (n * 2654435761) % 4294967296, n) FROM c",
            "INSERT INTO devices (id, identity_hash, identity, status, group_name, created, updated, outcome)
             SELECT id, id, '{\"mac\":\"' || id || '\"}', CASE WHEN n % 50 = 0 THEN 'pending' ELSE 'accepted' END,
                    CASE WHEN n % 3 = 0 THEN 'group-' || n % 40 END, n * 1000, n * 1000,
                    CASE n % 10 WHEN 0 THEN 'failure' WHEN 1 THEN NULL ELSE 'success' END FROM n",
            "UPDATE device_counts SET devices = (SELECT COUNT(*) FROM devices d WHERE d.status = device_counts.status)",
            "INSERT INTO auth_sets (id, device_id, pubkey, status, created, token_generation)
             SELECT sid, id, '-----BEGIN PUBLIC KEY-----' || n, CASE WHEN n % 50 = 0 THEN 'pending' ELSE 'accepted' END, n, 0 FROM n",
            "INSERT INTO check_ins (device_id, at)
             SELECT id, (CAST(STRFTIME('%s') AS INTEGER) - n * 20) * 1000 FROM n WHERE n % 50 <> 0",
            "INSERT INTO attributes (device_id, scope, name, position, text, updated)
             SELECT id, 'identity', 'mac', -1, id, 0 FROM n",
            "INSERT INTO attributes (device_id, scope, name, position, text, updated)
             SELECT id, 'inventory', 'artifact_name', -1, 'v' || (n % 7 % 3), 0 FROM n WHERE n % 100 <> 1",
            "INSERT INTO attributes (device_id, scope, name, position, text, updated)
             SELECT id, 'inventory', 'device_type', -1, 'board-' || (n % 5), 0 FROM n WHERE n % 100 <> 1",
            "INSERT INTO attributes (device_id, scope, name, position, text, updated)
             SELECT n.id, 'inventory', 'attribute-' || m.n, -1, 'a value like those of real devices ' || (n.n * m.n), 0
             FROM n, n AS m WHERE m.n <= 18",
            "INSERT INTO deployments (id, sequence, name, artifact_name, forced, created, status, aborted, max_devices, total_size, fingerprint)
             SELECT sid, n, 'deployment ' || n, 'v2', 0, n * 60000, CASE WHEN n = 60 THEN 'inprogress' ELSE 'finished' END, 0,
                    CASE WHEN n = 60 THEN $1 ELSE 0 END, 0, n FROM n WHERE n <= 60",
            "UPDATE deployments SET finished = created + 1000 WHERE status = 'finished'",
            "INSERT INTO device_deployments (deployment_id, device_id, sequence, open, status, created, started, finished, has_log, reason)
             SELECT (SELECT sid FROM n WHERE n = 60), id, 60, CASE WHEN n % 4 > 1 THEN 1 ELSE 0 END,
                    CASE n % 4 WHEN 0 THEN 'success' WHEN 1 THEN 'failure' WHEN 2 THEN 'installing' END, 1000, 1000, 2000, 0,
                    'reason ' || (n % 9) FROM n",
            "INSERT INTO deployment_statistics (deployment_id, status, devices)
             SELECT deployment_id, status, COUNT(*) FROM device_deployments WHERE status IS NOT NULL GROUP BY 1, 2",
            "INSERT INTO outcomes_by_day (day, status, devices)
             SELECT CAST(STRFTIME('%s') AS INTEGER) / 86400 - n, 'success', n * 7 FROM n WHERE n < 90",
        ] {
            let query = sqlx::query(statement);
            let query = if statement.contains("$1") {
                query.bind(i64::try_from(FLEET).unwrap())
            } else {
                query
            };
            query.execute(&mut connection).await.unwrap_or_else(|err| panic!("{err}: {statement}"));
        }
        let row: (String, String) = sqlx::query_as("SELECT (SELECT id FROM n WHERE n = 8), (SELECT sid FROM n WHERE n = 60)")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        row
    })
}
