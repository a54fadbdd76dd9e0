//! Who may do what.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};
use tandem_server::access::Access;
use tandem_server::routes::surface;
use tandem_server::token::{Bearer, TokenKey};

use crate::harness::{Answer, Device, Http, Server, artifact};

const NEVER: &str = "11111111-1111-4111-8111-111111111111";
const ME: &str = "/api/management/v1/useradm/users/me";
const LOGOUT: &str = "/api/management/v1/useradm/auth/logout";
const TOKENS: &str = "/api/management/v1/useradm/settings/tokens";

/// A path with something in the place of each name.
fn concrete(path: &str) -> String {
    let parts: Vec<&str> = path
        .split('/')
        .map(|part| if part.starts_with('{') { NEVER } else { part })
        .collect();
    parts.join("/")
}

fn ask(http: &mut Http, method: &Method, path: &str, token: Option<&str>) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    let body: &[u8] = if [Method::GET, Method::DELETE].contains(method) {
        b""
    } else {
        b"{}"
    };
    http.request(method.as_str(), &concrete(path), &headers, body)
}

fn claims(token: &str) -> Value {
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

/// The key that the server signs with.
fn key(server: &Server) -> TokenKey {
    let secret = std::fs::read(server.data().join("token.key")).unwrap();
    TokenKey::new(secret.as_slice().try_into().unwrap())
}

#[test]
fn every_route_lets_in_whom_it_is_for_and_nobody_else() {
    let server = Server::start();
    let device = server.device("a");
    let out = server.login();
    assert_eq!(
        server.connect().with_token("POST", LOGOUT, &out, ()).status,
        202
    );
    let mut rejected = server.device("b");
    server.done(&["device", "reject", &rejected.id]);
    let mut gone = server.device("c");
    server.done(&["device", "decommission", &gone.id]);
    let keys = key(&server);
    let (of_admin, of_device) = (claims(server.token()), claims(&device.token));
    let id = |claims: &Value, name: &str| claims[name].as_str().unwrap().parse().unwrap();
    let now = of_device["iat"].as_i64().unwrap();
    // Genuine signatures, but: expired; for somebody else's audience; for nobody who is there.
    let person = Bearer::Person {
        user: id(&of_admin, "sub"),
        token: id(&of_admin, "jti"),
    };
    let expired = keys.issue(person, now - 10, now - 1);
    let crossed = keys.issue(
        Bearer::Person {
            user: id(&of_device, "sub"),
            token: id(&of_device, "jti"),
        },
        now,
        now + 60,
    );
    let crossed_device = Bearer::Device {
        device: id(&of_admin, "sub"),
        auth_set: id(&of_admin, "jti"),
        generation: 1,
    };
    let crossed_device = keys.issue(crossed_device, now, now + 60);
    let unsigned = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#),
        server.token().split('.').nth(1).unwrap()
    );
    let forged = TokenKey::new(&[0; 32]).issue(person, now, now + 60);
    let nobody = [
        None,
        Some(""),
        Some("x"),
        Some(out.as_str()),
        Some(rejected.token.as_str()),
        Some(gone.token.as_str()),
        Some(expired.as_str()),
        Some(crossed.as_str()),
        Some(crossed_device.as_str()),
        Some(unsigned.as_str()),
        Some(forged.as_str()),
    ];
    let surface = surface();
    assert!(surface.routes().len() > 80);
    for route in surface.routes() {
        let mut http = server.connect();
        let refused =
            |answer: &Answer| answer.status == 401 && answer.json()["error"] == "unauthorized";
        let mut check = |who: Option<&str>, let_in: bool| {
            let answer = ask(&mut http, &route.method, route.path, who);
            assert_eq!(
                !refused(&answer),
                let_in,
                "{} {} {who:?}: {}",
                route.method,
                route.path,
                answer.text()
            );
            assert_ne!(answer.status, 500, "{} {}", route.method, route.path);
        };
        match route.access {
            // They look for themselves, and are tested where they belong.
            Access::Anyone | Access::Visitor | Access::Browser(_) => {}
            Access::Device => {
                for who in nobody {
                    check(who, false);
                }
                check(Some(server.token()), false);
                check(Some(&device.token), true);
            }
            Access::Person(_) => {
                for who in nobody {
                    check(who, false);
                }
                check(Some(&device.token), false);
                let mine = if route.path == LOGOUT {
                    server.login()
                } else {
                    server.token().to_owned()
                };
                check(Some(&mine), true);
            }
            // This machine is where the test runs.
            Access::Monitor => check(None, true),
        }
    }
    let forwarded =
        server
            .connect()
            .request("GET", "/metrics", &[("x-forwarded-for", "192.0.2.1")], b"");
    assert_eq!(
        forwarded.status, 401,
        "through a proxy nobody is on this machine"
    );
    // They may knock again, and are not let in.
    assert_eq!(rejected.authenticate(&server).status, 401);
    assert_eq!(gone.authenticate(&server).status, 401);
}

