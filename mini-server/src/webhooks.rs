//! Telling others what happens: a POST for each event, signed, in order, until it is taken or too old.
//!
//! ```text
//! transaction -> trigger -> webhook_events (durable, bounded) -> deliver -> POST -> 2xx: gone from the queue
//!                                                                 `- later, twice as late each time, up to an hour
//! ```
//!
//! The body is a JSON object: `event`, `delivery` (the same when it is repeated), `time`, `sent`, and what it is about.
//! The header [`SIGNATURE`] is `sha256=` and the HMAC-SHA256 of the body's bytes with the webhook's secret, in
//! hexadecimal. Redirects are not followed; nothing of an answer but its status is read.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use log::{info, warn};
use ring::hmac;
use rustls::pki_types::ServerName;
use serde_json::{Map, Value};
use tandem_api::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsConnector;

use crate::app::App;
use crate::clock::now;
use crate::inert;
use crate::outgoing;
use crate::store::{DueWebhook, Error, WaitingEvent};

/// What can be told of.
pub const EVENTS: [&str; 11] = [
    "device.pending",
    "device.accepted",
    "device.rejected",
    "device.preauthorized",
    "device.noauth",
    "device.decommissioned",
    "device.failed",
    "deployment.created",
    "deployment.stopped",
    "deployment.finished",
    "deployment.aborted",
];

/// The header with the signature.
pub const SIGNATURE: &str = "x-tandem-signature-256";

/// How often the queue is looked at.
const TICK: Duration = Duration::from_secs(1);

/// How long a connection, and the whole of a delivery, may take.
const CONNECT: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(20);

/// The longest wait after a failure.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// How old an event may be, ms.
const OLDEST: i64 = 3 * 24 * 60 * 60 * 1000;

/// How often an event is tried that its receiver does not want (4xx): what comes behind it waits meanwhile.
const UNWANTED: u64 = 5;

/// Events for one receiver before the others have their turn.
const TURN: usize = 20;

/// What makes connections to receivers.
#[derive(Default)]
pub struct Outgoing {
    /// The authority that is trusted instead of the system's.
    authority: Option<PathBuf>,
    connector: OnceLock<TlsConnector>,
}

impl Outgoing {
    /// Trusting the authority in this file, or those of the system.
    #[must_use]
    pub fn new(authority: Option<PathBuf>) -> Self {
        Self {
            authority,
            connector: OnceLock::new(),
        }
    }

    fn connector(&self) -> Result<TlsConnector, String> {
        if let Some(connector) = self.connector.get() {
            return Ok(connector.clone());
        }
        let new = outgoing::connector(self.authority.as_deref());
        let new = new.map_err(|err| format!("{err:#}"))?;
        Ok(self.connector.get_or_init(|| new).clone())
    }

    /// Sends `body`; the status of the answer, or why there is none.
    ///
    /// # Errors
    /// A sentence about what is wrong with the way to the receiver.
    pub async fn post(&self, hook: &DueWebhook, body: String) -> Result<StatusCode, String> {
        let sent = timeout(WHOLE, self.exchange(hook, body)).await;
        sent.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }

    async fn exchange(&self, hook: &DueWebhook, body: String) -> Result<StatusCode, String> {
        let uri: Uri = hook.url.parse().map_err(|_| "the address is unusable")?;
        let host = uri.host().ok_or("the address has no host")?.to_owned();
        let tls = uri.scheme_str() != Some("http");
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::post(path)
            .header(header::HOST, uri.authority().map_or("", |one| one.as_str()))
            .header(header::CONTENT_TYPE, "application/json")
            .header(
                header::USER_AGENT,
                concat!("tandem-server/", env!("CARGO_PKG_VERSION")),
            )
            .header(SIGNATURE, signature(&hook.secret, body.as_bytes()))
            .body(Full::new(Bytes::from(body)))
            .map_err(|err| err.to_string())?;
        let bare = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let stream = timeout(CONNECT, TcpStream::connect((bare.as_str(), port))).await;
        let stream = stream
            .map_err(|_| "no connection in time".to_owned())?
            .map_err(|err| format!("no connection: {err}"))?;
        if !tls {
            return speak(stream, request).await;
        }
        let name = ServerName::try_from(bare).map_err(|err| err.to_string())?;
        let stream = self.connector()?.connect(name, stream).await;
        speak(stream.map_err(|err| format!("no TLS: {err}"))?, request).await
    }
}

async fn speak<S>(stream: S, request: Request<Full<Bytes>>) -> Result<StatusCode, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|err| err.to_string())?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    // What else is in the answer is of no interest.
    connection.abort();
    answer
        .map(|answer| answer.status())
        .map_err(|err| format!("no answer: {err}"))
}

/// The signature of a body.
#[must_use]
pub fn signature(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, body);
    let hex: String = tag
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256={hex}")
}

