//! The book, as a stranger with a browser reads it.

use crate::harness::{Answer, Server};

fn get(server: &Server, path: &str) -> Answer {
    let headers = [("accept", "text/html")];
    server.connect().request("GET", path, &headers, b"")
}

/// What the links and pictures of a page lead to, without the places on it.
fn targets(page: &str) -> Vec<String> {
    let parts = page
        .split(" href=\"")
        .skip(1)
        .chain(page.split(" src=\"").skip(1));
    let targets = parts.map(|part| part.split(['"', '#']).next().unwrap().to_owned());
    targets.filter(|target| !target.is_empty()).collect()
}

#[test]
fn strangers_can_read_all_of_it() {
    let server = Server::start();
    let mut open = vec!["/docs".to_owned()];
    let mut seen = open.clone();
    while let Some(path) = open.pop() {
        let answer = get(&server, &path);
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        if !answer
            .header("content-type")
            .unwrap()
            .starts_with("text/html")
        {
            continue;
        }
        for target in targets(&answer.text()) {
            assert!(
                target.starts_with('/') && !target.starts_with("//"),
                "{path} leads away from the server, to {target}"
            );
            // The way back to the server is for those who have signed in.
            if target != "/" && !seen.contains(&target) {
                seen.push(target.clone());
                open.push(target);
            }
        }
    }
    assert!(seen.len() > 22, "{seen:?}");
}

#[test]
fn words_are_found_and_shown_as_words() {
    let server = Server::start();
    let found = get(&server, "/docs?q=exit+codes").text();
    assert!(
        found.contains("/docs/reference-commands#exit-codes"),
        "{found}"
    );
    let hostile = get(&server, "/docs?q=%3Cscript%3Ealert(1)%3C/script%3E%22").text();
    assert!(!hostile.contains("<script>alert"), "{hostile}");
    assert!(
        hostile.contains("No section has all of these words"),
        "{hostile}"
    );
    let long = format!("/docs?q={}", "a%20".repeat(1000));
    assert_eq!(get(&server, &long).status, 200);
}

#[test]
fn what_is_not_in_the_book_is_not_found() {
    let server = Server::start();
    for path in [
        "/docs/nothing",
        "/docs/../Cargo.toml",
        "/docs/%2e%2e%2fSUMMARY",
        "/docs/img/update.svg",
        "/docs/SUMMARY",
    ] {
        assert_eq!(get(&server, path).status, 404, "{path}");
    }
    // The files link to each other by their names.
    assert_eq!(get(&server, "/docs/operate.md").status, 200);
}
