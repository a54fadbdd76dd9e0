//! Artifacts: what there is, and getting rid of it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use log::info;
use serde::Deserialize;
use serde_json::json;
use tandem_api::Timestamp;
use tandem_api::management::{Artifact, ArtifactLink};

use crate::access::Operator;
use crate::app::App;
use crate::clock::now;
use crate::link;
use crate::paging::Page;
use crate::query::Query;
use crate::reply::{Json, Refusal, Result};
use crate::request::{BaseUrl, JsonBody, Params};
use crate::store::{ArtifactFilter, Changed, Id, StoredArtifact};

/// Bytes of a description.
const DESCRIPTION: usize = 4096;

/// `GET /api/management/v1/deployments/artifacts`
pub async fn list(State(app): State<Arc<App>>, _: Operator, query: Query) -> Result {
    let artifacts = app.store.artifacts(&filter_v1(&query)).await?;
    Ok(Json(show(artifacts)).into_response())
}

/// `GET /api/management/v1/deployments/artifacts/list`
pub async fn list_paged(State(app): State<Arc<App>>, _: Operator, query: Query) -> Result {
    let page = Page::lenient(&query)?;
    let mut artifacts = app.store.artifacts(&filter_v1(&query)).await?;
    match query.one("sort").unwrap_or("modified:desc") {
        "name" | "name:asc" => artifacts.sort_by(|one, other| one.name.cmp(&other.name)),
        "name:desc" => artifacts.sort_by(|one, other| other.name.cmp(&one.name)),
        "modified:asc" => artifacts.reverse(),
        "modified" | "modified:desc" => {}
        other => return Err(Refusal::bad_request(format!("cannot sort by {other:?}"))),
    }
    let total = u64::try_from(artifacts.len()).unwrap_or(u64::MAX);
    let headers = page.headers_with_total(
        "/api/management/v1/deployments/artifacts/list",
        &query,
        total,
    );
    Ok((headers, Json(show(page.cut(artifacts)))).into_response())
}

/// `GET /api/management/v2/deployments/artifacts`
pub async fn list_v2(State(app): State<Arc<App>>, _: Operator, query: Query) -> Result {
    let page = Page::lenient(&query)?;
    let (names, name_prefix) = names(&query)?;
    let filter = ArtifactFilter {
        names,
        name_prefix,
        ..filter_v1(&query)
    };
    let artifacts = app.store.artifacts(&filter).await?;
    let total = i64::try_from(artifacts.len()).unwrap_or(i64::MAX);
    let window = page.window();
    let more = total > window.offset.saturating_add(window.limit);
    let headers = page.headers("/api/management/v2/deployments/artifacts", &query, more);
    Ok((headers, Json(show(page.cut(artifacts)))).into_response())
}

/// `GET /api/management/v1/deployments/artifacts/{id}`
pub async fn get(State(app): State<Arc<App>>, _: Operator, Params(id): Params<Id>) -> Result {
    let artifact = app.store.artifact(id).await?.ok_or_else(missing)?;
    Ok(Json(Artifact::from(artifact)).into_response())
}

/// The body of a change.
#[derive(Deserialize)]
pub struct Description {
    #[serde(default)]
    description: String,
}

/// `PUT /api/management/v1/deployments/artifacts/{id}`
pub async fn put(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(id): Params<Id>,
    JsonBody(new): JsonBody<Description>,
) -> Result {
    if new.description.len() > DESCRIPTION {
        return Err(Refusal::bad_request(format!(
            "a description has at most {DESCRIPTION} bytes"
        )));
    }
    match app
        .store
        .describe_artifact(id, new.description, now().millis())
        .await?
    {
        Changed::Done => Ok(StatusCode::NO_CONTENT.into_response()),
        Changed::Missing => Err(missing()),
        Changed::InUse => Err(Refusal::unprocessable("Artifact is used in a deployment")),
    }
}

/// `DELETE /api/management/v1/deployments/artifacts/{id}`
pub async fn delete(State(app): State<Arc<App>>, _: Operator, Params(id): Params<Id>) -> Result {
    remove(&app, id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Deletes an artifact, unless a deployment needs it.
///
/// # Errors
/// A refusal if there is no such artifact, or one does.
pub async fn remove(app: &App, id: Id) -> Result<()> {
    match app.store.remove_artifact(id).await? {
        Changed::Done => {}
        Changed::Missing => return Err(missing()),
        Changed::InUse => return Err(Refusal::conflict("Artifact is used in active deployment")),
    }
    app.blobs.remove(id).await;
    info!(artifact:% = id; "artifact deleted");
    Ok(())
}

/// `GET /api/management/v1/deployments/artifacts/{id}/download`
pub async fn download(
    State(app): State<Arc<App>>,
    _: Operator,
    base: BaseUrl,
    Params(id): Params<Id>,
) -> Result {
    let (path, expire) = link_to(&app, id).await?;
    let uri = format!("{}{path}", base.0);
    Ok(Json(ArtifactLink { uri, expire }).into_response())
}

/// The path by which anybody can download an artifact for some time, and until when.
///
/// # Errors
/// A refusal if there is no such artifact.
pub async fn link_to(app: &App, id: Id) -> Result<(String, Timestamp)> {
    let artifact = app.store.artifact(id).await?.ok_or_else(missing)?;
    let expire = now().plus_millis(link::FOR_OPERATORS);
    let path = format!("/api/management/v1/download/{}", artifact.id);
    Ok((link::sign(app.keys.links(), &path, expire), expire))
}

/// `GET /api/management/v1/deployments/limits/storage`
pub async fn storage(State(app): State<Arc<App>>, _: Operator) -> Result {
    let usage = app.store.artifact_bytes().await?;
    Ok(Json(json!({"limit": 0, "usage": usage})).into_response())
}

fn filter_v1(query: &Query) -> ArtifactFilter {
    let one = |name: &str| {
        query
            .one(name)
            .filter(|text| !text.is_empty())
            .map(ToOwned::to_owned)
    };
    ArtifactFilter {
        names: one("name").into_iter().collect(),
        name_prefix: None,
        description: one("description"),
        device_type: one("device_type"),
    }
}

/// Names, or the beginning of names: `prefix*`, where `\*` stands for a star itself.
pub(super) fn names(query: &Query) -> Result<(Vec<String>, Option<String>)> {
    let names: Vec<&str> = query.all("name").collect();
    if names.len() > 100 {
        return Err(Refusal::bad_request("at most 100 names may be given"));
    }
    if let [name] = names.as_slice()
        && let Some(prefix) = name.strip_suffix('*')
        && !prefix.ends_with('\\')
    {
        return Ok((Vec::new(), Some(prefix.replace("\\*", "*"))));
    }
    Ok((
        names.iter().map(|name| name.replace("\\*", "*")).collect(),
        None,
    ))
}

fn show(artifacts: Vec<StoredArtifact>) -> Vec<Artifact> {
    artifacts.into_iter().map(Artifact::from).collect()
}

/// There is no such artifact.
pub fn missing() -> Refusal {
    Refusal::not_found("artifact")
}