/// The body for an event.
#[must_use]
pub fn body(event: &WaitingEvent, now: Timestamp) -> String {
    let data: Map<String, Value> = serde_json::from_str(&event.data).unwrap_or_default();
    let mut body = Map::new();
    body.insert("event".to_owned(), event.event.clone().into());
    body.insert("delivery".to_owned(), event.number.into());
    let time = Timestamp::from_millis(event.at);
    body.insert("time".to_owned(), time.to_string().into());
    body.insert("sent".to_owned(), now.to_string().into());
    body.extend(data);
    inert::json(&Value::Object(body).to_string())
}

/// What is to be done about an event after an attempt. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Verdict {
    /// It is not tried again.
    settled: bool,
    /// How long the receiver is left alone; not at all if it took the event.
    wait: Option<Duration>,
}

fn judge(answer: Option<StatusCode>, failures: u64, attempts: u64, age: i64) -> Verdict {
    if answer.is_some_and(|status| status.is_success()) {
        return Verdict {
            settled: true,
            wait: None,
        };
    }
    let unwanted = answer.is_some_and(|status| {
        status.is_client_error()
            && ![StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status)
    });
    let wait = 1_u64.checked_shl(u32::try_from(failures).unwrap_or(u32::MAX));
    Verdict {
        settled: age > OLDEST || unwanted && attempts.saturating_add(1) >= UNWANTED,
        wait: Some(
            wait.map_or(LONGEST_WAIT, Duration::from_secs)
                .min(LONGEST_WAIT),
        ),
    }
}

/// Tells everybody everything, until the server stops.
pub async fn deliver(app: Arc<App>, mut stopping: watch::Receiver<bool>) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = stopping.changed() => return,
        }
        // Of several processes one tells them, so that it is in order.
        if !app.store.is_keeper() {
            continue;
        }
        let hooks = match app.store.webhooks_due(now().millis()).await {
            Ok(hooks) => hooks,
            Err(err) => {
                warn!("cannot look up whom to tell of events: {err}");
                continue;
            }
        };
        let all = join_all(hooks.into_iter().map(|hook| tell(&app, hook)));
        tokio::select! {
            outcomes = all => {
                for err in outcomes.into_iter().filter_map(Result::err) {
                    warn!("cannot note what came of telling of an event: {err}");
                }
            }
            // What was sent and not noted is sent again at the next start.
            _ = stopping.changed() => return,
        }
    }
}

/// Tells one receiver what there is, until it does not take something.
async fn tell(app: &App, hook: DueWebhook) -> Result<(), Error> {
    for _ in 0..TURN {
        let Some(event) = app.store.next_event(hook.id).await? else {
            return Ok(());
        };
        let answer = app.outgoing.post(&hook, body(&event, now())).await;
        let time = now().millis();
        let age = time.saturating_sub(event.at);
        let status = answer.as_ref().ok().copied();
        let verdict = judge(status, hook.failures, event.attempts, age);
        let outcome = match answer {
            Ok(status) => status.to_string(),
            Err(err) => err,
        };
        match verdict {
            Verdict { wait: None, .. } => {
                info!(webhook:% = hook.id, event:% = event.event; "webhook told");
            }
            Verdict { settled: true, .. } => {
                warn!(webhook:% = hook.id, event:% = event.event; "webhook not told, given up: {outcome}");
            }
            Verdict { settled: false, .. } => {
                warn!(webhook:% = hook.id, event:% = event.event; "webhook not told, tried again later: {outcome}");
            }
        }
        let due = verdict.wait.map(|wait| {
            let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            time.saturating_add(wait)
        });
        app.store
            .note_attempt(hook.id, event.number, verdict.settled, due, outcome, time)
            .await?;
        if due.is_some() {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_others_compute() {
        // openssl: printf '{"a":1}' | openssl dgst -sha256 -hmac key
        assert_eq!(
            signature("key", br#"{"a":1}"#),
            "sha256=88a67f24bbcdaed0e6c997404bb79a743baf44c6bab2f4c27328e3009d22e342"
        );
    }

    #[track_caller]
    fn check(
        answer: Option<u16>,
        (failures, attempts, age): (u64, u64, i64),
        expected: (bool, Option<u64>),
    ) {
        let answer = answer.map(|status| StatusCode::from_u16(status).unwrap());
        let verdict = judge(answer, failures, attempts, age);
        let wait = verdict.wait.map(|wait| wait.as_secs());
        assert_eq!((verdict.settled, wait), expected, "{answer:?}");
    }

    #[test]
    fn what_is_not_taken_is_tried_later_and_later_but_not_for_ever() {
        check(Some(200), (0, 0, 0), (true, None));
        check(Some(204), (7, 7, OLDEST + 1), (true, None));
        check(Some(302), (0, 0, 0), (false, Some(1)));
        check(Some(500), (3, 3, 0), (false, Some(8)));
        check(None, (11, 11, 0), (false, Some(2048)));
        check(None, (12, 12, 0), (false, Some(3600)));
        check(None, (1000, 1000, OLDEST), (false, Some(3600)));
        check(None, (1000, 1000, OLDEST + 1), (true, Some(3600)));
        check(Some(404), (0, 0, 0), (false, Some(1)));
        check(Some(404), (4, 4, 0), (true, Some(16)));
        check(Some(429), (4, 4, 0), (false, Some(16)));
    }
}
