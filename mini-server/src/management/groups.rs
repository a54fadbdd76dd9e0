//! Static groups of devices.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use tandem_api::management::GroupOf;

use crate::access::Operator;
use crate::app::App;
use crate::paging::Page;
use crate::query::Query;
use crate::reply::{Json, Refusal, Result};
use crate::request::{JsonBody, Params};
use crate::store::{GroupChange, Grouped, Id};

/// `GET /api/management/v1/inventory/groups`
pub async fn list(State(app): State<Arc<App>>, _: Operator, query: Query) -> Result {
    let status = query.parsed("status")?.into_iter().next();
    Ok(Json(app.store.groups(status).await?).into_response())
}

/// `GET /api/management/v1/inventory/groups/{name}/devices`
pub async fn devices(
    State(app): State<Arc<App>>,
    _: Operator,
    query: Query,
    Params(name): Params<String>,
) -> Result {
    let page = Page::of(&query)?;
    let (devices, total) = app.store.group_devices(&name, page.window()).await?;
    if total == 0 {
        return Err(Refusal::not_found("group"));
    }
    let path = format!("/api/management/v1/inventory/groups/{name}/devices");
    let devices: Vec<String> = devices.iter().map(Id::to_string).collect();
    Ok((page.headers_with_total(&path, &query, total), Json(devices)).into_response())
}

/// `PATCH /api/management/v1/inventory/groups/{name}/devices`
pub async fn add(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(name): Params<String>,
    JsonBody(devices): JsonBody<Vec<String>>,
) -> Result {
    let group = check_name(name)?;
    let updated = app.store.add_to_group(known(&devices)?, group).await?;
    Ok(Json(updated).into_response())
}

/// `DELETE /api/management/v1/inventory/groups/{name}/devices`
pub async fn remove(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(name): Params<String>,
    JsonBody(devices): JsonBody<Vec<String>>,
) -> Result {
    let group = check_name(name)?;
    let updated = app
        .store
        .remove_from_group(Some(known(&devices)?), group)
        .await?;
    Ok(Json(updated).into_response())
}

/// `DELETE /api/management/v1/inventory/groups/{name}`
pub async fn dissolve(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(name): Params<String>,
) -> Result {
    let updated = app.store.remove_from_group(None, check_name(name)?).await?;
    Ok(Json(updated).into_response())
}

/// `GET /api/management/v1/inventory/devices/{id}/group`
pub async fn of_device(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(id): Params<String>,
) -> Result {
    let group = app.store.group_of(find(&id)?).await?.ok_or_else(missing)?;
    Ok(Json(GroupOf { group }).into_response())
}

/// `PUT /api/management/v1/inventory/devices/{id}/group`
pub async fn set(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(id): Params<String>,
    JsonBody(wanted): JsonBody<GroupOf>,
) -> Result {
    let group = check_name(wanted.group.unwrap_or_default())?;
    change(&app, &id, GroupChange::Into(group)).await
}

/// `DELETE /api/management/v1/inventory/devices/{id}/group/{name}`
pub async fn leave(
    State(app): State<Arc<App>>,
    _: Operator,
    Params((id, name)): Params<(String, String)>,
) -> Result {
    change(&app, &id, GroupChange::OutOf(name)).await
}

async fn change(app: &App, id: &str, change: GroupChange) -> Result {
    match app.store.set_group(find(id)?, change).await? {
        Grouped::Done => Ok(StatusCode::NO_CONTENT.into_response()),
        Grouped::Missing => Err(missing()),
    }
}

/// The name of a group, if it can be one.
///
/// # Errors
/// A refusal if not.
pub fn check_name(name: String) -> Result<String> {
    let usable = (1..=256).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if usable {
        Ok(name)
    } else {
        Err(Refusal::bad_request(
            "the name of a group has 1 to 256 letters, digits, '-' and '_'",
        ))
    }
}

fn known(devices: &[String]) -> Result<Vec<Id>> {
    if devices.is_empty() {
        return Err(Refusal::bad_request("no devices are given"));
    }
    let ids = devices
        .iter()
        .map(|id| id.parse())
        .collect::<Result<Vec<Id>, _>>();
    ids.map_err(|_| Refusal::bad_request("ID is not a valid UUID"))
}

fn find(id: &str) -> Result<Id> {
    id.parse().map_err(|_| missing())
}

fn missing() -> Refusal {
    Refusal::not_found("device")
}
