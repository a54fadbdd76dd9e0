//! Who may do what: the table of routes, each with each role; users and tokens with a role.

use serde_json::{Value, json};
use tandem_api::management::Role;
use tandem_server::access::Access;
use tandem_server::routes::surface;
use tandem_server::surface::Route;

use crate::harness::Server;
use crate::people::Person;

const USERS: &str = "/api/management/v1/useradm/users";
const ME: &str = "/api/management/v1/useradm/users/me";
const TOKENS: &str = "/api/management/v1/useradm/settings/tokens";
const GROUP: &str = "/api/management/v1/inventory/groups/g/devices";

/// The status of the answer to a request for a route, and where it leads.
fn ask(server: &Server, route: &Route, headers: &[(&str, String)]) -> (u16, String) {
    let mut path = route.path.to_owned();
    while let Some((before, rest)) = path.split_once('{') {
        let (_, after) = rest.split_once('}').unwrap();
        path = format!("{before}00000000-0000-4000-8000-000000000000{after}");
    }
    let mut head = format!(
        "{} {path} HTTP/1.1\r\nHost: {}\r\n",
        route.method, server.address
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let kind = match route.access.is_page() {
        true => "application/x-www-form-urlencoded",
        false => "application/json",
    };
    let origin = server.url();
    head.push_str(&format!(
        "Origin: {origin}\r\nContent-Type: {kind}\r\nContent-Length: 2\r\n\r\n{{}}"
    ));
    let mut connection = server.connect();
    connection.send(head.as_bytes()).unwrap();
    // Not the body: that of /events has no end.
    let (status, headers) = connection.head().unwrap();
    let location = headers.into_iter().find(|(name, _)| name == "location");
    (status, location.map(|(_, to)| to).unwrap_or_default())
}

#[test]
fn every_route_lets_in_the_roles_that_the_table_says_and_no_others() {
    let server = Server::start();
    let mut people = Role::ALL.map(|role| {
        let email = format!("{role}@example.com");
        (role, Person::new(&server, &email, role.as_str()))
    });
    let device = server.device("a");
    let of_device = [("authorization", format!("Bearer {}", device.token))];
    for route in surface().routes() {
        let what = format!("{} {}", route.method, route.path);
        let needed = match route.access {
            Access::Person(role) | Access::Browser(role) => role,
            Access::Device => {
                for (_, person) in &people {
                    assert_eq!(ask(&server, route, &person.headers()[..1]).0, 401, "{what}");
                }
                assert_ne!(ask(&server, route, &of_device).0, 401, "{what}");
                continue;
            }
            Access::Anyone | Access::Visitor | Access::Monitor => continue,
        };
        for (role, person) in &mut people {
            // A page takes the cookie and no token, the API the token and no cookie.
            let [token, cookie] = person.headers();
            let (right, wrong) = match route.access.is_page() {
                true => (cookie, token),
                false => (token, cookie),
            };
            let (status, location) = ask(&server, route, &[right]);
            let refused = status == 401 || status == 403 || location.starts_with("/sign-in?");
            assert_eq!(refused, *role < needed, "{what} as {role}: {status}");
            let (status, location) = ask(&server, route, &[wrong]);
            assert!(
                status == 401 || location.starts_with("/sign-in?"),
                "{what} as {role}: {status}"
            );
            if ["/sign-out", "/api/management/v1/useradm/auth/logout"].contains(&route.path) {
                person.sign_in(&server);
            }
        }
        for headers in [&[][..], &of_device] {
            let (status, location) = ask(&server, route, headers);
            let sent_away = status == 401 || location.starts_with("/sign-in");
            assert!(sent_away, "{what} as a stranger: {status}");
        }
    }
}

#[test]
fn the_table_gives_viewers_nothing_to_change_but_what_is_their_own() {
    let surface = surface();
    let changes = |role: Role| -> Vec<&str> {
        let is = |route: &&Route| {
            route.method != "GET"
                && [Access::Person(role), Access::Browser(role)].contains(&route.access)
        };
        surface
            .routes()
            .iter()
            .filter(is)
            .map(|route| route.path)
            .collect()
    };
    let own = [
        "/api/management/v1/useradm/auth/logout",
        ME,
        TOKENS,
        "/api/management/v1/useradm/settings/tokens/{id}",
        "/sign-out",
        "/settings",
    ];
    for path in changes(Role::Viewer) {
        let searches = path.ends_with("/search") || path.ends_with("/statistics/list");
        assert!(own.contains(&path) || searches, "{path}");
    }
    for path in changes(Role::Operator) {
        assert!(!path.contains("/useradm/") && path != "/people", "{path}");
    }
}

#[test]
fn a_new_user_is_a_viewer_unless_something_else_is_said() {
    let server = Server::start();
    let new = json!({"email": "a@example.com", "password": "correct horse"});
    assert_eq!(server.admin("POST", USERS, new).status, 201);
    let new = json!({"email": "b@example.com", "password": "correct horse", "role": "operator"});
    assert_eq!(server.admin("POST", USERS, new).status, 201);
    let new = json!({"email": "c@example.com", "password": "correct horse", "role": "root"});
    assert_eq!(server.admin("POST", USERS, new).status, 400);
    server.done(&["user", "create", "d@example.com"]);
    let roles: Vec<Value> = server
        .admin("GET", USERS, ())
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["role"].clone())
        .collect();
    assert_eq!(roles, ["admin", "viewer", "operator", "viewer"]);
    let list = server.done(&["user", "list"]);
    assert!(list.contains("operator"), "{list}");
}

