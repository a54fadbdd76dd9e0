//! Open pages are told of what changes.

use std::io::Read as _;
use std::time::{Duration, Instant};

use super::browser::Browser;
use crate::harness::{Http, Server, artifact};

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
