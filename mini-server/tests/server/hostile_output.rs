//! What devices and strangers send, in all that is no page: what verbs print, lists for spreadsheets, the log, figures,
//! what other programs are told. And what is no artifact, and is said to be none.

use serde_json::{Value, json};
use tandem_api::device::{INVENTORY, log_path, status_path};
use tandem_server::inert::is_visible;

use crate::harness::{Device, Server, artifact};

/// Text that would do something to a terminal, a spreadsheet, a line of a log or a reader.
const HOSTILE: [&str; 6] = [
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "\u{9b}31m\u{90}q\u{9c}",
    "=cmd|' /C calc'!A0",
    "a\r\nerror: forged line\u{2028}b",
    "\u{202e}gpj.exe\u{2066}\u{200b}",
    "\",\"x\"\n{\"a\": 1}<script>",
];

/// A device with hostile text in every field that it can set.
fn hostile_device(server: &Server, n: usize, text: &str) -> Device {
    let mut device = Device::with_identity(json!({"mac": format!("{text}{n}"), text: [text]}));
    assert_eq!(device.authenticate(server).status, 401);
    server.accept(&mut device);
    assert_eq!(device.authenticate(server).status, 200);
    let inventory = json!([
        {"name": "artifact_name", "value": text}, {"name": "device_type", "value": text},
        {"name": text, "value": [text, "x".repeat(4000)], "description": text},
    ]);
    assert_eq!(
        device.request(server, "PUT", INVENTORY, inventory).status,
        200
    );
    device
}

/// Nothing in a text acts; between lines there are ends of lines.
#[track_caller]
fn check_inert(what: &str, text: &str) {
    let acts = text.chars().find(|c| !is_visible(*c) && *c != '\n');
    assert_eq!(
        acts,
        None,
        "{what}: {:?}",
        text.chars().take(2000).collect::<String>()
    );
}

#[test]
fn nothing_that_a_device_says_acts_outside_of_pages() {
    let server = Server::start();
    server.uploaded(&artifact("v2"));
    let devices: Vec<Device> = (0..)
        .zip(HOSTILE)
        .map(|(n, text)| hostile_device(&server, n, text))
        .collect();
    let all: Vec<&Device> = devices.iter().collect();
    let deployment = server.deploy("v2", &all);
    for (device, text) in devices.iter().zip(HOSTILE) {
        let provides = json!({"device_provides": {"artifact_name": text, "device_type": "testboard", text: text}});
        let next = device.request(&server, "POST", tandem_api::device::NEXT_V2, provides);
        assert_eq!(next.status, 200, "{}", next.text());
        let log = json!({"messages": [
            {"timestamp": "2026-11-23T08:03:37Z", "level": "error", "message": text},
            {"timestamp": text, "level": text, "message": text},
        ]});
        assert_eq!(
            device
                .request(&server, "PUT", &log_path(&deployment), log)
                .status,
            204
        );
        let report = json!({"status": "failure", "substate": text});
        assert_eq!(
            device
                .request(&server, "PUT", &status_path(&deployment), report)
                .status,
            204
        );
    }
    // Keys and requests that are none are quoted in refusals and in the log.
    for text in HOSTILE {
        let body = json!({"id_data": text, "pubkey": text, "tenant_token": text}).to_string();
        let path = "/api/devices/v1/authentication/auth_requests";
        let headers = [("content-type", "application/json")];
        let answer = server
            .connect()
            .request("POST", path, &headers, body.as_bytes());
        assert_eq!(answer.status, 400, "{}", answer.text());
    }

    let shown = |args: &[&str]| {
        let text = server.done(args);
        check_inert(&args.join(" "), &text.replace('\t', " "));
        text
    };
    let id = devices[0].id.as_str();
    for args in [
        &["device", "list"][..],
        &["device", "show", id],
        &["device", "show", devices[1].id.as_str()],
        &["device", "show", devices[4].id.as_str()],
        &["deployment", "list"],
        &["deployment", "show", deployment.as_str()],
        &["deployment", "logs", deployment.as_str()],
        &["audit", "list"],
        &["artifact", "list"],
    ] {
        shown(args);
        let text = shown(&[args, &["--json"]].concat());
        let _: Value = serde_json::from_str(&text).unwrap_or_else(|err| panic!("{args:?}: {err}"));
    }
    // What is escaped is not changed.
    let list: Value = serde_json::from_str(&server.done(&["device", "list", "--json"])).unwrap();
    let list = list.as_array().unwrap();
    for device in &devices {
        assert!(
            list.iter()
                .any(|one| one["identity_data"] == device.identity)
        );
    }

    let lines = server.admin("GET", "/api/management/v1/auditlogs/logs/export", ());
    assert_eq!(lines.status, 200);
    let lines = lines.text().replace("\r\n", "\n");
    check_inert("the audit log for spreadsheets", &lines);
    for cell in lines.split(['\n', ',']) {
        let cell = cell.trim_start_matches('"');
        assert!(!cell.starts_with(['=', '+', '-', '@']), "{cell}");
    }
    check_inert("the log", &server.log());
    let forged = server
        .log()
        .lines()
        .any(|line| line.starts_with("error: forged"));
    assert!(!forged, "a device has written a line of its own");
    let figures = server.nobody("GET", "/metrics", b"").text();
    check_inert("the figures", &figures);
    assert!(
        !figures.contains("calc") && !figures.contains("gpj"),
        "{figures}"
    );
}

