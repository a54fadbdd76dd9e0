//! Letting many devices in as soon as they come: those of a list.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use futures_util::{StreamExt, stream};

use super::answer::page;
use super::form::Form;
use super::frame::{Frame, Section};
use super::wording::{inert, sentence};
use crate::access::Operator;
use crate::app::App;
use crate::device_list;
use crate::management::devices::{announce_all, problem};
use crate::query::Query;
use crate::reply::Result;

#[derive(Template)]
#[template(path = "import.html")]
struct Import {
    frame: Frame,
    /// What has just come of a list; empty if there was none.
    outcome: String,
    problems: Vec<String>,
    more: usize,
    list: String,
}

/// Problems that are shown.
const SHOWN: usize = 50;

/// `GET /devices/import`
pub(crate) async fn get(State(app): State<Arc<App>>, operator: Operator, query: Query) -> Result {
    page(&Import {
        frame: Frame::new(&app, operator, Section::Devices, &query).await?,
        outcome: String::new(),
        problems: Vec::new(),
        more: 0,
        list: String::new(),
    })
}

/// `POST /devices/import`
pub(crate) async fn post(State(app): State<Arc<App>>, operator: Operator, form: Form) -> Result {
    let list = form.text("list");
    let force = form.text("force") == "on";
    let (mut done, mut problems) = (0_usize, Vec::new());
    match device_list::parse(list, force) {
        Err(problem) => problems.push(sentence(&problem)),
        Ok(lines) => {
            let mut wrong = Vec::new();
            let (mut numbers, mut devices) = (Vec::new(), Vec::new());
            for (number, device) in lines {
                match device {
                    Err(problem) => wrong.push((number, problem)),
                    Ok(device) => {
                        numbers.push(number);
                        devices.push(device);
                    }
                }
            }
            let outcomes = announce_all(&app, devices);
            let mut outcomes = std::pin::pin!(stream::iter(numbers).zip(outcomes));
            while let Some((number, outcome)) = outcomes.next().await {
                match problem(outcome)? {
                    None => done = done.saturating_add(1),
                    Some(problem) => wrong.push((number, problem)),
                }
            }
            wrong.sort_by_key(|(number, _)| *number);
            let shown = |(number, problem): (usize, String)| {
                format!("Line {number}: {}", inert(&problem, 200))
            };
            problems.extend(wrong.into_iter().map(shown));
        }
    }
    let more = problems.len().saturating_sub(SHOWN);
    problems.truncate(SHOWN);
    page(&Import {
        frame: Frame::new(&app, operator, Section::Devices, &Query::default()).await?,
        outcome: super::wording::count(u64::try_from(done).unwrap_or(u64::MAX), "device"),
        // What went wrong can be mended and sent again: what is there already does no harm.
        list: if problems.is_empty() {
            String::new()
        } else {
            super::wording::inert_lines(list, 1 << 20)
        },
        problems,
        more,
    })
}