#[test]
fn the_last_admin_cannot_be_removed_or_made_less() {
    let server = Server::start();
    let other = Person::new(&server, "other@example.com", "operator");
    let admin = server.admin("GET", ME, ()).json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("{USERS}/{admin}");
    assert_eq!(server.admin("DELETE", &path, ()).status, 422);
    assert_eq!(
        server
            .admin("PUT", &path, json!({"role": "operator"}))
            .status,
        422
    );
    let out = server.verb(&["user", "role", &server.email, "viewer"]);
    assert!(!out.status.success());
    assert!(String::from_utf8_lossy(&out.stderr).contains("the last admin"));

    server.done(&["user", "role", "other@example.com", "admin"]);
    assert_eq!(
        other.api(&server, "POST", USERS, json!({})).status,
        400,
        "it counts at once"
    );
    assert_eq!(
        other
            .api(&server, "PUT", &path, json!({"role": "viewer"}))
            .status,
        204
    );
    assert_eq!(
        server.admin("POST", USERS, json!({})).status,
        403,
        "also for sessions that there were"
    );
    assert_eq!(server.admin("GET", ME, ()).json()["role"], "viewer");
    assert_eq!(other.api(&server, "DELETE", &path, ()).status, 204);
    let own = format!("{USERS}/{}", other.id);
    assert_eq!(other.api(&server, "DELETE", &own, ()).status, 422);
}

#[test]
fn nobody_makes_more_of_himself() {
    let server = Server::start();
    for role in ["viewer", "operator"] {
        let person = Person::new(&server, &format!("{role}@example.com"), role);
        for change in [
            json!({"role": "admin"}),
            json!({"email": "root@example.com"}),
        ] {
            assert_eq!(person.api(&server, "PUT", ME, change).status, 403);
        }
        let new = json!({"name": "t", "role": "admin"});
        assert_eq!(person.api(&server, "POST", TOKENS, new).status, 403);
        let form = [
            ("action", "role"),
            ("user", person.id.as_str()),
            ("role", "admin"),
        ];
        assert_eq!(person.form(&server, "/people", &form).status, 403);
        let form = [("action", "token"), ("name", "t"), ("role", "admin")];
        assert_eq!(person.form(&server, "/settings", &form).status, 403);
        let change = json!({"password": "another horse", "current_password": person.password});
        assert_eq!(person.api(&server, "PUT", ME, change).status, 204);
    }
}

