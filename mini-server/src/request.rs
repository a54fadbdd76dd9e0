//! Requests: where they come from, and their bodies, read within bounds.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tandem_api::REQUEST_ID;

use crate::access::Operator;
use crate::reply::Refusal;
use crate::secret::new_id;
use crate::sessions::DeviceSession;

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The network.
    Network(SocketAddr),
    /// The socket in the data directory: somebody who may read and write there anyway.
    Local,
}

impl Peer {
    /// The address; for the socket that of the machine itself.
    #[must_use]
    pub fn address(self) -> IpAddr {
        match self {
            Self::Network(address) => address.ip().to_canonical(),
            Self::Local => IpAddr::from([127, 0, 0, 1]),
        }
    }
}

/// Bytes of a JSON body.
pub const JSON_LIMIT: usize = 1 << 20;

/// Bytes of a body that are read although nobody wants them.
const DISCARDED: usize = 64 << 10;

/// How long the next piece of a body may take.
pub const STALL: Duration = Duration::from_secs(30);

/// The identifier of a request: the caller's own, if it has a usable form.
#[must_use]
pub fn request_id(headers: &HeaderMap) -> String {
    let usable = |id: &&str| {
        (1..=64).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    given
        .filter(usable)
        .map_or_else(|| new_id().to_string(), ToOwned::to_owned)
}

/// The next piece of a body; `None` at its end.
///
/// # Errors
/// A refusal if the caller is gone or silent for too long.
pub async fn next_piece(body: &mut Body) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = tokio::time::timeout(STALL, body.frame()).await;
        let frame = frame.map_err(|_| {
            Refusal::new(http::StatusCode::REQUEST_TIMEOUT, "the body does not come")
        })?;
        match frame {
            None => return Ok(None),
            Some(Err(err)) => {
                return Err(Refusal::bad_request(format!("the body breaks off: {err}")));
            }
            // Trailers are of no interest.
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// Reads what is left of a small body, so that its sender sees the answer and can go on with the connection: otherwise
/// it is closed under what is still coming in.
pub async fn discard(mut body: Body) {
    let mut left = DISCARDED;
    let all = async {
        while let Ok(Some(piece)) = next_piece(&mut body).await {
            match left.checked_sub(piece.len()) {
                Some(less) => left = less,
                None => return,
            }
        }
    };
    // Who takes longer is not worth the wait.
    let _ = tokio::time::timeout(Duration::from_secs(1), all).await;
}

/// A whole body of at most [`JSON_LIMIT`] bytes, as it came.
pub struct RawBody(pub Bytes);

impl<S: Sync> FromRequest<S> for RawBody {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        check_content_type(request.headers())?;
        read_body(request.into_body()).await.map(Self)
    }
}

/// A whole body of at most [`JSON_LIMIT`] bytes.
///
/// # Errors
/// A refusal if it has more, or does not come.
pub async fn read_body(mut body: Body) -> Result<Bytes, Refusal> {
    let mut whole = BytesMut::new();
    while let Some(piece) = next_piece(&mut body).await? {
        if whole.len().saturating_add(piece.len()) > JSON_LIMIT {
            return Err(Refusal::too_large(format!(
                "a body has at most {JSON_LIMIT} bytes"
            )));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// A JSON body.
pub struct JsonBody<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let RawBody(bytes) = RawBody::from_request(request, state).await?;
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Self(value)),
            Err(err) => Err(Refusal::bad_request(format!(
                "the body is not the JSON that is expected: {err}"
            ))),
        }
    }
}

/// Clients that send a length say what they send; mender-client 3.4 sends chunks and is not asked.
pub fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    if length.is_none_or(|length| length == "0") {
        return Ok(());
    }
    let json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if json {
        return Ok(());
    }
    Err(Refusal::new(
        http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "the content type must be application/json",
    ))
}

/// What stands for the names in braces of a route's path.
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            // The only thing but texts that stands in our paths.
            Err(_) => Err(Refusal::bad_request("ID is not a valid UUID")),
        }
    }
}

/// The device that asks. Only behind a route for devices.
pub struct Device(pub std::sync::Arc<DeviceSession>);

impl<S: Sync> FromRequestParts<S> for Device {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let session = parts.extensions.get::<std::sync::Arc<DeviceSession>>();
        session
            .map(|session| Self(session.clone()))
            .ok_or_else(misplaced)
    }
}

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        parts
            .extensions
            .get::<Self>()
            .copied()
            .ok_or_else(misplaced)
    }
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        parts
            .extensions
            .get::<Self>()
            .copied()
            .ok_or_else(misplaced)
    }
}

/// A handler asks for a caller that its route does not have: a mistake in `routes.rs`.
fn misplaced() -> Refusal {
    Refusal::unauthorized("unauthorized")
}

/// The address by which the caller knows us, as the beginning of further addresses: `https://host:port`.
pub struct BaseUrl(pub String);

impl FromRequestParts<std::sync::Arc<crate::app::App>> for BaseUrl {
    type Rejection = Refusal;

    async fn from_request_parts(
        parts: &mut Parts,
        app: &std::sync::Arc<crate::app::App>,
    ) -> Result<Self, Refusal> {
        if let Some(url) = &app.settings.public_url {
            return Ok(Self(url.trim_end_matches('/').to_owned()));
        }
        let host = parts
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        let authority = host
            .or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))
            .and_then(|host| host.parse::<http::uri::Authority>().ok())
            // No name and password.
            .filter(|authority| !authority.as_str().contains('@'))
            .ok_or_else(|| Refusal::bad_request("the request has no usable Host header"))?;
        Ok(Self(format!("https://{authority}")))
    }
}
