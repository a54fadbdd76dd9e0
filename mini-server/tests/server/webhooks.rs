//! Others are told of what happens: signed, in order, again until they take it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tandem_server::webhooks::signature;

use crate::harness::{Server, artifact, wait_until};
use crate::people::Person;

const HOOKS: &str = "/api/management/v1/webhooks";

/// A receiver of events.
struct Sink {
    url: String,
    requests: Receiver<Received>,
}

struct Received {
    signature: String,
    body: Vec<u8>,
}

impl Received {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Sink {
    /// One that answers with these, then with 200 for ever.
    fn start(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook?key=private", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            let mut answers = answers.iter();
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let (mut length, mut signature) = (0, String::new());
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).unwrap();
                    let Some((name, value)) = line.trim().split_once(": ") else {
                        if line.trim().is_empty() {
                            break;
                        }
                        continue;
                    };
                    match name.to_lowercase().as_str() {
                        "content-length" => length = value.parse().unwrap(),
                        "x-tandem-signature-256" => signature = value.to_owned(),
                        _ => {}
                    }
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                let status = answers.next().copied().unwrap_or("200 OK");
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                // Whoever sends may not wait for the end.
                let _ = stream.get_mut().write_all(answer.as_bytes());
                if sender.send(Received { signature, body }).is_err() {
                    return;
                }
            }
        });
        Self { url, requests }
    }

    #[track_caller]
    fn next(&self) -> Received {
        let next = self.requests.recv_timeout(Duration::from_secs(30));
        next.expect("an event")
    }
}

/// Adds a webhook; its identifier and secret.
#[track_caller]
fn add(server: &Server, url: &str, events: &[&str]) -> (String, String) {
    let new = json!({"url": url, "events": events, "allow_http": true});
    let answer = server.admin("POST", HOOKS, new);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let made = answer.json();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("id"), text("secret"))
}

#[test]
fn what_happens_is_told_in_order_signed_and_once() {
    let server = Server::start();
    let sink = Sink::start(&[]);
    let (_, secret) = add(&server, &sink.url, &[]);
    let device = server.device("a");
    server.uploaded(&artifact("v1"));
    let deployment = server.deploy("v1", &[&device]);
    device.next(&server, "v0");
    device.report(&server, &deployment, "failure");
    let aborted = server.deploy("v1", &[&device]);
    let path = format!("/api/management/v1/deployments/deployments/{aborted}/status");
    server.admin("PUT", &path, json!({"status": "aborted"}));
    let path = format!("/api/management/v2/devauth/devices/{}", device.id);
    server.admin("DELETE", &path, ());
    let mut last = 0;
    for (event, name, about) in [
        ("device.pending", "device", device.id.as_str()),
        ("device.accepted", "device", &device.id),
        ("deployment.created", "deployment", &deployment),
        ("device.failed", "deployment", &deployment),
        ("deployment.finished", "deployment", &deployment),
        ("deployment.created", "deployment", &aborted),
        ("deployment.aborted", "deployment", &aborted),
        ("device.decommissioned", "device", &device.id),
    ] {
        let received = sink.next();
        assert_eq!(received.signature, signature(&secret, &received.body));
        let body = received.json();
        assert_eq!(body["event"], event, "{body}");
        assert_eq!(body[name]["id"], about, "{body}");
        if event.starts_with("device.") {
            assert_eq!(body["device"]["identity"], json!({"mac": "a"}), "{body}");
        }
        let delivery = body["delivery"].as_i64().unwrap();
        assert!(delivery > last, "{body}");
        last = delivery;
        assert!(body["time"].as_str().unwrap().starts_with("20"), "{body}");
    }
    wait_until("an empty queue", || {
        server.admin("GET", HOOKS, ()).json()[0]["waiting"] == 0
    });
    assert!(sink.requests.try_recv().is_err(), "nothing else");
}

#[test]
fn a_deployment_that_stops_itself_is_told_of_with_the_reason() {
    let server = Server::start();
    let sink = Sink::start(&[]);
    add(&server, &sink.url, &["deployment.stopped"]);
    let (device, other) = (server.device("a"), server.device("b"));
    server.uploaded(&artifact("v1"));
    let new = json!({"name": "v1", "artifact_name": "v1", "devices": [device.id, other.id],
                     "stop_on_failures": {"count": 1}});
    let path = "/api/management/v1/deployments/deployments";
    let made = server.admin("POST", path, new);
    assert_eq!(made.status, 201, "{}", made.text());
    let deployment = device.next(&server, "v0").json()["id"].clone();
    device.report(&server, deployment.as_str().unwrap(), "failure");
    let body = sink.next().json();
    assert_eq!(body["event"], "deployment.stopped", "{body}");
    assert_eq!(body["deployment"]["id"], deployment, "{body}");
    assert_eq!(body["reason"], "it failed on 1 device", "{body}");
}

