//! The audit log: to read, to take away, and what goes into it without a change.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use log::warn;
use tandem_api::Timestamp;
use tandem_api::management::{AuditActor, AuditEntry, AuditObject};

use crate::access::Operator;
use crate::app::App;
use crate::audit::{Asked, Cause};
use crate::clock::now;
use crate::csv::line as csv_line;
use crate::paging::{Page, Window};
use crate::query::Query;
use crate::reply::{Json, Refusal, Result};
use crate::store::{AuditFilter, AuditRow};

const LIST: &str = "/api/management/v1/auditlogs/logs";

/// Lines of an export, unless another number is asked for; and at most.
pub const EXPORTED: i64 = 20_000;

/// `GET /api/management/v1/auditlogs/logs`
pub async fn list(State(app): State<Arc<App>>, _: Operator, query: Query) -> Result {
    let page = Page::of(&query)?;
    let (lines, total) = app.store.audit_log(&filter(&query)?, page.window()).await?;
    let lines: Vec<AuditEntry> = lines.into_iter().map(show).collect();
    Ok((page.headers_with_total(LIST, &query, total), Json(lines)).into_response())
}

/// `GET /api/management/v1/auditlogs/logs/export`
pub async fn export(State(app): State<Arc<App>>, _: Operator, query: Query) -> Result {
    let limit = query.number("limit")?.unwrap_or(EXPORTED);
    if !(1..=EXPORTED).contains(&limit) {
        let range = format!("limit must be a number from 1 to {EXPORTED}");
        return Err(Refusal::bad_request(range));
    }
    csv(&app, &filter(&query)?, limit).await
}

/// The newest lines that fit, as a file.
///
/// # Errors
/// Of the database.
pub async fn csv(app: &App, filter: &AuditFilter, limit: i64) -> Result {
    let window = Window { offset: 0, limit };
    let (lines, _) = app.store.audit_log(filter, window).await?;
    let mut text = csv_line(COLUMNS);
    for line in lines {
        text.push_str(&csv_line(cells(&line).each_ref().map(String::as_str)));
    }
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"audit-log.csv\"",
        ),
    ];
    Ok((headers, text).into_response())
}

const COLUMNS: [&str; 13] = [
    "number",
    "time",
    "actor_type",
    "actor_id",
    "actor_email",
    "actor_token",
    "address",
    "action",
    "object_type",
    "object_id",
    "object_name",
    "change",
    "outcome",
];

fn cells(line: &AuditRow) -> [String; 13] {
    let line = line.clone();
    [
        line.number.to_string(),
        Timestamp::from_millis(line.at).to_string(),
        line.actor_type,
        line.actor_id.unwrap_or_default(),
        line.actor_name,
        line.actor_token.unwrap_or_default(),
        line.address,
        line.action,
        line.object_type,
        line.object_id,
        line.object_name,
        line.change,
        line.outcome,
    ]
}

/// The lines that a query asks for; names as in Mender's API where it has them.
///
/// # Errors
/// A refusal if something in it cannot be.
pub fn filter(query: &Query) -> Result<AuditFilter> {
    let one = |name: &str| {
        let text = query.one(name).map(str::trim);
        text.filter(|text| !text.is_empty()).map(ToOwned::to_owned)
    };
    let time = |name: &str| -> Result<Option<i64>> {
        let seconds: Option<i64> = query.number(name)?;
        Ok(seconds.map(|seconds| Timestamp::from_seconds(seconds).millis()))
    };
    let ascending = match query.one("sort") {
        None | Some("" | "desc") => false,
        Some("asc") => true,
        Some(_) => return Err(Refusal::bad_request("sort must be asc or desc")),
    };
    Ok(AuditFilter {
        actor_id: one("actor_id"),
        actor: one("actor_email").or_else(|| one("actor_type")),
        action: one("action"),
        object_type: one("object_type"),
        object_id: one("object_id"),
        object: one("object_name").or_else(|| one("object_deployment_name")),
        after: time("created_after")?,
        before: time("created_before")?,
        ascending,
    })
}

/// Notes that something was refused, unless too much is.
pub async fn note(app: &App, cause: Cause, asked: Asked, why: &str) {
    if !app.refusals.take(now().millis()) {
        return;
    }
    let outcome = format!("refused: {why}");
    if let Err(err) = app
        .store
        .audit_refusal(Arc::new(cause), asked, outcome)
        .await
    {
        // The request is refused all the same.
        warn!("cannot write to the audit log: {err}");
    }
}

/// Why an answer refuses something that is worth a line: that somebody may not, or that it cannot be.
#[must_use]
pub fn reason(answer: &Response) -> Option<String> {
    match answer.status() {
        StatusCode::FORBIDDEN | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => {
            let refusal = answer.extensions().get::<Refusal>();
            Some(refusal.map_or_else(
                || answer.status().to_string(),
                |refusal| refusal.message().to_owned(),
            ))
        }
        _ => None,
    }
}

/// Notes that what somebody asked for was refused.
pub async fn refused(app: &App, cause: Cause, why: Option<String>) {
    if let (Some(asked), Some(why)) = (cause.request.clone(), why) {
        note(app, cause, asked, &why).await;
    }
}

fn show(line: AuditRow) -> AuditEntry {
    AuditEntry {
        number: line.number,
        time: Timestamp::from_millis(line.at),
        actor: AuditActor {
            kind: line.actor_type,
            id: line.actor_id,
            email: line.actor_name,
            token: line.actor_token,
            address: line.address,
        },
        action: line.action,
        object: AuditObject {
            kind: line.object_type,
            id: line.object_id,
            name: line.object_name,
        },
        change: line.change,
        outcome: line.outcome,
    }
}
