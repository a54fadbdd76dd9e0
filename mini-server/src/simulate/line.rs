//! A connection over which devices ask, one after the other.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tandem_api::SIGNATURE;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::server_address::ServerAddress;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server ends connections on which nothing is asked for 75 s: older ones are not used again.
const IDLE: Duration = Duration::from_secs(60);

/// Bytes of an answer.
const ANSWER: usize = 1 << 20;

/// A connection, or none yet.
pub(super) struct Line {
    sender: Option<SendRequest<Full<Bytes>>>,
    used: Instant,
}

/// A request.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) token: Option<&'a str>,
    pub(super) signature: Option<&'a str>,
    pub(super) body: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// No connection comes about.
    Unreachable,
    /// The connection was there and ended before the answer.
    BrokenOff,
    /// Nothing came in time.
    TooLate,
}

impl Trouble {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Unreachable, Self::BrokenOff, Self::TooLate];

    /// For people.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "no connection",
            Self::BrokenOff => "connection lost",
            Self::TooLate => "no answer in time",
        }
    }
}

impl Line {
    pub(super) fn new() -> Self {
        Self {
            sender: None,
            used: Instant::now(),
        }
    }

    /// Hangs up.
    pub(super) fn close(&mut self) {
        self.sender = None;
    }

    /// Asks, over a new connection where there is none that can be used.
    pub(super) async fn ask(
        &mut self,
        to: &ServerAddress,
        connector: &TlsConnector,
        ask: &Ask<'_>,
    ) -> Result<Reply, Trouble> {
        if self.used.elapsed() > IDLE {
            self.close();
        }
        let fresh = self.sender.is_none();
        let answer = self.attempt(to, connector, ask).await;
        self.used = Instant::now();
        if answer.is_err() {
            self.close();
        }
        // The server may have ended a connection that was kept, in the moment in which it was used again.
        if !fresh && matches!(answer, Err(Trouble::BrokenOff)) {
            return self.attempt(to, connector, ask).await;
        }
        answer
    }

    async fn attempt(
        &mut self,
        to: &ServerAddress,
        connector: &TlsConnector,
        ask: &Ask<'_>,
    ) -> Result<Reply, Trouble> {
        let mut request = Request::builder()
            .method(&ask.method)
            .uri(to.path(ask.path))
            .header(header::HOST, to.host())
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = ask.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(signature) = ask.signature {
            request = request.header(SIGNATURE, signature);
        }
        let request = request
            .body(Full::new(Bytes::from(ask.body.clone())))
            .map_err(|_| Trouble::BrokenOff)?;
        let exchange = async {
            let sender = self.ready(to, connector).await?;
            let response = sender.send_request(request).await;
            let (head, body) = response.map_err(|_| Trouble::BrokenOff)?.into_parts();
            let body = Limited::new(body, ANSWER).collect().await;
            let body = body.map_err(|_| Trouble::BrokenOff)?.to_bytes();
            let wait = head
                .headers
                .get(header::RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.trim().parse().ok());
            Ok(Reply {
                status: head.status,
                retry_after: wait.map(Duration::from_secs),
                body,
            })
        };
        timeout(PATIENCE, exchange)
            .await
            .unwrap_or(Err(Trouble::TooLate))
    }

    async fn ready(
        &mut self,
        to: &ServerAddress,
        connector: &TlsConnector,
    ) -> Result<&mut SendRequest<Full<Bytes>>, Trouble> {
        let usable = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            let stream = to.connect(connector).await;
            let stream = stream.map_err(|_| Trouble::Unreachable)?;
            let (sender, connection) = handshake(TokioIo::new(stream))
                .await
                .map_err(|_| Trouble::Unreachable)?;
            tokio::spawn(async move {
                // Whoever waits for an answer hears of it.
                let _ = connection.await;
            });
            self.sender = Some(sender);
        }
        self.sender.as_mut().ok_or(Trouble::Unreachable)
    }
}
