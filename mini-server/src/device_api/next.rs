//! A device asks what to do.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use log::{debug, info};
use serde_json::{Map, Value};
use tandem_api::DeploymentStatus;
use tandem_api::device::{NextArtifact, NextDeployment, NextRequest};
use tandem_artifact::{ARTIFACT_NAME, Depends};

use super::address::address;
use crate::app::App;
use crate::clock::now;
use crate::query::Query;
use crate::reply::{Json, Refusal, Result};
use crate::request::{BaseUrl, Device, JsonBody};
use crate::rollout::{Answer, Candidate, Open, Prospects, Provides, Turn, answer, choose};
use crate::sessions::DeviceSession;
use crate::store::{ArtifactFilter, Finding, Noted, StoredArtifact};

/// Values that a device may provide, and bytes of each.
const PROVIDES: usize = 1024;
const VALUE: usize = 4096;

/// `POST /api/devices/v2/deployments/device/deployments/next`
pub async fn post_v2(
    State(app): State<Arc<App>>,
    Device(device): Device,
    base: BaseUrl,
    JsonBody(request): JsonBody<NextRequest>,
) -> Result {
    next(&app, &device, &base, request.device_provides).await
}

/// `POST /api/devices/v1/deployments/device/deployments/next`
pub async fn post_v1(
    State(app): State<Arc<App>>,
    Device(device): Device,
    base: BaseUrl,
    JsonBody(request): JsonBody<Map<String, Value>>,
) -> Result {
    let mut provides = Provides::new();
    for (key, value) in request {
        match value {
            Value::String(value) => {
                provides.insert(key, value);
            }
            // Mender's server reads further provides from here.
            Value::Object(more) if key == "artifact_provides" => {
                let more = more
                    .into_iter()
                    .filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())));
                provides.extend(more);
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => {}
        }
    }
    next(&app, &device, &base, provides).await
}

/// `GET /api/devices/v1/deployments/device/deployments/next`
pub async fn get_v1(
    State(app): State<Arc<App>>,
    Device(device): Device,
    base: BaseUrl,
    query: Query,
) -> Result {
    let provides = query
        .pairs()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    next(&app, &device, &base, provides).await
}

/// `GET /api/devices/v2/deployments/device/deployments/{id}/update_control_map`: there are none.
pub async fn control_map(Device(_): Device) -> Refusal {
    Refusal::not_found("control map")
}

async fn next(
    app: &App,
    device: &Arc<DeviceSession>,
    base: &BaseUrl,
    provides: Provides,
) -> Result {
    let name = check(&provides)?.to_owned();
    let time = now().millis();
    if app.sessions.is_idle(device, time) {
        return nothing();
    }
    // Counted before it is looked up: a deployment that is made meanwhile is seen at the next request.
    let deployments = app.sessions.deployments();
    let prospects = app.store.prospects(device.device).await?;
    let open = match choose(&prospects, time) {
        Turn::Take(open) => open,
        Turn::Wait(until) => {
            if let Some(until) = until {
                device.set_idle(deployments, until);
            }
            return nothing();
        }
    };
    let filter = ArtifactFilter {
        names: vec![open.artifact_name.clone()],
        ..ArtifactFilter::default()
    };
    let artifacts = app.store.artifacts(&filter).await?;
    let candidates = candidates(app, device, open, &artifacts).await?;
    match answer(open, prospects.pinned.as_deref(), &provides, &candidates) {
        Answer::Offer { artifact } => {
            let Some(artifact) = artifacts.into_iter().find(|one| one.id == artifact) else {
                return nothing();
            };
            offer(app, device, base, &prospects, open, artifact, name).await
        }
        Answer::Settle { status, reason } => settle(app, device, open, status, reason, name).await,
    }
}

