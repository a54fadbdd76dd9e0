//! Deployments.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::{StatusCode, header};
use log::info;
use serde::Deserialize;
use serde_json::{Value, json};
use tandem_api::management::{
    Deployment, DeploymentFilter as DeploymentTarget, DeploymentState, NewDeployment, Statistics,
    StatisticsOf,
};
use tandem_api::{DeploymentStatus, Timestamp};

use crate::access::Operator;
use crate::app::App;
use crate::clock::now;
use crate::management::groups::check_name;
use crate::management::rollouts::{phases, rollout, to_make};
use crate::paging::Page;
use crate::query::Query;
use crate::reply::{Json, Refusal, Result};
use crate::request::{JsonBody, Params};
use crate::store::{
    Abort, Created, DeploymentFilter, DeploymentRow, DeploymentToMake, Id, StateFilter, Targets,
};

/// A deployment that may still be given to somebody.
pub(super) const ACTIVE: [DeploymentState; 2] =
    [DeploymentState::Pending, DeploymentState::InProgress];

/// What Mender's paid servers know and this version does not; to do as if would be worse than to refuse.
const UNSUPPORTED: [&str; 2] = ["autogenerate_delta", "update_control_map"];

/// `POST /api/management/v1/deployments/deployments`, and v2
pub async fn post(
    State(app): State<Arc<App>>,
    _: Operator,
    JsonBody(new): JsonBody<NewDeployment>,
) -> Result {
    let targets = match (&new.filter_id, new.devices.as_slice(), new.all_devices) {
        (Some(id), [], false) => Targets::Filter(filter_of(&app, id).await?),
        (None, [], true) => Targets::All,
        (None, [_, ..], false) => {
            let ids = new
                .devices
                .iter()
                .map(|id| id.parse())
                .collect::<Result<Vec<Id>, _>>();
            Targets::Devices(ids.map_err(|_| Refusal::bad_request("ID is not a valid UUID"))?)
        }
        (None, [], false) => {
            return Err(Refusal::bad_request(
                "devices, all_devices or filter_id must be given",
            ));
        }
        (_, _, _) => {
            return Err(Refusal::bad_request(
                "devices, all_devices and filter_id exclude each other",
            ));
        }
    };
    create(&app, new, targets).await
}

/// A saved filter as a deployment keeps it.
///
/// # Errors
/// A refusal if there is no such filter.
pub(super) async fn filter_of(app: &App, id: &str) -> Result<DeploymentTarget> {
    let id: Id = id
        .parse()
        .map_err(|_| Refusal::bad_request("ID is not a valid UUID"))?;
    let filter = app.store.filter(id).await?;
    let filter = filter.ok_or_else(|| Refusal::unprocessable("there is no such filter"))?;
    Ok(DeploymentTarget {
        id: filter.id.to_string(),
        name: filter.name,
        terms: filter.terms,
    })
}

/// `POST /api/management/v1/deployments/deployments/group/{name}`
pub async fn post_group(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(group): Params<String>,
    JsonBody(new): JsonBody<NewDeployment>,
) -> Result {
    if !new.devices.is_empty() || new.all_devices || new.filter_id.is_some() {
        return Err(Refusal::bad_request(
            "a deployment to a group has no devices of its own",
        ));
    }
    let group = check_name(group)?;
    create(&app, new, Targets::Group(group)).await
}

async fn create(app: &App, new: NewDeployment, targets: Targets) -> Result {
    if let Some(field) = UNSUPPORTED
        .into_iter()
        .find(|field| new.unknown.get(*field).is_some_and(asks_for_something))
    {
        return Err(Refusal::unprocessable(format!("{field} is not supported")));
    }
    let id = make(app, to_make(new, targets)?).await?;
    let location = format!("/api/management/v1/deployments/deployments/{id}");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)]).into_response())
}

