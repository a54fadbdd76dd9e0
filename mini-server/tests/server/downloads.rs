//! Artifacts on their way to devices and operators.

use std::time::Duration;

use crate::harness::{Answer, Device, Server, artifact, build, wait_until};

/// The path of the link that a device is given.
#[track_caller]
fn link(server: &Server, device: &Device) -> String {
    let offer = device.next(server, "v1");
    assert_eq!(offer.status, 200, "{}", offer.text());
    let uri = offer.json()["artifact"]["source"]["uri"]
        .as_str()
        .unwrap()
        .to_owned();
    uri.strip_prefix(&server.url()).unwrap().to_owned()
}

fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    server.connect().request("GET", path, headers, b"")
}

/// A server, a device with a deployment of `artifact`, and the link.
fn offered(artifact: &[u8]) -> (Server, Device, String) {
    let server = Server::start();
    server.uploaded(artifact);
    let device = server.device("a");
    server.deploy("v2", &[&device]);
    let path = link(&server, &device);
    (server, device, path)
}

#[test]
fn ranges_are_answered_by_the_bytes_that_were_asked_for() {
    let whole = artifact("v2");
    let size = whole.len();
    let (server, _, path) = offered(&whole);
    let first = get(&server, &path, &[]);
    assert_eq!((first.status, &first.body), (200, &whole));
    let etag = first.header("etag").unwrap().to_owned();
    assert!(etag.starts_with('"') && etag.len() == 66, "{etag}");
    assert_eq!(first.header("accept-ranges"), Some("bytes"));
    assert_eq!(
        first.header("content-type"),
        Some("application/vnd.mender-artifact")
    );
    assert_eq!(
        first.header("content-disposition"),
        Some("attachment; filename=\"v2.mender\"")
    );
    assert_eq!(
        first.header("content-length"),
        Some(size.to_string().as_str())
    );
    assert!(first.header("content-encoding").is_none());

    let other = format!("\"{}\"", "0".repeat(64));
    let weak = format!("W/{etag}");
    for (range, if_range, start, end) in [
        ("bytes=1000-", None, 1000, size),
        ("bytes=0-0", None, 0, 1),
        ("bytes=-100", None, size - 100, size),
        ("bytes=5-99999999999999999999", None, 5, size),
        ("bytes=1000-", Some(&etag), 1000, size),
        ("bytes=1000-", Some(&other), 0, size),
        ("bytes=1000-", Some(&weak), 0, size),
        ("bytes=9-5", None, 0, size),
        ("bytes=0-1,5-6", None, 0, size),
        ("lines=1-2", None, 0, size),
    ] {
        let mut headers = vec![("range", range)];
        headers.extend(if_range.map(|etag| ("if-range", etag.as_str())));
        let answer = get(&server, &path, &headers);
        let status = if end - start < size { 206 } else { 200 };
        assert_eq!(answer.status, status, "{range} {if_range:?}");
        assert_eq!(answer.body, whole[start..end], "{range}");
        let expected = (status == 206).then(|| format!("bytes {start}-{}/{size}", end - 1));
        assert_eq!(answer.header("content-range"), expected.as_deref());
    }
    for range in [format!("bytes={size}-"), "bytes=-0".to_owned()] {
        let answer = get(&server, &path, &[("range", &range)]);
        assert_eq!(answer.status, 416, "{range}");
        assert_eq!(
            answer.header("content-range"),
            Some(format!("bytes */{size}").as_str())
        );
    }
    assert_eq!(get(&server, &path, &[("if-none-match", &etag)]).status, 304);
    assert_eq!(get(&server, &path, &[("if-match", &other)]).status, 412);
    let head = server.connect().request("HEAD", &path, &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(
        head.header("content-length"),
        Some(size.to_string().as_str())
    );
}

#[test]
fn a_link_is_good_for_nothing_else() {
    let (server, device, path) = offered(&artifact("v2"));
    let other = server.uploaded(&artifact("v3"));
    let (plain, query) = path.split_once('?').unwrap();
    let mut parts: Vec<&str> = plain.split('/').collect();
    let place = parts.len() - 3;
    parts[place] = &other;
    let elsewhere = format!("{}?{query}", parts.join("/"));
    let later = path.replace("x-men-expire=2", "x-men-expire=3");
    assert_ne!(later, path);
    let operator = server.admin(
        "GET",
        &format!("/api/management/v1/deployments/artifacts/{other}/download"),
        (),
    );
    let uri = operator.json()["uri"]
        .as_str()
        .unwrap()
        .strip_prefix(&server.url())
        .unwrap()
        .to_owned();
    assert_eq!(get(&server, &uri, &[]).status, 200);
    let mixed = format!("{}?{query}", uri.split_once('?').unwrap().0);
    for path in [plain, &elsewhere, &later, &mixed, &format!("{path}x")] {
        assert_eq!(get(&server, path, &[]).status, 403, "{path}");
    }
    // The token of a device does not replace it.
    assert_eq!(device.request(&server, "GET", plain, ()).status, 403);
    assert_eq!(get(&server, &path, &[]).status, 200);
}

#[test]
fn a_rejected_device_gets_not_one_byte_more() {
    let whole = build("v2", &["testboard"], &[], 20_000_000);
    let (server, device, path) = offered(&whole);
    let mut http = server.connect();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    http.send(request.as_bytes()).unwrap();
    assert_eq!(http.head().unwrap().0, 200);
    server.done(&["device", "reject", &device.id]);
    // What was on its way already may arrive, but not the end.
    let mut rest = Vec::new();
    let ended = std::io::Read::read_to_end(&mut http.stream, &mut rest);
    assert!(rest.len() < whole.len() / 2, "{} {ended:?}", rest.len());
    assert_eq!(get(&server, &path, &[]).status, 401);
}

#[test]
fn a_thousand_bytes_at_a_time_is_a_download_as_well() {
    let whole = artifact("v2");
    let (server, _, path) = offered(&whole);
    let mut http = server.connect();
    let mut got = Vec::new();
    while got.len() < whole.len() {
        let range = format!("bytes={}-{}", got.len(), got.len() + 999);
        let answer = http.request("GET", &path, &[("range", &range)], b"");
        assert_eq!(answer.status, 206);
        got.extend(answer.body);
    }
    assert_eq!(got, whole);
}

#[test]
fn who_comes_when_too_many_download_is_told_to_wait() {
    let server = Server::start_with(&["--max-downloads", "1"]);
    server.uploaded(&build("v2", &["testboard"], &[], 30_000_000));
    let (one, two) = (server.device("one"), server.device("two"));
    let deployment = server.deploy("v2", &[&one, &two]);
    let path = link(&server, &one);
    let mut http = server.connect();
    http.send(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.address).as_bytes())
        .unwrap();
    assert_eq!(http.head().unwrap().0, 200);
    let answer = two.next(&server, "v1");
    assert_eq!(answer.status, 503);
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(Duration::from_secs(wait) >= Duration::from_secs(1));
    // Reports are never turned away.
    assert_eq!(one.report(&server, &deployment, "downloading").status, 204);
    drop(http);
    wait_until("the end of the download", || {
        two.next(&server, "v1").status == 200
    });
}

#[test]
fn the_links_lead_where_devices_know_the_server() {
    let server = Server::start_with(&["--public-url", "https://updates.example.com/prefix/"]);
    server.uploaded(&artifact("v2"));
    let device = server.device("a");
    server.deploy("v2", &[&device]);
    let uri = device.next(&server, "v1").json()["artifact"]["source"]["uri"].clone();
    let uri = uri.as_str().unwrap();
    assert!(
        uri.starts_with("https://updates.example.com/prefix/api/devices/v1/download/"),
        "{uri}"
    );
    let path = uri
        .strip_prefix("https://updates.example.com/prefix")
        .unwrap();
    assert_eq!(get(&server, path, &[]).status, 200);
}
