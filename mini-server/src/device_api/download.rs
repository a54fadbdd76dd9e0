//! A device, or an operator, downloads an artifact. The address is the permission; see `link.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

use crate::app::App;
use crate::blobs::file_name;
use crate::clock::now;
use crate::link::{self, Attempt, Fault};
use crate::query::Query;
use crate::range::{Selection, select};
use crate::reply::{Refusal, Result};
use crate::request::Params;
use crate::sessions::DeviceSession;
use crate::store::{Id, StoredArtifact};

/// `GET /api/devices/v1/download/{artifact}/{device}/{auth_set}`
pub async fn for_device(
    State(app): State<Arc<App>>,
    Params((artifact, device, auth_set)): Params<(Id, Id, Id)>,
    query: Query,
    asked: Asked,
) -> Result {
    check_link(&app, &asked, &query)?;
    // A device that is no longer let in gets not one byte more.
    let session = app.sessions.current(&app.store, device, auth_set).await?;
    let session = session.ok_or_else(|| Refusal::unauthorized("unauthorized"))?;
    app.sessions.heard(&session, now().millis());
    let artifact = known(&app, artifact).await?;
    send(&app, &artifact, &asked, Some(session)).await
}

/// `GET /api/management/v1/download/{artifact}`
pub async fn for_operator(
    State(app): State<Arc<App>>,
    Params(artifact): Params<Id>,
    query: Query,
    asked: Asked,
) -> Result {
    check_link(&app, &asked, &query)?;
    let artifact = known(&app, artifact).await?;
    send(&app, &artifact, &asked, None).await
}

/// `GET /api/devices/v1/artifacts/{artifact}/{sha256}`: the same for all devices, so that a cache may keep it.
pub async fn for_caches(
    State(app): State<Arc<App>>,
    Params((artifact, sha256)): Params<(Id, String)>,
    query: Query,
    asked: Asked,
) -> Result {
    let left = check_link(&app, &asked, &query)?;
    let artifact = app.store.artifact(artifact).await?;
    // What lies under an address never changes, also if an identifier is used again.
    let artifact = artifact
        .filter(|artifact| artifact.sha256 == sha256)
        .ok_or_else(|| Refusal::not_found("artifact"))?;
    let keep = format!("public, max-age={left}, immutable");
    let mut response = send(&app, &artifact, &asked, None).await?;
    response
        .headers_mut()
        .extend(header_of(header::CACHE_CONTROL, &keep));
    Ok(response)
}

/// A request without its body, which nobody reads.
pub struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        Ok(Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers: parts.headers.clone(),
        })
    }
}

/// Seconds for which the link is still good.
fn check_link(app: &App, asked: &Asked, query: &Query) -> Result<u64> {
    let resumes = asked
        .headers
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok())
        .is_some_and(
            |range| matches!(select(range, u64::MAX), Selection::Part { start, .. } if start > 0),
        );
    let attempt = if resumes {
        Attempt::Resume
    } else {
        Attempt::Begin
    };
    let forbidden = |message: &str| Refusal::new(StatusCode::FORBIDDEN, message);
    let (key, path) = (app.keys.links(), asked.uri.path());
    link::check(key, path, query, attempt, now()).map_err(|fault| match fault {
        Fault::Forged => forbidden("the signature of the link is wrong"),
        Fault::Expired => forbidden("the link has expired: ask for a new one"),
    })
}

async fn known(app: &App, id: Id) -> Result<StoredArtifact> {
    let artifact = app.store.artifact(id).await?;
    artifact.ok_or_else(|| Refusal::not_found("artifact"))
}

async fn send(
    app: &Arc<App>,
    artifact: &StoredArtifact,
    asked: &Asked,
    session: Option<Arc<DeviceSession>>,
) -> Result {
    let etag = format!("\"{}\"", artifact.sha256);
    let headers = describe(artifact, &etag);
    match choose(&asked.headers, &etag, artifact.size) {
        Choice::NotModified => Ok((StatusCode::NOT_MODIFIED, headers).into_response()),
        Choice::PreconditionFailed => Err(Refusal::new(
            StatusCode::PRECONDITION_FAILED,
            "the artifact is another one",
        )),
        Choice::Send(Selection::Unsatisfiable) => {
            let range = format!("bytes */{}", artifact.size);
            let refusal = Refusal::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "the artifact ends before that range",
            );
            Ok((header_of(header::CONTENT_RANGE, &range), refusal).into_response())
        }
        Choice::Send(Selection::Whole) => {
            let status = StatusCode::OK;
            respond(
                app,
                artifact,
                0,
                artifact.size,
                (status, headers),
                &asked.method,
                session,
            )
            .await
        }
        Choice::Send(Selection::Part { start, end }) => {
            let range = format!("bytes {start}-{}/{}", end.saturating_sub(1), artifact.size);
            let mut headers = headers;
            headers.extend(header_of(header::CONTENT_RANGE, &range));
            let status = StatusCode::PARTIAL_CONTENT;
            respond(
                app,
                artifact,
                start,
                end,
                (status, headers),
                &asked.method,
                session,
            )
            .await
        }
    }
}

/// What the conditions of a request come to.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Send(Selection),
    NotModified,
    PreconditionFailed,
}