#[test]
fn what_is_not_taken_is_told_again_also_after_a_crash() {
    let mut server = Server::start();
    let sink = Sink::start(&["500 Internal Server Error", "302 Found"]);
    add(&server, &sink.url, &["device.pending"]);
    crate::harness::Device::new("a").authenticate(&server);
    crate::harness::Device::new("b").authenticate(&server);
    let first = sink.next();
    server.kill();
    server.restart();
    let identities: Vec<Value> = std::iter::repeat_with(|| sink.next().json())
        .take(3)
        .map(|body| body["device"]["identity"]["mac"].clone())
        .collect();
    // A redirect is not followed: it is no success either.
    assert_eq!(identities, ["a", "a", "b"]);
    assert_eq!(first.json()["device"]["identity"]["mac"], "a");
    wait_until("an empty queue", || {
        let hook = server.admin("GET", HOOKS, ()).json()[0].clone();
        hook["waiting"] == 0 && hook["failures"] == 0 && hook["last_outcome"] == "200 OK"
    });
}

#[test]
fn only_what_was_asked_for_is_told_and_only_where_that_is_safe() {
    let server = Server::start();
    let sink = Sink::start(&["400 Bad Request"]);
    for (url, allow_http) in [
        ("http://127.0.0.1/", false),
        ("ftp://127.0.0.1/", true),
        ("https://", true),
        ("https://name:pass@example.com/", true),
        ("file:///etc/passwd", true),
        ("/path", true),
        ("", true),
    ] {
        let new = json!({"url": url, "allow_http": allow_http});
        assert_eq!(server.admin("POST", HOOKS, new).status, 400, "{url}");
    }
    let new = json!({"url": "https://example.com", "events": ["device.exploded"]});
    assert!(
        server
            .admin("POST", HOOKS, new)
            .text()
            .contains("device.pending")
    );
    let new = json!({"url": "https://example.com", "secret": "short"});
    assert_eq!(server.admin("POST", HOOKS, new).status, 400);

    let (id, secret) = add(&server, &sink.url, &["deployment.stopped"]);
    server.device("a");
    assert_eq!(server.admin("GET", HOOKS, ()).json()[0]["waiting"], 0);
    // What it says when it is tried out.
    let test = |server: &Server| {
        server
            .admin("POST", &format!("{HOOKS}/{id}/test"), json!({}))
            .json()
    };
    assert_eq!(
        test(&server),
        json!({"taken": false, "outcome": "400 Bad Request"})
    );
    assert_eq!(sink.next().json()["event"], "test");
    assert_eq!(test(&server), json!({"taken": true, "outcome": "200 OK"}));
    let said = server.done(&["webhook", "test", &sink.url]);
    assert!(said.contains("took it: 200 OK"), "{said}");
    let (nobody, _) = add(&server, "http://127.0.0.1:1/", &[]);
    let out = server.verb(&["webhook", "test", &nobody]);
    assert!(!out.status.success());
    assert!(String::from_utf8_lossy(&out.stderr).contains("no connection"));

    // The secret is nowhere, and the address only where admins look.
    let texts = server.admin("GET", HOOKS, ()).text()
        + &server.done(&["webhook", "list"])
        + &server.done(&["audit", "export"]);
    assert!(!texts.contains(&secret));
    assert!(!server.done(&["audit", "export"]).contains("private"));
    assert!(!server.log().contains("private") && !server.log().contains(&secret));
    let operator = Person::new(&server, "ops@example.com", "operator");
    assert_eq!(operator.api(&server, "GET", HOOKS, ()).status, 403);
    assert_eq!(operator.page(&server, "/webhooks").status, 403);

    let admin = Person::admin(&server);
    let page = admin.form(
        &server,
        "/webhooks",
        &[("action", "test"), ("webhook", &id)],
    );
    assert!(page.text().contains("The receiver took the test"));
    let fields = [("action", "add"), ("url", "http://example.com/<b>")];
    let page = admin.form(&server, "/webhooks", &fields);
    assert_eq!(page.status, 400);
    assert!(!page.text().contains("<b>"));
    let fields = [
        ("action", "add"),
        ("url", "https://example.com/x"),
        ("event", "device.failed"),
    ];
    let page = admin.form(&server, "/webhooks", &fields).text();
    assert!(page.contains("Its secret") && page.contains("device.failed"));
    assert!(
        !admin
            .page(&server, "/webhooks")
            .text()
            .contains("Its secret")
    );
    server.done(&["webhook", "delete", "https://example.com/x"]);
    assert_eq!(
        server.admin("DELETE", &format!("{HOOKS}/{id}"), ()).status,
        204
    );
    assert_eq!(
        server.admin("DELETE", &format!("{HOOKS}/{id}"), ()).status,
        404
    );
}

#[test]
fn a_certificate_of_an_unknown_authority_is_not_trusted() {
    let server = Server::start();
    let other = Server::start();
    let url = format!("{}/", other.url());
    let new = json!({"url": url});
    let id = server.admin("POST", HOOKS, new).json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let test = server
        .admin("POST", &format!("{HOOKS}/{id}/test"), json!({}))
        .json();
    assert_eq!(test["taken"], false);
    assert!(test["outcome"].as_str().unwrap().contains("TLS"), "{test}");
    let authority = other.authority();
    let knowing = Server::start_with(&["--webhook-ca", authority.to_str().unwrap()]);
    let id = knowing.admin("POST", HOOKS, json!({"url": url})).json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let test = knowing
        .admin("POST", &format!("{HOOKS}/{id}/test"), json!({}))
        .json();
    // It answers, and wants no such request.
    assert_eq!(test["outcome"], "405 Method Not Allowed");
}
