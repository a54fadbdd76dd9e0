//! Answers: what went well, and what was refused and why.

use std::fmt::Display;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use log::error;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::store;

/// A JSON body.
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, JSON)], body).into_response(),
            Err(err) => Refusal::internal(&err).into_response(),
        }
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Why a request is not granted. Its body is written where the request's identifier is known.
#[derive(Debug, Clone)]
pub struct Refusal(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    status: StatusCode,
    message: String,
    headers: HeaderMap,
    more: Map<String, Value>,
}

impl Refusal {
    /// With this status and a sentence for people.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            status,
            message: message.into(),
            headers: HeaderMap::new(),
            more: Map::new(),
        }))
    }

    /// 400
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 401; the caller may sign in and try again.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        let bearer = HeaderValue::from_static("Bearer");
        Self::new(StatusCode::UNAUTHORIZED, message).header(header::WWW_AUTHENTICATE, bearer)
    }

    /// 403
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404
    pub fn not_found(what: impl Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what} not found"))
    }

    /// 409
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 413
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// 422
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// 429; try again after this many seconds.
    pub fn too_many(message: impl Into<String>, seconds: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, message).retry_after(seconds)
    }

    /// 503; try again after this many seconds.
    pub fn unavailable(seconds: u64) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "service unavailable").retry_after(seconds)
    }

    /// 500; what happened goes to the log and not to the caller.
    pub fn internal(err: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = err.to_string();
        let mut source = err.source();
        while let Some(err) = source {
            text = format!("{text}: {err}");
            source = err.source();
        }
        error!("internal error: {text}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// With one more member in the body.
    #[must_use]
    pub fn member(mut self, name: &str, value: Value) -> Self {
        self.0.more.insert(name.to_owned(), value);
        self
    }

    /// The sentence for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The body, for the request `id`.
    pub fn body(&self, id: &str) -> Vec<u8> {
        let mut body = self.0.more.clone();
        body.insert("error".to_owned(), self.0.message.clone().into());
        body.insert("request_id".to_owned(), id.into());
        serde_json::to_vec(&body).unwrap_or_default()
    }

    fn retry_after(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.headers_mut().extend(self.0.headers.clone());
        response.headers_mut().insert(header::CONTENT_TYPE, JSON);
        response.extensions_mut().insert(self);
        response
    }
}

impl From<store::Error> for Refusal {
    fn from(err: store::Error) -> Self {
        match err {
            store::Error::Stopped | store::Error::Unavailable(_) => Self::unavailable(10),
            store::Error::Database(_)
            | store::Error::Migration(_)
            | store::Error::Corrupt { .. }
            | store::Error::NotCommitted
            | store::Error::Unfit(_) => Self::internal(&err),
        }
    }
}

/// What a handler returns.
pub type Result<T = Response, E = Refusal> = std::result::Result<T, E>;
