//! People.

use serde_json::json;

use super::{USERS, check};
use crate::harness::Server;

#[test]
fn users_are_managed() {
    let server = Server::start();
    let new = |email: &str, password: &str| {
        server.admin("POST", USERS, json!({"email": email, "password": password}))
    };
    let made = new("B@Example.com", "correct horse");
    check(&made, 201);
    let id = made.location();
    check(&new("b@example.com", "correct horse"), 422);
    check(&new("c@example.com", "short"), 422);
    check(&new("no address", "correct horse"), 400);
    let shown = server.admin("GET", &format!("{USERS}/{id}"), ()).json();
    assert_eq!(shown["email"], "b@example.com");
    assert!(!shown.to_string().contains("argon2"));
    assert_eq!(
        server
            .admin("GET", &format!("{USERS}?email=b@example.com"), ())
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        server.admin("GET", &format!("{USERS}/me"), ()).json()["email"],
        server.email.as_str()
    );
    check(
        &server.admin(
            "PUT",
            &format!("{USERS}/{id}"),
            json!({"email": "d@example.com"}),
        ),
        204,
    );
    check(
        &server.admin(
            "PUT",
            &format!("{USERS}/{id}"),
            json!({"password": "another one", "current_password": "correct horse"}),
        ),
        422,
    );
    check(&server.admin("DELETE", &format!("{USERS}/{id}"), ()), 204);
    check(&server.admin("DELETE", &format!("{USERS}/{id}"), ()), 404);
    let me = server.admin("GET", &format!("{USERS}/me"), ()).json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        server.admin("DELETE", &format!("{USERS}/{me}"), ()).status >= 400,
        "the last one stays"
    );
}
