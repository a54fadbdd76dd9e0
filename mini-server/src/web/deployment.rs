//! The page of one deployment.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tandem_api::DeploymentStatus;
use tandem_api::management::DeploymentState;

use super::answer::{page, see_other};
use super::chart::Share;
use super::deployments::Tally;
use super::form::Form;
use super::frame::{Frame, Section};
use super::identity_text;
use super::pager::{Pager, window};
use super::rollout::RolloutView;
use super::status_text::Mark;
use super::wording::{Moment, escape, grouped, inert, percent};
use crate::access::Operator;
use crate::app::App;
use crate::clock::now;
use crate::management::deployments::{missing, stop};
use crate::management::rollouts::{again, control};
use crate::query::Query;
use crate::reply::{Refusal, Result};
use crate::request::Params;
use crate::store::{Control, Id, Participant, Progress, StatusFilter};

/// Characters of what a device says about a deployment.
const SAID: usize = 300;

#[derive(Template)]
#[template(path = "deployment.html")]
struct DeploymentPage {
    frame: Frame,
    id: Id,
    name: String,
    release: String,
    release_href: String,
    target: String,
    mark: Mark,
    created: Moment,
    finished: Option<Moment>,
    forced: bool,
    open: bool,
    shares: Vec<Share>,
    percent: u64,
    kinds: Vec<Kind>,
    failed: u64,
    rollout: RolloutView,
    reasons: Vec<Reason>,
    lines: Vec<Line>,
    filter: String,
    pager: Pager,
}

/// How many devices are so far.
struct Kind {
    label: &'static str,
    class: &'static str,
    number: String,
    href: String,
    current: bool,
}

/// Why it failed on some.
struct Reason {
    text: String,
    devices: String,
    device_href: String,
    log_href: String,
}

/// A device of the deployment.
struct Line {
    device: Id,
    name: String,
    gone: bool,
    mark: Option<Mark>,
    said: String,
    when: Option<Moment>,
    log: bool,
}

/// `GET /deployments/{id}`
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    operator: Operator,
    query: Query,
    Params(id): Params<Id>,
) -> Result {
    let frame = Frame::new(&app, operator, Section::Deployments, &query).await?;
    let deployment = app.store.deployment(id).await?.ok_or_else(missing)?;
    let tally = Tally::of(&deployment);
    let filter = query.one("show").unwrap_or_default().to_owned();
    let progress = match filter.as_str() {
        "waiting" => Progress::Waiting,
        "active" => Progress::Has(StatusFilter::Active),
        "updated" => Progress::Has(StatusFilter::Is(DeploymentStatus::Success)),
        "failed" => Progress::Has(StatusFilter::Is(DeploymentStatus::Failure)),
        "unfit" => Progress::Has(StatusFilter::Is(DeploymentStatus::NoArtifact)),
        "had" => Progress::Has(StatusFilter::Is(DeploymentStatus::AlreadyInstalled)),
        "ended" => Progress::Has(StatusFilter::Is(DeploymentStatus::Aborted)),
        _ => Progress::Any,
    };
    let (found, total) = app
        .store
        .participants(id, progress, window(&query)?)
        .await?;
    let time = now().millis();
    let had = deployment
        .statistics
        .get(&DeploymentStatus::AlreadyInstalled)
        .copied()
        .unwrap_or(0);
    let kinds = [
        ("All", "", "", deployment.max_devices),
        ("Waiting", "waiting", "none", tally.waiting),
        ("Updating", "active", "busy", tally.active),
        (
            "Updated",
            "updated",
            "ok",
            tally.updated.saturating_sub(had),
        ),
        ("Had it already", "had", "ok", had),
        ("Failed", "failed", "bad", tally.failed),
        ("Nothing fits", "unfit", "warn", tally.unfit),
        ("Ended", "ended", "idle", tally.ended),
    ];
    let reasons = match tally.failed {
        0 => Vec::new(),
        _ => app.store.failure_reasons(id).await?,
    };
    page(&DeploymentPage {
        frame,
        id,
        name: inert(&deployment.name, 100),
        release: inert(&deployment.artifact_name, 100),
        release_href: match deployment.artifacts.first() {
            Some(artifact) => format!("/releases/{artifact}"),
            None => format!("/releases?q={}", escape(&deployment.artifact_name)),
        },
        target: deployment
            .group
            .as_deref()
            .map(|group| inert(group, 60))
            .unwrap_or_default(),
        mark: (&deployment).into(),
        rollout: RolloutView::new(&deployment, time),
        created: Moment::new(deployment.created, time),
        finished: deployment.finished.map(|at| Moment::new(at, time)),
        forced: deployment.forced,
        open: deployment.state != DeploymentState::Finished,
        shares: tally.shares(),
        percent: percent(tally.done(), deployment.max_devices),
        kinds: kinds
            .into_iter()
            .filter(|(_, name, _, number)| *number > 0 || *name == filter)
            .map(|(label, name, class, number)| Kind {
                label,
                class,
                number: grouped(number),
                href: if name.is_empty() {
                    format!("/deployments/{id}")
                } else {
                    format!("/deployments/{id}?show={name}")
                },
                current: name == filter,
            })
            .collect(),
        failed: tally.failed,
        reasons: reasons
            .into_iter()
            .map(|reason| Reason {
                text: match &reason.text {
                    Some(text) => inert(text, SAID),
                    None => {
                        "No reason given: the device has sent neither a cause nor a log".to_owned()
                    }
                },
                devices: grouped(reason.devices),
                device_href: format!("/devices/{}", reason.example),
                log_href: reason
                    .with_log
                    .map(|device| format!("/devices/{device}/logs/{id}"))
                    .unwrap_or_default(),
            })
            .collect(),
        lines: found.into_iter().map(|one| Line::new(one, time)).collect(),
        pager: Pager::new(&format!("/deployments/{id}"), &query, total),
        filter,
    })
}

impl Line {
    fn new(participant: Participant, now: i64) -> Self {
        let Participant {
            device,
            identity,
            progress,
        } = participant;
        let said = progress
            .as_ref()
            .and_then(|row| row.substate.as_deref().or(row.reason.as_deref()));
        Self {
            device,
            gone: identity.is_none(),
            name: identity.map_or_else(|| device.to_string(), |text| identity_text::name(&text)),
            mark: progress.as_ref().map(|row| row.status.into()),
            said: inert(said.unwrap_or_default(), SAID),
            when: progress
                .as_ref()
                .map(|row| Moment::new(row.finished.or(row.started).unwrap_or(row.created), now)),
            log: progress.is_some_and(|row| row.has_log),
        }
    }
}

/// `POST /deployments/{id}`
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(id): Params<Id>,
    form: Form,
) -> Result {
    match form.text("action") {
        "abort" => {
            stop(&app, id).await?;
            Ok(see_other(&format!("/deployments/{id}?done=aborted")))
        }
        "pause" => {
            control(&app, id, Control::Pause(form.text("reason").to_owned())).await?;
            Ok(see_other(&format!("/deployments/{id}?done=paused")))
        }
        "resume" => {
            control(&app, id, Control::Resume).await?;
            Ok(see_other(&format!("/deployments/{id}?done=resumed")))
        }
        "advance" => {
            control(&app, id, Control::Advance).await?;
            Ok(see_other(&format!("/deployments/{id}?done=advanced")))
        }
        "retry" => {
            let id = again(&app, id).await?;
            Ok(see_other(&format!("/deployments/{id}?done=deployed")))
        }
        _ => Err(Refusal::bad_request(
            "what is to be done with the deployment?",
        )),
    }
}
