//! What operators and their tools ask and are answered.

mod deployments;
mod devices;
mod users;

use serde_json::{Value, json};

use crate::harness::{Answer, Device, Server};

const DEVICES: &str = "/api/management/v2/devauth/devices";

const INVENTORY: &str = "/api/management/v1/inventory";

const DEPLOYMENTS: &str = "/api/management/v1/deployments/deployments";

const USERS: &str = "/api/management/v1/useradm/users";

const NEVER: &str = "11111111-1111-4111-8111-111111111111";

#[track_caller]
fn check(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.header("x-men-requestid").is_some());
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    if status >= 400 {
        let body = answer.json();
        assert!(!body["error"].as_str().unwrap().is_empty());
        assert_eq!(
            body["request_id"].as_str(),
            answer.header("x-men-requestid")
        );
    }
}

/// Preauthorizes devices, which is the quickest way to have many.
fn many(server: &Server, count: usize) -> Vec<String> {
    let mut http = server.connect();
    (0..count)
        .map(|n| {
            let new = json!({"identity_data": {"sn": format!("{n:04}")}, "pubkey": Device::new("x").pem()});
            let answer = http.with_token("POST", DEVICES, server.token(), new);
            assert_eq!(answer.status, 201, "{}", answer.text());
            answer.location()
        })
        .collect()
}

/// Follows the links to the next page until there is none; what was on the pages.
fn walk(server: &Server, first: &str) -> (Vec<Value>, usize) {
    let (mut all, mut pages) = (Vec::new(), 0);
    let mut path = first.to_owned();
    loop {
        let answer = server.admin("GET", &path, ());
        check(&answer, 200);
        all.extend(answer.json().as_array().unwrap().clone());
        pages += 1;
        let links = answer.all("link");
        assert!(
            links.iter().any(|link| link.ends_with("rel=\"first\"")),
            "{links:?}"
        );
        assert_eq!(
            pages > 1,
            links.iter().any(|link| link.ends_with("rel=\"prev\""))
        );
        match links.iter().find(|link| link.ends_with("; rel=\"next\"")) {
            None => return (all, pages),
            Some(link) => path = link[1..link.find('>').unwrap()].to_owned(),
        }
    }
}

#[test]
fn lists_are_walked_page_by_page() {
    let server = Server::start();
    let ids = many(&server, 101);
    for (path, pages) in [
        (format!("{DEVICES}?per_page=20"), 6),
        (
            format!("{DEVICES}?status=preauthorized&per_page=50&page=1"),
            3,
        ),
        (format!("{INVENTORY}/devices?per_page=100"), 2),
        (format!("{INVENTORY}/devices?identity/sn=0042"), 1),
    ] {
        let (found, walked) = walk(&server, &path);
        assert_eq!(walked, pages, "{path}");
        let mut found: Vec<&str> = found
            .iter()
            .map(|one| one["id"].as_str().unwrap())
            .collect();
        found.sort();
        found.dedup();
        let expected = if path.contains("0042") { 1 } else { ids.len() };
        assert_eq!(found.len(), expected, "{path}");
    }
    let counted = server.admin("GET", &format!("{INVENTORY}/devices?per_page=2&page=3"), ());
    assert_eq!(counted.header("x-total-count"), Some("101"));
    assert!(
        counted
            .all("link")
            .iter()
            .any(|link| link.contains("page=51") && link.ends_with("rel=\"last\""))
    );
    let beyond = server.admin("GET", &format!("{DEVICES}?page=99"), ());
    check(&beyond, 200);
    assert_eq!(beyond.json(), json!([]));
    for wrong in [
        "page=0",
        "per_page=0",
        "per_page=501",
        "page=x",
        "per_page=-1",
        "page=99999999999999999999",
        "status=nonsense",
    ] {
        check(&server.admin("GET", &format!("{DEVICES}?{wrong}"), ()), 400);
    }
    // Artifacts fall back instead.
    check(
        &server.admin(
            "GET",
            "/api/management/v1/deployments/artifacts/list?per_page=9999",
            (),
        ),
        200,
    );
}

#[test]
fn every_answer_has_what_clients_look_for() {
    let server = Server::start();
    let mine = server
        .connect()
        .request("GET", "/healthz", &[("x-men-requestid", "mine-1")], b"");
    assert_eq!(mine.header("x-men-requestid"), Some("mine-1"));
    let hostile = server.connect().request(
        "GET",
        "/healthz",
        &[("x-men-requestid", "a b\"<script>")],
        b"",
    );
    assert_ne!(hostile.header("x-men-requestid"), Some("a b\"<script>"));
    let options = server.nobody("OPTIONS", DEVICES, b"");
    assert_eq!(options.status, 200);
    assert!(
        options.header("allow").unwrap().contains("POST"),
        "{options:?}"
    );
    check(&server.nobody("PATCH", DEVICES, b""), 405);
    check(
        &server.nobody("GET", "/api/management/v1/deviceconnect/devices/x", b""),
        404,
    );
    let refused = server.nobody("GET", DEVICES, b"");
    check(&refused, 401);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    let text = [
        ("content-type", "text/plain"),
        ("authorization", &format!("Bearer {}", server.token())),
    ];
    check(&server.connect().request("POST", USERS, &text, b"{}"), 415);
}
