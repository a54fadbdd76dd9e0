//! Which devices are let in.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use futures_util::{Stream, StreamExt};
use http::{StatusCode, header};
use log::info;
use serde::Deserialize;
use serde_json::json;
use tandem_api::Timestamp;
use tandem_api::management::{
    AuthSet, AuthSetStatus, Count, Device, DeviceStatus, ImportProblem, Imported, NewAuthSetStatus,
    Preauthorized,
};

use crate::access::Operator;
use crate::app::App;
use crate::clock::now;
use crate::device_key::DeviceKey;
use crate::identity::Identity;
use crate::paging::Page;
use crate::query::Query;
use crate::reply::{Json, Refusal, Result};
use crate::request::{JsonBody, Params};
use crate::store::{Decision, DeviceFilter, DeviceRow, Id, Preauthorization};

const LIST: &str = "/api/management/v2/devauth/devices";

/// `GET /api/management/v2/devauth/devices`
pub async fn list(State(app): State<Arc<App>>, _: Operator, query: Query) -> Result {
    let page = Page::of(&query)?;
    let filter = DeviceFilter {
        status: query.parsed("status")?,
        ids: known_ids(query.all("id")),
    };
    answer(&app, LIST, &query, page, &filter).await
}

/// A value or a list of values.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// The body of a search.
#[derive(Deserialize)]
pub struct Search {
    status: Option<OneOrMany>,
    id: Option<OneOrMany>,
}

/// `POST /api/management/v2/devauth/devices/search`
pub async fn search(
    State(app): State<Arc<App>>,
    _: Operator,
    query: Query,
    JsonBody(search): JsonBody<Search>,
) -> Result {
    let page = Page::of(&query)?;
    let values = |values: Option<OneOrMany>| match values {
        None => Vec::new(),
        Some(OneOrMany::One(one)) => vec![one],
        Some(OneOrMany::Many(many)) => many,
    };
    let status = values(search.status)
        .iter()
        .map(|text| DeviceStatus::from_str(text))
        .collect::<Result<_, _>>();
    let filter = DeviceFilter {
        status: status.map_err(Refusal::bad_request)?,
        ids: known_ids(values(search.id).iter().map(String::as_str)),
    };
    answer(
        &app,
        "/api/management/v2/devauth/devices/search",
        &query,
        page,
        &filter,
    )
    .await
}

/// `GET /api/management/v2/devauth/devices/count`
pub async fn count(State(app): State<Arc<App>>, _: Operator, query: Query) -> Result {
    let status = query.parsed("status")?.into_iter().next();
    let count = app.store.count_devices(status).await?;
    Ok(Json(Count { count }).into_response())
}

/// `GET /api/management/v2/devauth/devices/{id}`
pub async fn get(State(app): State<Arc<App>>, _: Operator, Params(id): Params<String>) -> Result {
    let device = app.store.device(find(&id)?).await?.ok_or_else(missing)?;
    Ok(Json(show(device)?).into_response())
}

/// `POST /api/management/v2/devauth/devices`
pub async fn preauthorize(
    State(app): State<Arc<App>>,
    _: Operator,
    JsonBody(new): JsonBody<Preauthorized>,
) -> Result {
    match announce(&app, new).await? {
        Preauthorization::Done(id) => {
            let location = format!("{LIST}/{id}");
            Ok((StatusCode::CREATED, [(header::LOCATION, location)]).into_response())
        }
        Preauthorization::Exists(id) => {
            let device = app.store.device(id).await?.ok_or_else(missing)?;
            Ok((StatusCode::CONFLICT, Json(show(device)?)).into_response())
        }
    }
}

/// Devices of one import.
const IMPORT: usize = 10_000;