/// RFC 9110 §13.2.2, for a file that has a strong entity tag and no date.
fn choose(headers: &HeaderMap, etag: &str, size: u64) -> Choice {
    let value = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    let listed = |list: &str| list.trim() == "*" || list.split(',').any(|one| one.trim() == etag);
    let listed_weakly = |list: &str| {
        list.trim() == "*"
            || list
                .split(',')
                .any(|one| one.trim().trim_start_matches("W/") == etag)
    };
    if value(header::IF_MATCH).is_some_and(|list| !listed(list)) {
        return Choice::PreconditionFailed;
    }
    if value(header::IF_NONE_MATCH).is_some_and(listed_weakly) {
        return Choice::NotModified;
    }
    let whole = value(header::IF_RANGE).is_some_and(|one| one.trim() != etag);
    Choice::Send(match value(header::RANGE) {
        Some(range) if !whole => select(range, size),
        _ => Selection::Whole,
    })
}

fn describe(artifact: &StoredArtifact, etag: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("application/vnd.mender-artifact");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // What lies under an address never changes; a proxy at the devices' site may keep it for one of them.
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, immutable"),
    );
    headers.extend(header_of(header::ETAG, etag));
    let name = file_name(&artifact.name);
    let disposition = format!("attachment; filename=\"{name}.mender\"");
    headers.extend(header_of(header::CONTENT_DISPOSITION, &disposition));
    headers
}

fn header_of(name: header::HeaderName, value: &str) -> HeaderMap {
    HeaderValue::from_str(value)
        .map(|value| (name, value))
        .into_iter()
        .collect()
}

async fn respond(
    app: &Arc<App>,
    artifact: &StoredArtifact,
    start: u64,
    end: u64,
    (status, mut headers): (StatusCode, HeaderMap),
    method: &Method,
    session: Option<Arc<DeviceSession>>,
) -> Result<Response> {
    let length = end.saturating_sub(start);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        let pieces = app
            .blobs
            .read(artifact, start..end)
            .await
            .map_err(|err| Refusal::internal(&err))?;
        Body::from_stream(watched(Arc::clone(app), session, pieces))
    };
    Ok((status, headers, body).into_response())
}

/// Counts what goes out, and ends it when the device is no longer let in.
fn watched(
    app: Arc<App>,
    session: Option<Arc<DeviceSession>>,
    pieces: impl Stream<Item = std::io::Result<Bytes>>,
) -> impl Stream<Item = std::io::Result<Bytes>> {
    let running = app.downloads.enter();
    pieces.map(move |piece| {
        let _counted_as_long_as_this_lives = &running;
        if session.as_ref().is_some_and(|session| session.is_over()) {
            return Err(std::io::Error::other("the device is no longer let in"));
        }
        if let Some(session) = &session {
            // It says nothing else as long as this takes.
            app.sessions.heard(session, now().millis());
        }
        if let Ok(bytes) = &piece {
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            app.metrics.bytes_sent.fetch_add(length, Ordering::Relaxed);
        }
        piece
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(header::HeaderName, &str)], expected: Choice) {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect();
        assert_eq!(choose(&headers, "\"tag\"", 10), expected);
    }

    #[test]
    fn conditions_decide_in_the_order_of_the_standard() {
        use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
        let part = Choice::Send(Selection::Part { start: 5, end: 10 });
        let whole = Choice::Send(Selection::Whole);
        check(&[], Choice::Send(Selection::Whole));
        check(
            &[(RANGE, "bytes=5-")],
            Choice::Send(Selection::Part { start: 5, end: 10 }),
        );
        check(&[(RANGE, "bytes=5-"), (IF_RANGE, "\"tag\"")], part);
        check(&[(RANGE, "bytes=5-"), (IF_RANGE, "\"other\"")], whole);
        check(
            &[(RANGE, "bytes=5-"), (IF_RANGE, "W/\"tag\"")],
            Choice::Send(Selection::Whole),
        );
        check(
            &[
                (RANGE, "bytes=5-"),
                (IF_RANGE, "Mon, 23 Nov 2026 08:00:00 GMT"),
            ],
            Choice::Send(Selection::Whole),
        );
        check(
            &[(RANGE, "bytes=10-")],
            Choice::Send(Selection::Unsatisfiable),
        );
        check(
            &[(IF_MATCH, "\"a\", \"tag\"")],
            Choice::Send(Selection::Whole),
        );
        check(&[(IF_MATCH, "*")], Choice::Send(Selection::Whole));
        check(&[(IF_MATCH, "W/\"tag\"")], Choice::PreconditionFailed);
        check(&[(IF_NONE_MATCH, "W/\"tag\"")], Choice::NotModified);
        check(&[(IF_NONE_MATCH, "\"a\"")], Choice::Send(Selection::Whole));
        check(
            &[(IF_MATCH, "\"a\""), (IF_NONE_MATCH, "\"tag\"")],
            Choice::PreconditionFailed,
        );
    }

    #[test]
    fn a_file_name_is_harmless() {
        for (name, file) in [
            ("release-1.2", "release-1.2"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("a\"; x=\"b\r\n", "a___x__b__"),
            ("..", "artifact"),
            ("été", "_t_"),
        ] {
            assert_eq!(file_name(name), file);
        }
    }
}
