//! What devices and strangers send, and what the pages make of it.

use std::collections::{BTreeSet, VecDeque};

use serde_json::json;
use tandem_api::device::INVENTORY;

use super::browser::{Browser, check_page, tags};
use crate::harness::{Device, Server, artifact};

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
