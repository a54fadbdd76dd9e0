//! Signing in and out.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use super::answer::{page, see_other};
use super::assets;
use super::cookie;
use super::form::Form;
use super::wording::sentence;
use crate::access::Operator;
use crate::app::App;
use crate::management::login::{Lasts, sign_in, sign_out};
use crate::query::Query;
use crate::reply::{Refusal, Result};
use crate::request::Peer;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    css: String,
    icon: String,
    email: String,
    next: String,
    problem: String,
}

/// `GET /sign-in`
pub(crate) async fn get(query: Query) -> Result {
    page(&SignIn {
        css: assets::path("app.css"),
        icon: assets::path("icon.svg"),
        email: String::new(),
        next: query.one("next").unwrap_or_default().to_owned(),
        problem: String::new(),
    })
}

/// `POST /sign-in`
pub(crate) async fn post(State(app): State<Arc<App>>, peer: Peer, form: Form) -> Result {
    let email = form.text("email").to_lowercase();
    let next = form.text("next").to_owned();
    let password = form.exactly("password");
    match sign_in(&app, peer, &email, password, Lasts::AWeek).await {
        Ok(token) => {
            let target = if is_own_path(&next) { &next } else { "/" };
            Ok(with_cookie(see_other(target), cookie::keep(&token)))
        }
        Err(refusal) => {
            let problem = match refusal.status() {
                StatusCode::UNAUTHORIZED => "The e-mail address or the password is wrong.",
                StatusCode::TOO_MANY_REQUESTS => {
                    "Too many attempts. Wait a little, then try again."
                }
                _ => return Err(refusal),
            };
            let status = refusal.status();
            let answer = page(&SignIn {
                css: assets::path("app.css"),
                icon: assets::path("icon.svg"),
                email,
                next,
                problem: sentence(problem),
            })?;
            // Not 401: for that browsers ask for a password themselves.
            let status = match status {
                StatusCode::UNAUTHORIZED => StatusCode::FORBIDDEN,
                other => other,
            };
            Ok((status, answer).into_response())
        }
    }
}

/// `POST /sign-out`
pub(crate) async fn leave(State(app): State<Arc<App>>, operator: Operator) -> Result {
    sign_out(&app, operator).await?;
    Ok(with_cookie(see_other("/sign-in"), cookie::forget()))
}

fn with_cookie(mut answer: Response, cookie: Option<http::HeaderValue>) -> Response {
    if let Some(cookie) = cookie {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}

/// Whether an address leads to a page of ours and nowhere else: browsers read `//host` and `/\host` as other servers.
fn is_own_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains(['\\', '\t', '\n', '\r'])
        && path.parse::<http::Uri>().is_ok()
}

/// A person who asks; the pages know no other operators.
pub(super) fn person(operator: Operator) -> Result<crate::store::Id> {
    super::frame::user(operator).ok_or_else(|| Refusal::unauthorized("unauthorized"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_one_stays_here() {
        for good in ["/", "/devices?status=pending&q=a%20b", "/deployments/1"] {
            assert!(is_own_path(good), "{good}");
        }
        for wrong in [
            "",
            "https://evil.example/",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "evil",
            "javascript:alert(1)",
        ] {
            assert!(!is_own_path(wrong), "{wrong}");
        }
    }
}
