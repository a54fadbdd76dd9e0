//! How deployments go through their devices: what is asked for, how it goes, and the word of a person on the way.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::{StatusCode, header};
use log::info;
use serde::Deserialize;
use tandem_api::management::{
    DeploymentState, NewDeployment, Phase as PhaseShown, PhaseState, Rollout,
};

use crate::access::Operator;
use crate::app::App;
use crate::clock::now;
use crate::management::deployments::{make, missing};
use crate::reply::{Refusal, Result};
use crate::request::{Params, RawBody};
use crate::rollout::{Asker, Next, Plan, Threshold, Window, hold, standing};
use crate::store::{Control, Controlled, DeploymentRow, DeploymentToMake, Id, Targets};

/// Characters of the reason for a pause.
const REASON: usize = 500;

/// What a request for a deployment to `targets` asks for.
///
/// # Errors
/// A refusal if it makes no sense.
pub(super) fn to_make(new: NewDeployment, targets: Targets) -> Result<DeploymentToMake> {
    let plan = Plan::from_wire(&new.rollout).map_err(Refusal::unprocessable)?;
    let continuous = new.continuous || new.filter_id.is_some();
    if continuous && matches!(targets, Targets::Devices(_)) {
        return Err(Refusal::bad_request(
            "devices join a deployment to a group, to a filter or to all, not one to devices that are named",
        ));
    }
    if continuous && plan.groups().next().is_some() {
        return Err(Refusal::unprocessable(
            "a deployment that devices join has no phases of groups",
        ));
    }
    if new.max_devices.is_some() && !continuous {
        return Err(Refusal::unprocessable(
            "max_devices is for deployments that devices join",
        ));
    }
    if new.max_devices == Some(0) {
        return Err(Refusal::bad_request("max_devices is 1 or more"));
    }
    Ok(DeploymentToMake {
        name: new.name,
        artifact_name: new.artifact_name,
        forced: new.force_installation,
        targets,
        plan,
        continuous,
        device_limit: new.max_devices,
    })
}

/// The body of a pause; nothing needs to be said.
#[derive(Default, Deserialize)]
struct Pause {
    #[serde(default)]
    reason: String,
}

