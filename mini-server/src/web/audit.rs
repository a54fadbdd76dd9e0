//! What was changed, and by whom.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tandem_api::Timestamp;

use super::answer::page;
use super::frame::{Frame, Section};
use super::pager::{Pager, window};
use super::wording::{Moment, inert};
use crate::access::Operator;
use crate::app::App;
use crate::audit::Kind;
use crate::clock::now;
use crate::management::audit;
use crate::query::Query;
use crate::reply::Result;
use crate::store::{AuditFilter, AuditRow};

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    frame: Frame,
    lines: Vec<Line>,
    pager: Pager,
    actor: String,
    kind: String,
    object: String,
    from: String,
    to: String,
    filtered: bool,
    export: String,
}

struct Line {
    at: Moment,
    actor: String,
    hint: String,
    action: String,
    kind: String,
    object: String,
    /// The page about it, if there is one.
    href: String,
    change: String,
    /// Empty if it was done.
    problem: String,
}

/// `GET /audit`
pub(crate) async fn get(State(app): State<Arc<App>>, operator: Operator, query: Query) -> Result {
    let frame = Frame::new(&app, operator, Section::Audit, &query).await?;
    let filter = filter(&query)?;
    let (lines, total) = app.store.audit_log(&filter, window(&query)?).await?;
    let time = now().millis();
    let text = |name: &str| inert(query.one(name).unwrap_or_default(), 256);
    let mut export = form_urlencoded::Serializer::new(String::new());
    export.extend_pairs(query.pairs().filter(|(name, _)| *name != "page"));
    page(&Audit {
        frame,
        lines: lines.iter().map(|line| Line::new(line, time)).collect(),
        pager: Pager::new("/audit", &query, total),
        actor: text("actor"),
        kind: text("kind"),
        object: text("object"),
        from: text("from"),
        to: text("to"),
        filtered: query
            .pairs()
            .any(|(name, text)| name != "page" && !text.is_empty()),
        export: match export.finish().as_str() {
            "" => "/audit/download".to_owned(),
            query => format!("/audit/download?{query}"),
        },
    })
}

/// `GET /audit/download`: the same as a file.
pub(crate) async fn export(State(app): State<Arc<App>>, _: Operator, query: Query) -> Result {
    audit::csv(&app, &filter(&query)?, audit::EXPORTED).await
}

fn filter(query: &Query) -> Result<AuditFilter> {
    let one = |name: &str| {
        let text = query.one(name).map(str::trim);
        text.filter(|text| !text.is_empty()).map(ToOwned::to_owned)
    };
    // A day as browsers send it; one that is none is none that is wanted.
    let day = |name: &str, end: &str| {
        let time: Option<Timestamp> = format!("{}T{end}Z", query.one(name)?).parse().ok();
        time.map(Timestamp::millis)
    };
    Ok(AuditFilter {
        actor: one("actor"),
        object_type: one("kind"),
        object: one("object"),
        after: day("from", "00:00:00"),
        before: day("to", "23:59:59.999"),
        ..AuditFilter::default()
    })
}

impl Line {
    fn new(line: &AuditRow, now: i64) -> Self {
        let actor = match line.actor_type.as_str() {
            "user" => inert(&line.actor_name, 254),
            "device" => "the device itself".to_owned(),
            "cli" => "command line".to_owned(),
            "server" => "the server itself".to_owned(),
            _ => "somebody".to_owned(),
        };
        let token = line.actor_token.as_deref();
        let token = token.map(|token| format!("token {}", inert(token, 60)));
        let address = Some(line.address.clone()).filter(|address| !address.is_empty());
        let hint: Vec<String> = token.into_iter().chain(address).collect();
        let name = if line.object_name.is_empty() {
            &line.object_id
        } else {
            &line.object_name
        };
        let href = match line.object_type.as_str() {
            "device" => format!("/devices/{}", line.object_id),
            "deployment" => format!("/deployments/{}", line.object_id),
            "artifact" => format!("/releases/{}", line.object_id),
            _ => String::new(),
        };
        Self {
            at: Moment::new(line.at, now),
            actor,
            hint: hint.join(", "),
            action: line.action.replace('_', " "),
            kind: line.object_type.replace('_', " "),
            object: inert(name, 120),
            href: Some(href)
                .filter(|_| !line.object_id.is_empty())
                .unwrap_or_default(),
            change: inert(&line.change, 300),
            problem: Some(inert(&line.outcome, 300))
                .filter(|outcome| outcome != "done")
                .unwrap_or_default(),
        }
    }
}