/// Makes a deployment; its identifier.
///
/// # Errors
/// A refusal if it cannot be, or there is such a one.
pub async fn make(app: &App, new: DeploymentToMake) -> Result<Id> {
    if !(1..=256).contains(&new.name.len()) {
        return Err(Refusal::bad_request(
            "the name of a deployment has 1 to 256 bytes",
        ));
    }
    if !(1..=4096).contains(&new.artifact_name.len()) {
        return Err(Refusal::bad_request(
            "the name of an artifact has 1 to 4096 bytes",
        ));
    }
    let (name, artifact) = (new.name.clone(), new.artifact_name.clone());
    match app.store.create_deployment(new, now().millis()).await? {
        Created::Done(id) => {
            info!(deployment:% = id, name:% = name, artifact:% = artifact; "deployment made");
            Ok(id)
        }
        Created::NoArtifact => Err(Refusal::unprocessable("No artifact for the deployment")),
        Created::NoDevices => Err(Refusal::bad_request("No devices for the deployment")),
        Created::Exists => Err(Refusal::conflict(
            "An active deployment with the same parameters already exists",
        )),
        Created::Refused(why) => Err(Refusal::bad_request(why)),
    }
}

fn asks_for_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

/// `GET /api/management/v1/deployments/deployments`
pub async fn list(State(app): State<Arc<App>>, _: Operator, query: Query) -> Result {
    let filter = DeploymentFilter {
        search: query
            .one("search")
            .filter(|text| !text.is_empty())
            .map(ToOwned::to_owned),
        ..filter(&query)?
    };
    answer(
        &app,
        "/api/management/v1/deployments/deployments",
        &query,
        filter,
    )
    .await
}

/// `GET /api/management/v2/deployments/deployments`
pub async fn list_v2(State(app): State<Arc<App>>, _: Operator, query: Query) -> Result {
    let ids = query
        .all("id")
        .map(|id| id.parse())
        .collect::<Result<Vec<Id>, _>>();
    let filter = DeploymentFilter {
        ids: ids.map_err(|_| Refusal::bad_request("ID is not a valid UUID"))?,
        names: query.all("name").map(ToOwned::to_owned).collect(),
        ..filter(&query)?
    };
    answer(
        &app,
        "/api/management/v2/deployments/deployments",
        &query,
        filter,
    )
    .await
}

/// `GET /api/management/v1/deployments/deployments/{id}`
pub async fn get(State(app): State<Arc<App>>, _: Operator, Params(id): Params<Id>) -> Result {
    let deployment = app.store.deployment(id).await?.ok_or_else(missing)?;
    Ok(Json(show(deployment)).into_response())
}

/// `GET /api/management/v1/deployments/deployments/{id}/statistics`
pub async fn statistics(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(id): Params<Id>,
) -> Result {
    let deployment = app.store.deployment(id).await?.ok_or_else(missing)?;
    Ok(Json(counters(&deployment)).into_response())
}

/// The body of a question for statistics.
#[derive(Deserialize)]
pub struct Wanted {
    #[serde(default)]
    deployment_ids: Vec<String>,
}

/// `POST /api/management/v1/deployments/deployments/statistics/list`
pub async fn statistics_list(
    State(app): State<Arc<App>>,
    _: Operator,
    JsonBody(wanted): JsonBody<Wanted>,
) -> Result {
    if wanted.deployment_ids.is_empty() {
        return Ok(Json(json!({})).into_response());
    }
    let ids = wanted
        .deployment_ids
        .iter()
        .map(|id| id.parse())
        .collect::<Result<Vec<Id>, _>>();
    let ids = ids.map_err(|_| Refusal::bad_request("ID is not a valid UUID"))?;
    if ids.len() > 100 {
        return Err(Refusal::bad_request("at most 100 deployments may be given"));
    }
    let filter = DeploymentFilter {
        ids,
        ..DeploymentFilter::default()
    };
    let (deployments, _) = app
        .store
        .deployments(&filter, Page::first(100).window())
        .await?;
    if deployments.is_empty() {
        return Err(missing());
    }
    let statistics: Vec<StatisticsOf> = deployments
        .iter()
        .map(|deployment| StatisticsOf {
            id: deployment.id.to_string(),
            stats: counters(deployment),
        })
        .collect();
    Ok(Json(statistics).into_response())
}

/// The body of a change.
#[derive(Deserialize)]
pub struct NewStatus {
    status: String,
}