/// `POST /api/management/v1/deployments/deployments/{id}/pause`
pub async fn pause(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(id): Params<Id>,
    RawBody(body): RawBody,
) -> Result {
    let pause = if body.is_empty() {
        Pause::default()
    } else {
        serde_json::from_slice(&body).map_err(|err| {
            Refusal::bad_request(format!("the body is not the JSON that is expected: {err}"))
        })?
    };
    control(&app, id, Control::Pause(pause.reason)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /api/management/v1/deployments/deployments/{id}/resume`
pub async fn resume(State(app): State<Arc<App>>, _: Operator, Params(id): Params<Id>) -> Result {
    control(&app, id, Control::Resume).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /api/management/v1/deployments/deployments/{id}/advance`: the next phase begins, whatever it waits for.
pub async fn advance(State(app): State<Arc<App>>, _: Operator, Params(id): Params<Id>) -> Result {
    control(&app, id, Control::Advance).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /api/management/v1/deployments/deployments/{id}/retry`: a new one for the devices on which it failed.
pub async fn retry(State(app): State<Arc<App>>, _: Operator, Params(id): Params<Id>) -> Result {
    let id = again(&app, id).await?;
    let location = format!("/api/management/v1/deployments/deployments/{id}");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)]).into_response())
}

/// Has a person's word followed.
///
/// # Errors
/// A refusal if there is no such deployment, it has ended, or there is nothing that could follow.
pub async fn control(app: &App, id: Id, control: Control) -> Result<()> {
    let (said, vain) = match &control {
        Control::Pause(reason) if reason.chars().count() > REASON => {
            return Err(Refusal::bad_request(format!(
                "the reason for a pause has at most {REASON} characters"
            )));
        }
        Control::Pause(_) => ("deployment paused", "the deployment is paused already"),
        Control::Resume => ("deployment resumed", "the deployment is not paused"),
        Control::Advance => (
            "next phase of the deployment begun",
            "no phase is left to begin",
        ),
    };
    match app.store.control(id, control, now().millis()).await? {
        Controlled::Done => {
            info!(deployment:% = id; "{said}");
            Ok(())
        }
        Controlled::Unchanged => Err(Refusal::conflict(vain)),
        Controlled::Missing => Err(missing()),
        Controlled::Finished => Err(Refusal::unprocessable("Deployment already finished")),
    }
}

/// Makes a deployment for the devices on which another one failed, all at once; its identifier.
///
/// # Errors
/// A refusal if it failed nowhere, or cannot be made.
pub async fn again(app: &App, id: Id) -> Result<Id> {
    let before = app.store.deployment(id).await?.ok_or_else(missing)?;
    let devices = app.store.failed_devices(id).await?;
    if devices.is_empty() {
        return Err(Refusal::unprocessable(
            "no device on which it failed is there any more",
        ));
    }
    let mut name = before.name;
    if !name.ends_with(AGAIN) {
        name.truncate(name.floor_char_boundary(200));
        name.push_str(AGAIN);
    }
    let new = DeploymentToMake {
        name,
        artifact_name: before.artifact_name,
        forced: before.forced,
        targets: Targets::Devices(devices),
        plan: Plan {
            phases: Vec::new(),
            ..before.plan
        },
        continuous: false,
        device_limit: None,
    };
    make(app, new).await
}

/// How a deployment is called that is made for the devices on which another one failed.
const AGAIN: &str = " (again)";

/// How a deployment goes at `now`, ms.
pub(crate) fn rollout(deployment: &DeploymentRow, now: i64) -> Rollout {
    let (plan, progress) = (&deployment.plan, &deployment.progress);
    let open = deployment.state != DeploymentState::Finished;
    let word = open && standing(&plan.phases, progress, now).next == Next::Word;
    let halt = progress.halt.as_ref().filter(|_| open);
    let held = hold(plan, progress, Asker::default(), now).filter(|_| open);
    Rollout {
        paused: halt.is_some() || word,
        paused_by: match halt {
            Some(halt) => Some(halt.by.as_str().to_owned()),
            None => word.then(|| "phase".to_owned()),
        },
        holding: held.map(|held| held.to_string()),
        active: progress.active,
        lost: progress.lost,
        lost_after_seconds: plan.lost_after,
        max_concurrent: plan.cap,
        stop_on_failures: plan.threshold.as_ref().map(Threshold::to_wire),
        maintenance_window: plan.window.as_ref().map(Window::to_wire),
        continuous: deployment.continuous,
    }
}

/// How its phases go at `now`, ms.
pub(crate) fn phases(deployment: &DeploymentRow, now: i64) -> Vec<PhaseShown> {
    let (plan, progress) = (&deployment.plan, &deployment.progress);
    let begun = standing(&plan.phases, progress, now).begun;
    let mut before = 0_u64;
    let mut shown = Vec::new();
    for (number, phase) in (1_usize..).zip(&plan.phases) {
        // Later ones are filled from the rest.
        let end = phase.limit.unwrap_or(deployment.max_devices);
        let size = end.saturating_sub(before);
        shown.push(PhaseShown {
            made: phase.to_wire(),
            device_count: progress.started.saturating_sub(before).min(size),
            size: Some(size),
            state: match number.cmp(&begun) {
                _ if deployment.state == DeploymentState::Finished => PhaseState::Past,
                std::cmp::Ordering::Less => PhaseState::Past,
                std::cmp::Ordering::Equal => PhaseState::Current,
                std::cmp::Ordering::Greater => PhaseState::Waiting,
            },
        });
        before = end;
    }
    shown
}
