//! What every answer for a browser has: headers that confine the page, and refusals as sentences on a page.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use super::assets;
use crate::reply::{Refusal, Result};

/// What of a request matters for the form of its answer.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The page to come back to after signing in.
    back: Option<String>,
    /// Whether it is a script of ours that asks, and not a person.
    script: bool,
}

/// Nothing but what this server sends itself: no script or style in the page, no frame around it.
const CONFINED: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                        form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONFINED),
    // Not `no-referrer`: with that, browsers hide where a form comes from.
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

impl Asked {
    /// By a request with this head.
    #[must_use]
    pub(crate) fn of(parts: &Parts) -> Self {
        let accepted = parts.headers.get(header::ACCEPT);
        let accepted = accepted.and_then(|value| value.to_str().ok());
        let path = parts.uri.path_and_query().map(|path| path.as_str());
        Self {
            back: path
                .filter(|_| parts.method == Method::GET)
                .filter(|path| *path != "/")
                .map(ToOwned::to_owned),
            script: accepted == Some("application/json"),
        }
    }
}

/// An answer as browsers get it.
#[must_use]
pub(crate) fn dress(asked: Asked, answer: Response) -> Response {
    let refusal = answer.extensions().get::<Refusal>().cloned();
    let mut answer = match refusal {
        Some(refusal) if !asked.script => explain(asked, &refusal, answer),
        Some(_) | None => answer,
    };
    for (name, value) in HEADERS {
        answer
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[derive(Template)]
#[template(path = "refusal.html")]
struct Explanation<'a> {
    css: String,
    title: &'a str,
    sentence: String,
}

/// The same refusal as a page; who is not signed in is led to where that is done.
fn explain(asked: Asked, refusal: &Refusal, plain: Response) -> Response {
    if refusal.status() == StatusCode::UNAUTHORIZED {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(asked.back.map(|back| ("next", back)));
        return see_other(&format!("/sign-in?{}", query.finish()));
    }
    let status = refusal.status();
    let page = Explanation {
        css: assets::path("app.css"),
        title: match status {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "Not now",
            status if status.is_server_error() => "Something went wrong",
            _ => "That did not work",
        },
        sentence: super::wording::sentence(refusal.message()),
    };
    let Ok(page) = page.render() else {
        return plain;
    };
    let mut answer = (status, Html(page)).into_response();
    for (name, value) in plain.headers() {
        if *name == header::RETRY_AFTER {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

/// A page.
///
/// # Errors
/// If it cannot be written.
pub(super) fn page(template: &impl Template) -> Result {
    let text = template.render().map_err(|err| Refusal::internal(&err))?;
    Ok(Html(text).into_response())
}

/// Leads a browser to another page of ours.
#[must_use]
pub(super) fn see_other(path: &str) -> Response {
    match HeaderValue::try_from(path) {
        Ok(path) => (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response(),
        Err(_) => StatusCode::SEE_OTHER.into_response(),
    }
}