/// The artifacts that the device may get; what failed on it too often is in quarantine, unless it is to get it by force
/// or is at it.
async fn candidates(
    app: &App,
    device: &DeviceSession,
    open: &Open,
    artifacts: &[StoredArtifact],
) -> Result<Vec<Candidate>> {
    let mut candidates: Vec<Candidate> = artifacts.iter().map(Candidate::from).collect();
    let limit = app.settings.quarantine;
    if open.status.is_none() && !open.forced && limit > 0 {
        let failures = app
            .store
            .failures_on(device.device, open.deployment)
            .await?;
        for one in &mut candidates {
            one.quarantined = failures
                .iter()
                .any(|(id, failures)| *id == one.id && *failures >= limit);
        }
    }
    Ok(candidates)
}

/// What a device must at least say; the name of the artifact that it has.
fn check(provides: &Provides) -> Result<&str> {
    for required in [ARTIFACT_NAME, Depends::DEVICE_TYPE] {
        if provides.get(required).is_none_or(String::is_empty) {
            return Err(Refusal::bad_request(format!(
                "invalid schema: {required} must be provided"
            )));
        }
    }
    if provides.len() > PROVIDES
        || provides
            .iter()
            .any(|(key, value)| key.len().max(value.len()) > VALUE)
    {
        let limits = format!("at most {PROVIDES} values of at most {VALUE} bytes");
        return Err(Refusal::bad_request(format!("invalid schema: {limits}")));
    }
    Ok(provides
        .get(ARTIFACT_NAME)
        .map(String::as_str)
        .unwrap_or_default())
}

async fn offer(
    app: &App,
    device: &DeviceSession,
    base: &BaseUrl,
    prospects: &Prospects,
    open: &Open,
    artifact: StoredArtifact,
    found_name: String,
) -> Result {
    // Also who has begun gets nothing outside a window, or is not given another try while it is stopped.
    if let Some(held) = prospects.hold(open, now().millis()) {
        debug!(deployment:% = open.deployment, device:% = device.device; "deployment not offered: {held}");
        return nothing();
    }
    if app
        .settings
        .max_downloads
        .is_some_and(|limit| app.downloads.get() >= limit)
    {
        return Err(Refusal::unavailable(60));
    }
    let time = now();
    // The device has it in writing already unless it asks for the first time, was lost, or gets another artifact now.
    if open.status.is_none() || open.lost.is_some() || open.artifact != Some(artifact.id) {
        let finding = Finding {
            found_name,
            artifact: Some((artifact.id, artifact.size)),
            status: open.status.unwrap_or(DeploymentStatus::Pending),
            substate: None,
        };
        match app
            .store
            .note(open.deployment, device.device, finding, time.millis())
            .await?
        {
            Noted::Done => {
                info!(deployment:% = open.deployment, device:% = device.device, artifact:% = artifact.name; "deployment offered");
            }
            Noted::Gone => return nothing(),
            Noted::Held(held) => {
                debug!(deployment:% = open.deployment, device:% = device.device; "deployment not offered: {held}");
                return nothing();
            }
        }
    }
    Ok(Json(NextDeployment {
        id: open.deployment.to_string(),
        artifact: NextArtifact {
            id: Some(artifact.id.to_string()),
            source: address(app, device, base, &artifact, time).await?,
            device_types_compatible: artifact.content.device_types().to_vec(),
            artifact_name: artifact.name,
        },
        update_control_map: None,
        maintenance_openings: prospects.openings(open, time.millis()),
    })
    .into_response())
}

async fn settle(
    app: &App,
    device: &DeviceSession,
    open: &Open,
    status: DeploymentStatus,
    reason: String,
    found_name: String,
) -> Result {
    info!(deployment:% = open.deployment, device:% = device.device, status:% = status; "deployment settled: {reason}");
    let finding = Finding {
        found_name,
        artifact: None,
        status,
        substate: Some(reason),
    };
    if app
        .store
        .note(open.deployment, device.device, finding, now().millis())
        .await?
        == Noted::Gone
    {
        debug!(deployment:% = open.deployment, device:% = device.device; "deployment ended meanwhile");
    }
    nothing()
}

fn nothing() -> Result {
    Ok(StatusCode::NO_CONTENT.into_response())
}