#[test]
fn what_a_webhook_is_told_is_inert_and_means_the_same() {
    let event = tandem_server::store::WaitingEvent {
        number: 1,
        event: "device.pending".to_owned(),
        at: 0,
        data: json!({"device": {"identity": {HOSTILE[1]: HOSTILE[4]}}}).to_string(),
        attempts: 0,
    };
    let body = tandem_server::webhooks::body(&event, tandem_api::Timestamp::from_millis(0));
    check_inert("the body", &body);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["device"]["identity"][HOSTILE[1]], HOSTILE[4]);
}

#[test]
fn a_megabyte_in_one_field_is_refused_or_kept_and_shown_short() {
    let server = Server::start();
    let device = server.device("a");
    let long = "\u{202e}x".repeat(250_000);
    for (path, method, body) in [
        (
            tandem_api::device::NEXT_V2,
            "POST",
            json!({"device_provides": {"artifact_name": long, "device_type": "t"}}),
        ),
        (INVENTORY, "PUT", json!([{"name": "n", "value": long}])),
        (INVENTORY, "PUT", json!([{"name": long, "value": "v"}])),
    ] {
        let answer = device.request(&server, method, path, body);
        assert!(
            [200, 400, 413].contains(&answer.status),
            "{path}: {}",
            answer.status
        );
        assert!(
            answer.body.len() < 10_000,
            "{path}: the answer has {} bytes",
            answer.body.len()
        );
    }
    let identity = json!({"mac": long}).to_string();
    let body =
        json!({"id_data": identity, "pubkey": device.pem(), "tenant_token": long}).to_string();
    let signature = device.sign(body.as_bytes());
    let headers = [
        ("content-type", "application/json"),
        ("x-men-signature", signature.as_str()),
    ];
    let path = "/api/devices/v1/authentication/auth_requests";
    let answer = server
        .connect()
        .request("POST", path, &headers, body.as_bytes());
    assert!([400, 413].contains(&answer.status), "{}", answer.status);
    let shown = server.done(&["device", "show", &device.id]);
    check_inert("the device", &shown);
}

#[test]
fn what_is_no_artifact_is_refused_with_a_sentence_that_helps() {
    let server = Server::start();
    let placed = |place: usize, magic: &[u8]| {
        let mut file = vec![0; 100_000];
        file[place..place + magic.len()].copy_from_slice(magic);
        file
    };
    let good = artifact("v2");
    let mut second = good.clone();
    // The file that says which version of the format this is.
    let at = second
        .windows(11)
        .position(|text| text == br#""version":3"#)
        .unwrap();
    second[at + 10] = b'2';
    let swu = b"070701000000000000sw-description\0 software = {}".to_vec();
    let disk = placed(0x1fe, b"\x55\xaa");
    for (file, sentence) in [
        (b"release notes of v2\n".to_vec(), "it is a text file"),
        (
            b"<!DOCTYPE html><html>Sign in</html>".to_vec(),
            "it is a web page",
        ),
        (placed(0, b"PK\x03\x04"), "it is a zip archive"),
        (placed(0, b"\x1f\x8b\x08"), "it is compressed with gzip"),
        (placed(0x438, b"\x53\xef"), "it is a bare ext4 image"),
        (swu, "it is an SWUpdate image"),
        (placed(0, b"hsqs"), "RAUC bundle"),
        (disk, "it is an image of a whole disk"),
        (good[..6000].to_vec(), "the artifact is not accepted"),
        (second, "version"),
    ] {
        let answer = server.upload(&file);
        let text = answer.text();
        assert_eq!(answer.status, 400, "{sentence}: {text}");
        assert!(text.contains(sentence), "{sentence}: {text}");
    }
}
