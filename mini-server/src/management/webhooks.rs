//! Whom the server tells of what happens.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::{StatusCode, Uri, header};
use log::info;
use tandem_api::Timestamp;
use tandem_api::management::{MadeWebhook, NewWebhook, Webhook, WebhookTest};

use crate::access::Operator;
use crate::app::App;
use crate::clock::now;
use crate::reply::{Json, Refusal, Result};
use crate::request::{JsonBody, Params};
use crate::secret::{self, new_id};
use crate::store::{DueWebhook, Id, WaitingEvent, WebhookAdded, WebhookRow};
use crate::webhooks::{EVENTS, body};

/// `GET /api/management/v1/webhooks`
pub async fn list(State(app): State<Arc<App>>, _: Operator) -> Result {
    let hooks: Vec<Webhook> = app.store.webhooks().await?.into_iter().map(show).collect();
    Ok(Json(hooks).into_response())
}

/// `POST /api/management/v1/webhooks`
pub async fn post(
    State(app): State<Arc<App>>,
    _: Operator,
    JsonBody(new): JsonBody<NewWebhook>,
) -> Result {
    let made = add(&app, new).await?;
    let location = format!("/api/management/v1/webhooks/{}", made.id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(made),
    )
        .into_response())
}

/// Adds a webhook.
///
/// # Errors
/// A refusal if it cannot be.
pub async fn add(app: &App, new: NewWebhook) -> Result<MadeWebhook> {
    let host = check_url(&new.url, new.allow_http)?;
    let unknown = new
        .events
        .iter()
        .find(|one| !EVENTS.contains(&one.as_str()));
    if let Some(unknown) = unknown {
        let known = EVENTS.join(", ");
        return Err(Refusal::bad_request(format!(
            "there is no event {unknown:?}; there are {known}"
        )));
    }
    let events: BTreeSet<String> = match new.events.as_slice() {
        [] => EVENTS.iter().map(ToString::to_string).collect(),
        some => some.iter().cloned().collect(),
    };
    let secret = new.secret.unwrap_or_else(secret::password);
    if !(16..=256).contains(&secret.len()) || secret.contains(char::is_control) {
        return Err(Refusal::bad_request(
            "the secret of a webhook has 16 to 256 characters",
        ));
    }
    let id = new_id();
    let hook = DueWebhook {
        id,
        url: new.url,
        secret: secret.clone(),
        failures: 0,
    };
    let events = events.into_iter().collect();
    let added = app
        .store
        .add_webhook(hook, host.clone(), events, now().millis());
    match added.await? {
        WebhookAdded::Done => {}
        WebhookAdded::TooMany => {
            return Err(Refusal::unprocessable(
                "there are too many webhooks: remove one first",
            ));
        }
    }
    info!(webhook:% = id, host:% = host; "webhook added");
    Ok(MadeWebhook {
        id: id.to_string(),
        secret,
    })
}

/// `DELETE /api/management/v1/webhooks/{id}`
pub async fn delete(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(id): Params<String>,
) -> Result {
    remove(&app, find(&id)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Removes a webhook.
///
/// # Errors
/// A refusal if there is none.
pub async fn remove(app: &App, id: Id) -> Result<()> {
    if !app.store.remove_webhook(id).await? {
        return Err(missing());
    }
    info!(webhook:% = id; "webhook removed");
    Ok(())
}

/// `POST /api/management/v1/webhooks/{id}/test`
pub async fn test(State(app): State<Arc<App>>, _: Operator, Params(id): Params<String>) -> Result {
    Ok(Json(try_out(&app, find(&id)?).await?).into_response())
}

/// Sends an event `test` at once.
///
/// # Errors
/// A refusal if there is no such webhook.
pub async fn try_out(app: &App, id: Id) -> Result<WebhookTest> {
    let hook = app.store.webhook(id).await?.ok_or_else(missing)?;
    let time = now();
    let event = WaitingEvent {
        number: 0,
        event: "test".to_owned(),
        at: time.millis(),
        data: "{}".to_owned(),
        attempts: 0,
    };
    Ok(match app.outgoing.post(&hook, body(&event, time)).await {
        Ok(status) => WebhookTest {
            taken: status.is_success(),
            outcome: status.to_string(),
        },
        Err(outcome) => WebhookTest {
            taken: false,
            outcome,
        },
    })
}

/// The host of an address that events may be sent to.
fn check_url(url: &str, allow_http: bool) -> Result<String> {
    let uri: Option<Uri> = Some(url)
        .filter(|url| url.len() <= 2048 && url.is_ascii())
        .and_then(|url| url.parse().ok());
    let parts = uri.as_ref().and_then(|uri| {
        let authority = uri.authority().filter(|one| !one.as_str().contains('@'))?;
        Some((uri.scheme_str()?, authority.host())).filter(|(_, host)| !host.is_empty())
    });
    match parts {
        Some(("https", host)) => Ok(host.to_owned()),
        Some(("http", host)) if allow_http => Ok(host.to_owned()),
        Some(("http", _)) => Err(Refusal::bad_request(
            "the address is not https://: set allow_http if others may read what is sent",
        )),
        Some(_) | None => Err(Refusal::bad_request(
            "the address of a webhook is https://HOST[:PORT][/PATH]",
        )),
    }
}

fn find(id: &str) -> Result<Id> {
    id.parse().map_err(|_| missing())
}

fn missing() -> Refusal {
    Refusal::not_found("webhook")
}

fn show(hook: WebhookRow) -> Webhook {
    Webhook {
        id: hook.id.to_string(),
        url: hook.url,
        events: hook.events,
        created_ts: Timestamp::from_millis(hook.created),
        failures: hook.failures,
        waiting: hook.waiting,
        last_outcome: hook.outcome,
        last_attempt: hook.tried.map(Timestamp::from_millis),
    }
}
