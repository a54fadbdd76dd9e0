//! What keeps devices from being given something: the release that a device stays with, the maintenance window of a
//! group. Our own; Mender has nothing of the kind.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use log::info;
use serde_json::json;
use tandem_api::management::{MaintenanceWindow, Pin};

use crate::access::Operator;
use crate::app::App;
use crate::management::groups::check_name;
use crate::reply::{Json, Refusal, Result};
use crate::request::{JsonBody, Params};
use crate::rollout::Window;
use crate::store::Id;

/// `GET /api/management/v1/deployments/devices/{id}/pin`
pub async fn get(State(app): State<Arc<App>>, _: Operator, Params(id): Params<Id>) -> Result {
    let release = app.store.pin_of(id).await?.ok_or_else(missing)?;
    Ok(Json(json!({"release": release})).into_response())
}

/// `PUT /api/management/v1/deployments/devices/{id}/pin`
pub async fn put(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(id): Params<Id>,
    JsonBody(pin): JsonBody<Pin>,
) -> Result {
    set(&app, id, Some(pin.release)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `DELETE /api/management/v1/deployments/devices/{id}/pin`
pub async fn delete(State(app): State<Arc<App>>, _: Operator, Params(id): Params<Id>) -> Result {
    set(&app, id, None).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Has a device stay with a release, or take what it is given again.
///
/// # Errors
/// A refusal if there is no such device, or the release has no name.
pub async fn set(app: &App, device: Id, release: Option<String>) -> Result<()> {
    if let Some(release) = &release
        && !(1..=4096).contains(&release.len())
    {
        return Err(Refusal::bad_request(
            "the name of a release has 1 to 4096 bytes",
        ));
    }
    if !app.store.pin(device, release.clone()).await? {
        return Err(missing());
    }
    match release {
        Some(release) => info!(device:% = device, release:% = release; "device pinned"),
        None => info!(device:% = device; "device no longer pinned"),
    }
    Ok(())
}

fn missing() -> Refusal {
    Refusal::not_found("device")
}

/// `GET /api/management/v1/deployments/groups/{name}/maintenance_window`
pub async fn get_window(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(group): Params<String>,
) -> Result {
    let window = app.store.group_window(&group).await?;
    let window = window.ok_or_else(|| Refusal::not_found("maintenance window"))?;
    Ok(Json(window.to_wire()).into_response())
}

/// `PUT /api/management/v1/deployments/groups/{name}/maintenance_window`
pub async fn put_window(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(group): Params<String>,
    JsonBody(window): JsonBody<MaintenanceWindow>,
) -> Result {
    let window = Window::from_wire(&window).map_err(Refusal::unprocessable)?;
    set_window(&app, group, Some(window)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `DELETE /api/management/v1/deployments/groups/{name}/maintenance_window`
pub async fn delete_window(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(group): Params<String>,
) -> Result {
    set_window(&app, group, None).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Sets when devices of a group may be given something; always without a window.
///
/// # Errors
/// A refusal if that is no name of a group.
pub async fn set_window(app: &App, group: String, window: Option<Window>) -> Result<()> {
    let group = check_name(group)?;
    match &window {
        Some(window) => info!(group:% = group, window:% = window; "maintenance window set"),
        None => info!(group:% = group; "maintenance window taken away"),
    }
    app.store.set_group_window(group, window).await?;
    Ok(())
}