/// `PUT /api/management/v1/deployments/deployments/{id}/status`
pub async fn abort(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(id): Params<Id>,
    JsonBody(new): JsonBody<NewStatus>,
) -> Result {
    if new.status != "aborted" {
        return Err(Refusal::bad_request("a deployment can only be aborted"));
    }
    stop(&app, id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Aborts a deployment.
///
/// # Errors
/// A refusal if there is no such deployment, or it has ended.
pub async fn stop(app: &App, id: Id) -> Result<()> {
    match app.store.abort_deployment(id, now().millis()).await? {
        Abort::Done => {
            info!(deployment:% = id; "deployment aborted");
            Ok(())
        }
        Abort::Missing => Err(missing()),
        Abort::Finished => Err(Refusal::unprocessable("Deployment already finished")),
    }
}

async fn answer(app: &App, path: &str, query: &Query, filter: DeploymentFilter) -> Result {
    let page = Page::of(query)?;
    if query.one("type").is_some_and(|kind| kind != "software") {
        let none: [Deployment; 0] = [];
        return Ok((page.headers_with_total(path, query, 0), Json(none)).into_response());
    }
    let (deployments, total) = app.store.deployments(&filter, page.window()).await?;
    let deployments: Vec<Deployment> = deployments.into_iter().map(show).collect();
    Ok((
        page.headers_with_total(path, query, total),
        Json(deployments),
    )
        .into_response())
}

fn filter(query: &Query) -> Result<DeploymentFilter> {
    let time = |name: &str| -> Result<Option<i64>> {
        let seconds: Option<i64> = query.number(name)?;
        Ok(seconds.map(|seconds| Timestamp::from_seconds(seconds).millis()))
    };
    Ok(DeploymentFilter {
        state: match query.one("status") {
            None | Some("") => None,
            Some("pending") => Some(StateFilter::Is(DeploymentState::Pending)),
            Some("inprogress") => Some(StateFilter::Is(DeploymentState::InProgress)),
            Some("finished") => Some(StateFilter::Is(DeploymentState::Finished)),
            Some("aborted") => Some(StateFilter::Aborted),
            Some(other) => return Err(Refusal::bad_request(format!("unknown status {other:?}"))),
        },
        created_after: time("created_after")?,
        created_before: time("created_before")?,
        ascending: match query.one("sort") {
            None | Some("" | "desc") => false,
            Some("asc") => true,
            Some(other) => {
                return Err(Refusal::bad_request(format!(
                    "an order is asc or desc, not {other:?}"
                )));
            }
        },
        ..DeploymentFilter::default()
    })
}

/// How many devices have which status, with those that none has.
fn counters(deployment: &DeploymentRow) -> BTreeMap<DeploymentStatus, u64> {
    DeploymentStatus::ALL
        .into_iter()
        .map(|status| {
            (
                status,
                deployment
                    .statistics
                    .get(&status)
                    .copied()
                    .unwrap_or_default(),
            )
        })
        .collect()
}

/// A deployment as it goes over the wire.
pub(super) fn show(deployment: DeploymentRow) -> Deployment {
    let status = counters(&deployment);
    let time = now().millis();
    Deployment {
        phases: phases(&deployment, time),
        rollout: Some(rollout(&deployment, time)),
        retries: deployment.plan.retries,
        id: deployment.id.to_string(),
        name: deployment.name,
        artifact_name: deployment.artifact_name,
        created: Timestamp::from_millis(deployment.created),
        finished: deployment.finished.map(Timestamp::from_millis),
        status: deployment.state,
        device_count: status.values().copied().fold(0, u64::saturating_add),
        max_devices: deployment.max_devices,
        artifacts: deployment.artifacts.iter().map(Id::to_string).collect(),
        groups: deployment.group.into_iter().collect(),
        kind: "software".to_owned(),
        force_installation: deployment.forced,
        filter: deployment.filter,
        statistics: Some(Statistics {
            status,
            total_size: deployment.total_size,
        }),
    }
}

/// There is no such deployment.
pub fn missing() -> Refusal {
    Refusal::not_found("deployment")
}
