//! Whom the server tells of what happens.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::IntoResponse;
use tandem_api::management::{MadeWebhook, NewWebhook, WebhookTest};

use super::answer::{page, see_other};
use super::form::Form;
use super::frame::{Frame, Section};
use super::wording::{Moment, inert, sentence};
use crate::access::Operator;
use crate::app::App;
use crate::clock::now;
use crate::management::webhooks::{add, remove, try_out};
use crate::query::Query;
use crate::reply::{Refusal, Result};
use crate::store::{Id, WebhookRow};
use crate::webhooks::EVENTS;

#[derive(Template)]
#[template(path = "webhooks.html")]
struct Webhooks {
    frame: Frame,
    lines: Vec<Line>,
    events: [&'static str; EVENTS.len()],
    /// What has just come of a test.
    test: Option<WebhookTest>,
    /// What has just been made: its secret is shown once.
    made: Option<MadeWebhook>,
    problem: String,
    url: String,
}

struct Line {
    id: Id,
    url: String,
    events: String,
    waiting: u64,
    failing: bool,
    outcome: String,
    tried: Option<Moment>,
}

/// What came of a form on this page.
#[derive(Default)]
struct Outcome {
    test: Option<WebhookTest>,
    made: Option<MadeWebhook>,
    problem: Option<Refusal>,
    url: String,
}

/// `GET /webhooks`
pub(crate) async fn get(State(app): State<Arc<App>>, operator: Operator, query: Query) -> Result {
    show(&app, operator, &query, Outcome::default()).await
}

async fn show(app: &App, operator: Operator, query: &Query, outcome: Outcome) -> Result {
    let frame = Frame::new(app, operator, Section::Settings, query).await?;
    let time = now().millis();
    let hooks = app.store.webhooks().await?;
    let status = outcome.problem.as_ref().map(Refusal::status);
    let answer = page(&Webhooks {
        frame,
        lines: hooks
            .into_iter()
            .map(|hook| Line::new(hook, time))
            .collect(),
        events: EVENTS,
        problem: outcome
            .problem
            .map(|refusal| sentence(refusal.message()))
            .unwrap_or_default(),
        test: outcome.test.map(|test| WebhookTest {
            outcome: inert(&test.outcome, 300),
            ..test
        }),
        made: outcome.made,
        url: inert(&outcome.url, 2048),
    })?;
    Ok(match status {
        None => answer,
        Some(status) => (status, answer).into_response(),
    })
}

impl Line {
    fn new(hook: WebhookRow, now: i64) -> Self {
        Self {
            id: hook.id,
            url: inert(&hook.url, 200),
            events: if hook.events.len() == EVENTS.len() {
                "all".to_owned()
            } else {
                hook.events.join(", ")
            },
            waiting: hook.waiting,
            failing: hook.failures > 0,
            outcome: inert(hook.outcome.as_deref().unwrap_or("nothing sent yet"), 200),
            tried: hook.tried.map(|at| Moment::new(at, now)),
        }
    }
}

/// `POST /webhooks`
pub(crate) async fn post(State(app): State<Arc<App>>, operator: Operator, form: Form) -> Result {
    let chosen = || -> Result<Id> {
        let id = form.text("webhook").parse();
        id.map_err(|_| Refusal::not_found("webhook"))
    };
    let mut outcome = Outcome::default();
    match form.text("action") {
        "add" => {
            let new = NewWebhook {
                url: form.text("url").to_owned(),
                events: form.0.all("event").map(ToOwned::to_owned).collect(),
                secret: None,
                allow_http: form.text("allow_http") == "on",
            };
            outcome.url.clone_from(&new.url);
            match add(&app, new).await {
                Ok(made) => {
                    outcome.made = Some(made);
                    outcome.url = String::new();
                }
                Err(refusal) if refusal.status().is_server_error() => return Err(refusal),
                Err(refusal) => outcome.problem = Some(refusal),
            }
        }
        "test" => outcome.test = Some(try_out(&app, chosen()?).await?),
        "remove" => {
            remove(&app, chosen()?).await?;
            return Ok(see_other("/webhooks?done=webhook-removed"));
        }
        _ => return Err(Refusal::bad_request("what is to be done with the webhook?")),
    }
    show(&app, operator, &Query::default(), outcome).await
}
