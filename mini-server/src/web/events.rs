//! `GET /events`: says when something has changed, as server-sent events.
//!
//! An event has no content but the topics; its id are the marks of `live.rs`, from which a browser goes on by itself
//! after its connection broke. Events come at most every second, and a comment every 15 seconds, so that dead
//! connections and ended sessions are noticed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use futures_util::stream;
use http::{HeaderMap, header};
use tokio::time::{Instant, sleep_until, timeout};

use crate::access::Operator;
use crate::app::App;
use crate::live::Listener;
use crate::query::Query;
use crate::reply::{Refusal, Result};

/// Between two events.
const PACE: Duration = Duration::from_secs(1);

/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(15);

/// How long one connection lasts; browsers come again by themselves.
const LIFE: Duration = Duration::from_secs(60 * 60);

/// `GET /events`
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    operator: Operator,
    query: Query,
    headers: HeaderMap,
) -> Result {
    let last = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok())
        .or(query.one("since"));
    let seen = last.and_then(|text| text.parse().ok());
    let listener = app.live.listen(seen);
    let listener = listener.ok_or_else(|| Refusal::unavailable(30))?;
    let begun = Instant::now();
    let watch = Watch {
        app,
        operator,
        listener,
        pause: begun,
        end: begun.checked_add(LIFE).unwrap_or(begun),
    };
    // The first piece lets the browser know that it listens.
    let first = stream::iter([Ok::<_, Infallible>("retry: 3000\n\n".to_owned())]);
    let rest = stream::unfold(watch, |mut watch| async {
        let text = watch.next().await?;
        Some((Ok(text), watch))
    });
    let body = Body::from_stream(futures_util::StreamExt::chain(first, rest));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        // For proxies that would wait for more.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

/// A page that is told.
struct Watch {
    app: Arc<App>,
    operator: Operator,
    listener: Listener,
    /// No event before.
    pause: Instant,
    end: Instant,
}

impl Watch {
    /// What is sent next; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        sleep_until(self.pause).await;
        let before = self.listener.seen();
        let heard = timeout(BEAT, self.listener.next()).await;
        let now = Instant::now();
        if now >= self.end || !self.is_signed_in().await {
            return None;
        }
        match heard {
            Err(_) => Some(":\n\n".to_owned()),
            Ok(None) => None,
            Ok(Some(marks)) => {
                self.pause = now.checked_add(PACE).unwrap_or(now);
                let topics = marks.since(before);
                Some(format!("id: {marks}\nevent: change\ndata: {topics}\n\n"))
            }
        }
    }

    async fn is_signed_in(&self) -> bool {
        match self.operator {
            Operator::Local => true,
            Operator::Person { user, token, .. } => {
                let session = self.app.sessions.operator(&self.app.store, user, token);
                session.await.is_ok_and(|session| session.is_some())
            }
        }
    }
}
