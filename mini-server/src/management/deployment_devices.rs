//! Deployments on single devices.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::{StatusCode, header};
use tandem_api::Timestamp;
use tandem_api::management::{Artifact, DeviceDeployment, DeviceHistory, WaitingDeployment};

use crate::access::Operator;
use crate::app::App;
use crate::clock::now;
use crate::management::deployments::{missing, show as show_deployment};
use crate::paging::Page;
use crate::query::Query;
use crate::reply::{Json, Refusal, Result};
use crate::request::Params;
use crate::store::{DeploymentFilter, DeviceDeploymentRow, Id, StatusFilter};

/// Deployments on one page of the history of a device.
const HISTORY: u32 = 20;

/// `GET /api/management/v1/deployments/deployments/{id}/devices`
pub async fn list(State(app): State<Arc<App>>, _: Operator, Params(id): Params<Id>) -> Result {
    app.store.deployment(id).await?.ok_or_else(missing)?;
    let (rows, _) = app.store.device_deployments(id, None, None).await?;
    Ok(Json(show(&app, rows).await?).into_response())
}

/// `GET /api/management/v1/deployments/deployments/{id}/devices/list`
pub async fn list_paged(
    State(app): State<Arc<App>>,
    _: Operator,
    query: Query,
    Params(id): Params<Id>,
) -> Result {
    let page = Page::of(&query)?;
    let filter = filter(&query)?;
    app.store.deployment(id).await?.ok_or_else(missing)?;
    let (rows, total) = app
        .store
        .device_deployments(id, filter, Some(page.window()))
        .await?;
    let path = format!("/api/management/v1/deployments/deployments/{id}/devices/list");
    let headers = page.headers_with_total(&path, &query, total);
    Ok((headers, Json(show(&app, rows).await?)).into_response())
}

/// `GET /api/management/v1/deployments/deployments/{id}/device_list`
pub async fn targets(State(app): State<Arc<App>>, _: Operator, Params(id): Params<Id>) -> Result {
    app.store.deployment(id).await?.ok_or_else(missing)?;
    let devices: Vec<String> = app
        .store
        .targets(id)
        .await?
        .iter()
        .map(Id::to_string)
        .collect();
    Ok(Json(devices).into_response())
}

/// `GET /api/management/v1/deployments/deployments/{id}/devices/{device}/log`
pub async fn log(
    State(app): State<Arc<App>>,
    _: Operator,
    Params((id, device)): Params<(Id, String)>,
) -> Result {
    let missing = || Refusal::not_found("log");
    let device = device.parse().map_err(|_| missing())?;
    let text = app.store.log(id, device).await?.ok_or_else(missing)?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

/// `GET /api/management/v1/deployments/deployments/devices/{device}`
pub async fn history(
    State(app): State<Arc<App>>,
    _: Operator,
    query: Query,
    Params(device): Params<Id>,
) -> Result {
    let size = query.number("per_page")?.unwrap_or(HISTORY);
    if size > HISTORY {
        return Err(Refusal::bad_request(format!(
            "per_page must be a number from 1 to {HISTORY}"
        )));
    }
    let page = Page::new(query.number("page")?.unwrap_or(1), size)?;
    let (rows, total) = app
        .store
        .device_history(device, filter(&query)?, page.window())
        .await?;
    let ids: Vec<Id> = rows.iter().map(|row| row.deployment).collect();
    let mut deployments = HashMap::new();
    if !ids.is_empty() {
        let filter = DeploymentFilter {
            ids: ids.clone(),
            ..DeploymentFilter::default()
        };
        let (found, _) = app
            .store
            .deployments(&filter, Page::first(HISTORY).window())
            .await?;
        deployments.extend(found.into_iter().map(|one| (one.id, one)));
    }
    let devices = show(&app, rows).await?;
    let history: Vec<DeviceHistory> = ids
        .iter()
        .zip(devices)
        .filter_map(|(id, on_device)| {
            Some(DeviceHistory {
                id: id.to_string(),
                deployment: show_deployment(deployments.remove(id)?),
                device: on_device,
            })
        })
        .collect();
    let path = format!("/api/management/v1/deployments/deployments/devices/{device}");
    Ok((page.headers_with_total(&path, &query, total), Json(history)).into_response())
}

/// `DELETE /api/management/v1/deployments/deployments/devices/{device}`
pub async fn abort(State(app): State<Arc<App>>, _: Operator, Params(device): Params<Id>) -> Result {
    app.store.abort_for_device(device, now().millis()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /api/management/v1/deployments/devices/{id}/waiting`: what the device has not begun, and why not. Our own.
pub async fn waiting(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(device): Params<Id>,
) -> Result {
    let prospects = app.store.prospects(device).await?;
    let waiting: Vec<WaitingDeployment> = prospects
        .waiting(now().millis())
        .into_iter()
        .map(|(open, reason)| WaitingDeployment {
            deployment_id: open.deployment.to_string(),
            name: open.name.clone(),
            artifact_name: open.artifact_name.clone(),
            reason,
        })
        .collect();
    Ok(Json(waiting).into_response())
}

fn filter(query: &Query) -> Result<Option<StatusFilter>> {
    let Some(text) = query.one("status").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    Ok(Some(match text {
        "pause" => StatusFilter::Pause,
        "active" => StatusFilter::Active,
        "finished" => StatusFilter::Finished,
        other => StatusFilter::Is(
            other
                .parse()
                .map_err(|_| Refusal::bad_request(format!("unknown status {other:?}")))?,
        ),
    }))
}

/// As they go over the wire, each with the artifact that was chosen for it.
async fn show(app: &App, rows: Vec<DeviceDeploymentRow>) -> Result<Vec<DeviceDeployment>> {
    let mut artifacts: HashMap<Id, Option<Artifact>> = HashMap::new();
    let mut shown = Vec::new();
    for row in rows {
        let image = match row.artifact {
            None => None,
            Some(id) => match artifacts.entry(id) {
                Entry::Occupied(known) => known.get().clone(),
                Entry::Vacant(place) => {
                    let artifact = app.store.artifact(id).await?.map(Artifact::from);
                    place.insert(artifact).clone()
                }
            },
        };
        shown.push(DeviceDeployment {
            id: row.device.to_string(),
            status: row.status,
            created: Timestamp::from_millis(row.created),
            started: row.started.map(Timestamp::from_millis),
            finished: row.finished.map(Timestamp::from_millis),
            log: row.has_log,
            substate: row.substate,
            image,
        });
    }
    Ok(shown)
}
