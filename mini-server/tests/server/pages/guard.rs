//! Who gets at the pages, and what they are let do from where.

use serde_json::json;
use tandem_server::access::Access;
use tandem_server::routes::surface;

use super::browser::{Browser, check_page};
use crate::harness::Server;

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
