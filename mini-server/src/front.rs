//! What happens to every request, whatever it is for: an identifier, limits, an answer also after a panic, headers, the
//! log and the counters.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{HeaderValue, Method, StatusCode, header};
use log::{debug, error, info};
use tandem_api::REQUEST_ID;
use tokio::sync::Semaphore;
use tower_service::Service;

use crate::app::App;
use crate::reply::Refusal;
use crate::request::{Peer, request_id};
use crate::surface::RouteNumber;

/// The way in for all requests.
pub struct Front {
    app: Arc<App>,
    router: Router,
    /// Requests that are worked on at once; those that only send an artifact do not count.
    places: Semaphore,
}

const PLACES: usize = 2048;

impl Front {
    /// Before this router.
    #[must_use]
    pub fn new(app: Arc<App>, router: Router) -> Self {
        Self {
            app,
            router,
            places: Semaphore::new(PLACES),
        }
    }

    /// The app behind it.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Answers a request.
    pub async fn answer<B>(&self, request: http::Request<B>, peer: Peer) -> Response
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let begun = Instant::now();
        let id = request_id(request.headers());
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Arc::clone(&self.app));
        request.extensions_mut().insert(peer);
        let mut response = match self.places.try_acquire() {
            Ok(_place) => self.route(request).await,
            Err(_) => Refusal::unavailable(5).into_response(),
        };
        finish(&mut response, &method, &id);
        let number = response
            .extensions()
            .get::<RouteNumber>()
            .map(|number| number.0);
        let took = begun.elapsed();
        self.app.metrics.answered(number, response.status(), took);
        record(&method, &path, response.status(), peer, &id, took);
        response
    }

    async fn route(&self, request: Request) -> Response {
        let mut router = self.router.clone();
        // A bug in one handler is one failed request.
        let answer = AssertUnwindSafe(async move { router.call(request).await }).catch_unwind();
        match answer.await {
            Ok(Ok(response)) => response,
            Ok::<_, _>(Err::<_, Infallible>(never)) => match never {},
            Err(_) => {
                error!("a handler panicked");
                Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error").into_response()
            }
        }
    }
}

/// Writes the body of a refusal, and the headers that every answer has.
fn finish(response: &mut Response, method: &Method, id: &str) {
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        if method == Method::OPTIONS {
            // The router has listed what is allowed.
            *response.status_mut() = StatusCode::OK;
        } else {
            let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
            let allowed = response.headers_mut().remove(header::ALLOW);
            *response = refusal.into_response();
            if let Some(allowed) = allowed {
                response.headers_mut().insert(header::ALLOW, allowed);
            }
        }
    }
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        // The router has measured the empty body that stood for this one.
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(refusal.body(id));
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// Devices poll all the time: only what an operator does, and failures of our own, are worth a line.
fn record(
    method: &Method,
    path: &str,
    status: StatusCode,
    peer: Peer,
    id: &str,
    took: std::time::Duration,
) {
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let (status, address) = (status.as_u16(), peer.address());
    if status >= 500 {
        error!(method:% = method, path:% = path, status, peer:% = address, request_id = id, milliseconds; "request failed");
    } else if *method != Method::GET && !path.starts_with("/api/devices/") {
        info!(method:% = method, path:% = path, status, peer:% = address, request_id = id, milliseconds; "request");
    } else {
        debug!(method:% = method, path:% = path, status, peer:% = address, request_id = id, milliseconds; "request");
    }
}