#[test]
fn a_device_or_user_that_is_put_out_is_out_at_its_next_request() {
    let server = Server::start();
    server.uploaded(&artifact("v2"));
    let decide = |device: &Device, status: &str| {
        let (id, set) = server.find(device);
        let path = format!("/api/management/v2/devauth/devices/{id}/auth/{set}/status");
        assert_eq!(
            server.admin("PUT", &path, json!({"status": status})).status,
            204
        );
    };
    let mut device = server.device("a");
    let mut http = server.connect();
    let next = |http: &mut Http, token: &str| {
        let provides =
            json!({"device_provides": {"artifact_name": "v1", "device_type": "testboard"}});
        http.with_token("POST", tandem_api::device::NEXT_V2, token, provides)
            .status
    };
    assert_eq!(next(&mut http, &device.token), 204);
    decide(&device, "rejected");
    assert_eq!(next(&mut http, &device.token), 401);
    let old = device.token.clone();
    decide(&device, "accepted");
    assert_eq!(
        next(&mut http, &old),
        401,
        "a token from before does not come back to life"
    );
    assert_eq!(device.authenticate(&server).status, 200);
    assert_eq!(next(&mut http, &device.token), 204);
    let revoke = format!(
        "/api/management/v2/devauth/tokens/{}",
        claims(&device.token)["jti"].as_str().unwrap()
    );
    assert_eq!(server.admin("DELETE", &revoke, ()).status, 204);
    assert_eq!(next(&mut http, &device.token), 401);
    assert_eq!(device.authenticate(&server).status, 200);
    server.done(&["device", "decommission", &device.id]);
    assert_eq!(next(&mut http, &device.token), 401);

    let person = server.login();
    assert_eq!(http.with_token("GET", ME, &person, ()).status, 200);
    assert_eq!(http.with_token("POST", LOGOUT, &person, ()).status, 202);
    assert_eq!(http.with_token("GET", ME, &person, ()).status, 401);
    server.done(&["token", "create", "ci"]);
    let made = http.with_token("POST", TOKENS, server.token(), json!({"name": "x"}));
    assert_eq!(http.with_token("GET", ME, &made.text(), ()).status, 200);
    server.done(&["token", "revoke", "x"]);
    assert_eq!(http.with_token("GET", ME, &made.text(), ()).status, 401);
}

#[test]
fn a_changed_password_ends_the_sessions() {
    let server = Server::start();
    let other = server.login();
    let wrong = json!({"password": "a new passphrase", "current_password": "nonsense"});
    assert_eq!(server.admin("PUT", ME, wrong).status, 422);
    let right = json!({"password": "a new passphrase", "current_password": server.password});
    assert_eq!(server.admin("PUT", ME, right).status, 204);
    assert_eq!(
        server.connect().with_token("GET", ME, &other, ()).status,
        401
    );
    assert_eq!(
        server.try_login(&server.email, &server.password).status,
        401
    );
    assert_eq!(
        server.try_login(&server.email, "a new passphrase").status,
        200
    );
}

#[test]
fn who_guesses_passwords_has_to_wait_and_nobody_else() {
    let server = Server::start();
    server.admin(
        "POST",
        "/api/management/v1/useradm/users",
        json!({"email": "b@example.com", "password": "correct horse"}),
    );
    let mut refused = 0;
    let answer = loop {
        let answer = server.try_login(&server.email, "wrong");
        if answer.status != 401 {
            break answer;
        }
        assert!(answer.header("www-authenticate").is_some());
        refused += 1;
        assert!(refused < 20, "nobody stops it");
    };
    assert_eq!(answer.status, 429);
    assert!(
        answer
            .header("retry-after")
            .unwrap()
            .parse::<u64>()
            .unwrap()
            >= 1
    );
    // Not even with the right one, or guessing would go on.
    assert_eq!(
        server.try_login(&server.email, &server.password).status,
        429
    );
    assert_eq!(
        server.try_login("B@example.com", "correct horse").status,
        200
    );
    assert_eq!(server.admin("GET", ME, ()).status, 200);
    for (email, password) in [("", ""), ("nobody@example.com", "x"), ("a:b", "c")] {
        assert_eq!(server.try_login(email, password).status, 401);
    }
}

#[test]
fn tokens_say_who_they_are_for() {
    let server = Server::start();
    let device = server.device("a");
    let (of_device, of_admin) = (claims(&device.token), claims(server.token()));
    assert_eq!(
        (
            of_device["aud"].as_str(),
            of_device["mender.device"].as_bool()
        ),
        (Some("devices"), Some(true))
    );
    assert_eq!(of_device["sub"], device.id.as_str());
    assert_eq!(
        (of_admin["aud"].as_str(), of_admin["mender.user"].as_bool()),
        (Some("management"), Some(true))
    );
    for claims in [of_device, of_admin] {
        let lifetime = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert_eq!(lifetime, 7 * 24 * 60 * 60);
    }
}

#[test]
fn personal_tokens_are_shown_once_and_are_limited() {
    let server = Server::start();
    let make = |name: &str, seconds: u64| {
        server.admin("POST", TOKENS, json!({"name": name, "expires_in": seconds}))
    };
    let first = make("t0", 3600);
    assert_eq!(
        (first.status, first.header("content-type")),
        (200, Some("application/jwt"))
    );
    assert_eq!(make("t0", 0).status, 409);
    assert_eq!(make("", 0).status, 400);
    assert_eq!(make("long", 31_536_001).status, 400);
    for n in 1..10 {
        assert_eq!(make(&format!("t{n}"), 0).status, 200);
    }
    assert_eq!(make("t10", 0).status, 422);
    let list = server.admin("GET", TOKENS, ());
    assert_eq!(list.json().as_array().unwrap().len(), 10);
    assert!(!list.text().contains(&first.text()));
    let id = claims(&first.text())["jti"].as_str().unwrap().to_owned();
    assert_eq!(
        server.admin("DELETE", &format!("{TOKENS}/{id}"), ()).status,
        204
    );
    assert_eq!(
        server
            .connect()
            .with_token("GET", ME, &first.text(), ())
            .status,
        401
    );
}