/// `POST /api/management/v2/devauth/devices/import`
pub async fn import(
    State(app): State<Arc<App>>,
    _: Operator,
    JsonBody(list): JsonBody<Vec<Preauthorized>>,
) -> Result {
    if list.is_empty() || list.len() > IMPORT {
        return Err(Refusal::bad_request(format!(
            "a list has 1 to {IMPORT} devices"
        )));
    }
    let mut all = Imported::default();
    let mut outcomes = std::pin::pin!(announce_all(&app, list).enumerate());
    while let Some((index, outcome)) = outcomes.next().await {
        match problem(outcome)? {
            None => all.imported = all.imported.saturating_add(1),
            Some(error) => all.problems.push(ImportProblem { index, error }),
        }
    }
    Ok(Json(all).into_response())
}

/// Works that the writer gets at once: as many as fit into one of its transactions.
const AT_ONCE: usize = 256;

/// Announces devices, many of them in one transaction; what becomes of each, in their order.
pub fn announce_all(
    app: &App,
    list: Vec<Preauthorized>,
) -> impl Stream<Item = Result<Preauthorization>> {
    futures_util::stream::iter(list)
        .map(|device| announce(app, device))
        .buffered(AT_ONCE)
}

/// Why a device of a list is not expected, for people; `None` if it is.
///
/// # Errors
/// If the server is at fault: then the others need not be tried.
pub fn problem(outcome: Result<Preauthorization>) -> Result<Option<String>> {
    match outcome {
        Ok(Preauthorization::Done(_)) => Ok(None),
        Ok(Preauthorization::Exists(_)) => {
            Ok(Some("there is a device with this identity".to_owned()))
        }
        Err(refusal) if refusal.status().is_server_error() => Err(refusal),
        Err(refusal) => Ok(Some(refusal.message().to_owned())),
    }
}

/// Announces a device, which is let in as soon as it comes.
///
/// # Errors
/// A refusal if identity or key cannot be.
pub async fn announce(app: &App, new: Preauthorized) -> Result<Preauthorization> {
    if new.identity_data.is_empty() {
        return Err(Refusal::bad_request("identity_data must not be empty"));
    }
    let identity = Identity::of(&new.identity_data).map_err(Refusal::bad_request)?;
    let key = DeviceKey::parse(&new.pubkey).map_err(Refusal::bad_request)?;
    let pem = key.pem().to_owned();
    let done = app
        .store
        .preauthorize(identity, pem, new.force, now().millis())
        .await?;
    if let Preauthorization::Done(id) = done {
        info!(device:% = id; "device preauthorized");
    }
    Ok(done)
}

