//! The log that a device sent of a deployment.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::IntoResponse;
use http::header;

use super::answer::page;
use super::frame::{Frame, Section};
use super::identity_text;
use super::status_text::Mark;
use super::wording::{inert, inert_lines};
use crate::access::Operator;
use crate::app::App;
use crate::query::Query;
use crate::reply::{Refusal, Result};
use crate::request::Params;
use crate::store::Id;

/// Bytes of a log on a page; the whole of it can be downloaded.
const LOG: usize = 512 << 10;

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage {
    frame: Frame,
    device: Id,
    device_name: String,
    deployment: Id,
    deployment_name: String,
    mark: Mark,
    lines: Vec<LogLine>,
    raw: String,
    cut: bool,
}

struct LogLine {
    class: &'static str,
    text: String,
}

/// `GET /devices/{id}/logs/{deployment}`
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    operator: Operator,
    query: Query,
    Params((device, deployment)): Params<(Id, Id)>,
) -> Result {
    let missing = || Refusal::not_found("log");
    let row = app
        .store
        .device_deployment(deployment, device)
        .await?
        .ok_or_else(missing)?;
    let text = app
        .store
        .log(deployment, device)
        .await?
        .ok_or_else(missing)?;
    if query.one("raw").is_some() {
        let headers = [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (
                header::CONTENT_DISPOSITION,
                "attachment; filename=\"deployment.log\"",
            ),
        ];
        return Ok((headers, text).into_response());
    }
    let frame = Frame::new(&app, operator, Section::Devices, &query).await?;
    let identity = app
        .store
        .device(device)
        .await?
        .map(|device| device.identity);
    let name = app.store.deployment(deployment).await?.map(|one| one.name);
    let cut = text.len() > LOG;
    // The end of a log says most.
    let start = text.ceil_char_boundary(text.len().saturating_sub(LOG));
    let shown = inert_lines(text.get(start..).unwrap_or_default(), LOG);
    page(&LogPage {
        frame,
        device,
        device_name: identity.map_or_else(
            || device.to_string(),
            |identity| identity_text::name(&identity),
        ),
        deployment,
        deployment_name: inert(&name.unwrap_or_default(), 80),
        mark: row.status.into(),
        lines: shown.lines().map(LogLine::new).collect(),
        raw: format!("/devices/{device}/logs/{deployment}?raw"),
        cut,
    })
}

impl LogLine {
    fn new(line: &str) -> Self {
        let level = line
            .split(": ")
            .next()
            .unwrap_or_default()
            .rsplit(' ')
            .next();
        Self {
            class: match level {
                Some("error" | "fatal" | "panic" | "critical") => "bad",
                Some("warning" | "warn") => "warn",
                Some("debug" | "trace") => "quiet",
                _ => "",
            },
            text: line.to_owned(),
        }
    }
}