#[test]
fn a_token_with_a_role_is_good_for_that_and_no_more() {
    let server = Server::start();
    let mut ops = Person::new(&server, "ops@example.com", "operator");
    let full = ops.make_token(&server, "full", None);
    let narrow = ops.make_token(&server, "narrow", Some("viewer"));
    let device = server.device("a");
    let patch = |token: &str| {
        let body = json!([device.id]);
        server
            .connect()
            .with_token("PATCH", GROUP, token, body)
            .status
    };
    let list = |token: &str| {
        let path = "/api/management/v2/devauth/devices";
        server.connect().with_token("GET", path, token, ()).status
    };
    assert_eq!((list(&full), patch(&full)), (200, 200));
    assert_eq!((list(&narrow), patch(&narrow)), (200, 403));

    // It makes no other token for more, and does away with none that is for more.
    let post = |new: Value| server.connect().with_token("POST", TOKENS, &narrow, new);
    assert_eq!(
        post(json!({"name": "more", "role": "operator"})).status,
        403
    );
    let same = post(json!({"name": "same"}));
    assert_eq!((same.status, patch(&same.text())), (200, 403));
    let tokens = ops.api(&server, "GET", TOKENS, ()).json();
    let of = |name: &str| {
        let all = tokens.as_array().unwrap();
        all.iter()
            .find(|token| token["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(
        (&of("full")["role"], &of("same")["role"]),
        (&Value::Null, &json!("viewer"))
    );
    assert_eq!(of("narrow")["role"], "viewer");
    let revoke = |name: &str| {
        let path = format!("{TOKENS}/{}", of(name)["id"].as_str().unwrap());
        server
            .connect()
            .with_token("DELETE", &path, &narrow, ())
            .status
    };
    assert_eq!((revoke("full"), revoke("same")), (403, 204));

    // Whoever becomes less has tokens for less.
    server.done(&["user", "role", "ops@example.com", "viewer"]);
    assert_eq!((list(&full), patch(&full)), (200, 403));
    server.done(&["user", "role", "ops@example.com", "admin"]);
    assert_eq!((patch(&full), patch(&narrow)), (200, 403));
    ops.sign_in(&server);

    let args = [
        "token",
        "create",
        "ci",
        "--role",
        "operator",
        "--days",
        "7",
        "--user",
        "ops@example.com",
    ];
    let made = server.done(&args);
    assert_eq!((list(made.trim()), patch(made.trim())), (200, 200));
    let users = server
        .connect()
        .with_token("POST", USERS, made.trim(), json!({}));
    assert_eq!(users.status, 403);
    let page = ops.page(&server, "/settings").text();
    assert!(
        page.contains("operator") && !page.contains(made.trim()),
        "shown once"
    );
}

#[test]
fn pages_offer_a_viewer_nothing_that_is_refused() {
    let server = Server::start();
    let device = server.device("a");
    let artifact = server.uploaded(&crate::harness::artifact("release-1"));
    let deployment = server.deploy("release-1", &[&device]);
    let viewer = Person::new(&server, "viewer@example.com", "viewer");
    let operator = Person::new(&server, "operator@example.com", "operator");
    let (device, artifact, deployment) = (
        format!("/devices/{}", device.id),
        format!("/releases/{artifact}"),
        format!("/deployments/{deployment}"),
    );
    for path in [
        "/",
        "/devices",
        device.as_str(),
        "/releases",
        artifact.as_str(),
        "/deployments",
        deployment.as_str(),
        "/settings",
    ] {
        let page = viewer.page(&server, path);
        assert_eq!(page.status, 200, "{path}");
        for form in page.text().split("method=\"post\"").skip(1) {
            let to = form
                .split("action=\"")
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap();
            assert!(["/sign-out", "/settings"].contains(&to), "{path}: {to}");
        }
        assert!(!page.text().contains("/deployments/new"), "{path}");
        assert!(!page.text().contains("href=\"/people\""), "{path}");
    }
    assert_eq!(viewer.page(&server, "/people").status, 403);
    assert!(
        operator
            .page(&server, &device)
            .text()
            .contains("value=\"decommission\"")
    );
    assert_eq!(operator.page(&server, "/people").status, 403);
    let admin = Person::admin(&server);
    assert!(
        admin
            .page(&server, "/people")
            .text()
            .contains("viewer@example.com")
    );
    let form = [
        ("action", "role"),
        ("user", viewer.id.as_str()),
        ("role", "operator"),
    ];
    assert_eq!(admin.form(&server, "/people", &form).status, 303);
    assert!(
        viewer
            .page(&server, "/")
            .text()
            .contains("/deployments/new")
    );
}