/// `DELETE /api/management/v2/devauth/devices/{id}`
pub async fn decommission(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(id): Params<String>,
) -> Result {
    retire(&app, find(&id)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Forgets a device for good.
///
/// # Errors
/// A refusal if there is no such device.
pub async fn retire(app: &App, id: Id) -> Result<()> {
    if !app.store.decommission(id, now().millis()).await? {
        return Err(missing());
    }
    info!(device:% = id; "device decommissioned");
    Ok(())
}

/// `GET /api/management/v2/devauth/devices/{id}/auth/{aid}/status`
pub async fn status(
    State(app): State<Arc<App>>,
    _: Operator,
    Params((id, auth_set)): Params<(String, String)>,
) -> Result {
    let device = app.store.device(find(&id)?).await?.ok_or_else(missing)?;
    let auth_set = find(&auth_set)?;
    let found = device
        .auth_sets
        .iter()
        .find(|one| one.id == auth_set)
        .ok_or_else(missing)?;
    Ok(Json(json!({"status": found.status})).into_response())
}

/// `PUT /api/management/v2/devauth/devices/{id}/auth/{aid}/status`
pub async fn decide(
    State(app): State<Arc<App>>,
    _: Operator,
    Params((id, auth_set)): Params<(String, String)>,
    JsonBody(wanted): JsonBody<NewAuthSetStatus>,
) -> Result {
    settle(&app, find(&id)?, find(&auth_set)?, wanted.status).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Decides whether a device is let in with a key.
///
/// # Errors
/// A refusal if there is no such key, or this cannot be decided about it.
pub async fn settle(app: &App, id: Id, auth_set: Id, status: AuthSetStatus) -> Result<()> {
    let limits = app.settings.device_limits();
    match app
        .store
        .decide(id, auth_set, status, limits, now().millis())
        .await?
    {
        Decision::Done => {
            info!(device:% = id, auth_set:% = auth_set, status:% = status; "decided about device");
            Ok(())
        }
        Decision::Missing => Err(missing()),
        Decision::Forbidden => Err(Refusal::bad_request(
            "this change of status is not possible",
        )),
        Decision::OverLimit => Err(Refusal::unprocessable(
            "maximum number of accepted devices reached",
        )),
    }
}

/// `DELETE /api/management/v2/devauth/devices/{id}/auth/{aid}`
pub async fn dismiss(
    State(app): State<Arc<App>>,
    _: Operator,
    Params((id, auth_set)): Params<(String, String)>,
) -> Result {
    forget_key(&app, find(&id)?, find(&auth_set)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Forgets a key that a device came with.
///
/// # Errors
/// A refusal if there is no such key.
pub async fn forget_key(app: &App, id: Id, auth_set: Id) -> Result<()> {
    if !app.store.dismiss(id, auth_set, now().millis()).await? {
        return Err(missing());
    }
    info!(device:% = id, auth_set:% = auth_set; "key of device dismissed");
    Ok(())
}

/// `DELETE /api/management/v2/devauth/tokens/{id}`
pub async fn revoke_token(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(id): Params<String>,
) -> Result {
    let missing = || Refusal::not_found("token");
    let id = id.parse().map_err(|_| missing())?;
    if !app.store.revoke_tokens(id).await? {
        return Err(missing());
    }
    info!(auth_set:% = id; "tokens of device revoked");
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /api/management/v2/devauth/limits/{name}`
pub async fn limit(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(name): Params<String>,
) -> Result {
    if name != "max_devices" {
        return Err(Refusal::bad_request("unsupported limit"));
    }
    let limit = app
        .settings
        .max_devices
        .map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    Ok(Json(json!({"limit": limit})).into_response())
}

async fn answer(app: &App, path: &str, query: &Query, page: Page, filter: &DeviceFilter) -> Result {
    let mut devices = app.store.devices(filter, page.peek()).await?;
    let more = page.trim(&mut devices);
    let devices = devices
        .into_iter()
        .map(show)
        .collect::<Result<Vec<Device>>>()?;
    Ok((page.headers(path, query, more), Json(devices)).into_response())
}

/// The devices that are asked for; what is no identifier cannot be one of them.
fn known_ids<'a>(texts: impl Iterator<Item = &'a str>) -> Option<Vec<Id>> {
    let texts: Vec<&str> = texts.collect();
    (!texts.is_empty()).then(|| texts.iter().filter_map(|text| text.parse().ok()).collect())
}

fn find(id: &str) -> Result<Id> {
    id.parse().map_err(|_| missing())
}

fn missing() -> Refusal {
    Refusal::not_found("device")
}

fn show(device: DeviceRow) -> Result<Device> {
    let identity: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&device.identity).map_err(|err| Refusal::internal(&err))?;
    Ok(Device {
        id: device.id.to_string(),
        status: device.status,
        created_ts: Timestamp::from_millis(device.created),
        updated_ts: Timestamp::from_millis(device.updated),
        check_in_time: device.check_in.map(Timestamp::from_millis),
        auth_sets: device
            .auth_sets
            .into_iter()
            .map(|set| AuthSet {
                id: set.id.to_string(),
                identity_data: identity.clone(),
                pubkey: set.pubkey,
                status: set.status,
                ts: Timestamp::from_millis(set.created),
            })
            .collect(),
        identity_data: identity,
        decommissioning: false,
    })
}
