//! Releases: artifacts grouped by their name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use tandem_api::Timestamp;
use tandem_api::management::{Release, ReleaseV1};

use crate::access::Operator;
use crate::app::App;
use crate::clock::now;
use crate::management::artifacts::names;
use crate::paging::{Page, Window};
use crate::query::Query;
use crate::reply::{Json, Refusal, Result};
use crate::request::{JsonBody, Params};
use crate::store::{
    ArtifactFilter, Changed, DeploymentFilter, StateFilter, StoredArtifact, Tagged,
};

/// Bytes of notes, tags of one release, and different tags of all.
const NOTES: usize = 1024;
const TAGS: usize = 20;
const ALL_TAGS: i64 = 100;

/// `GET /api/management/v1/deployments/deployments/releases`
pub async fn list_v1(State(app): State<Arc<App>>, _: Operator, query: Query) -> Result {
    let releases: Vec<ReleaseV1> = find_v1(&app, &query)
        .await?
        .into_iter()
        .map(ReleaseV1::from)
        .collect();
    Ok(Json(releases).into_response())
}

/// `GET /api/management/v1/deployments/deployments/releases/list`
pub async fn list_v1_paged(State(app): State<Arc<App>>, _: Operator, query: Query) -> Result {
    let page = Page::lenient(&query)?;
    let releases = find_v1(&app, &query).await?;
    let total = u64::try_from(releases.len()).unwrap_or(u64::MAX);
    let headers = page.headers_with_total(
        "/api/management/v1/deployments/deployments/releases/list",
        &query,
        total,
    );
    let releases: Vec<ReleaseV1> = page
        .cut(releases)
        .into_iter()
        .map(ReleaseV1::from)
        .collect();
    Ok((headers, Json(releases)).into_response())
}

/// `GET /api/management/v2/deployments/deployments/releases`
pub async fn list_v2(State(app): State<Arc<App>>, _: Operator, query: Query) -> Result {
    let page = Page::lenient(&query)?;
    let (names, name_prefix) = names(&query)?;
    let filter = ArtifactFilter {
        names,
        name_prefix,
        ..ArtifactFilter::default()
    };
    let mut releases = find(&app, &filter, &query).await?;
    let tags: BTreeSet<String> = query.all("tag").map(str::to_lowercase).collect();
    releases.retain(|release| tags.is_empty() || release.tags.iter().any(|tag| tags.contains(tag)));
    let total = u64::try_from(releases.len()).unwrap_or(u64::MAX);
    let headers = page.headers_with_total(
        "/api/management/v2/deployments/deployments/releases",
        &query,
        total,
    );
    Ok((headers, Json(page.cut(releases))).into_response())
}

/// `GET /api/management/v2/deployments/deployments/releases/{name}`
pub async fn get(State(app): State<Arc<App>>, _: Operator, Params(name): Params<String>) -> Result {
    Ok(Json(one(&app, name).await?).into_response())
}

/// The body of a change.
#[derive(Deserialize)]
pub struct Notes {
    #[serde(default)]
    notes: String,
}

/// `PATCH /api/management/v2/deployments/deployments/releases/{name}`
pub async fn patch(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(name): Params<String>,
    JsonBody(new): JsonBody<Notes>,
) -> Result {
    if new.notes.chars().count() > NOTES {
        return Err(Refusal::bad_request(format!(
            "notes have at most {NOTES} characters"
        )));
    }
    one(&app, name.clone()).await?;
    app.store.set_release_notes(name, new.notes).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `PUT /api/management/v2/deployments/deployments/releases/{name}/tags`
pub async fn put_tags(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(name): Params<String>,
    JsonBody(tags): JsonBody<Vec<String>>,
) -> Result {
    let usable = |tag: &String| {
        (1..=1024).contains(&tag.len())
            && tag
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    if tags.len() > TAGS || !tags.iter().all(usable) {
        let limits =
            format!("a release has at most {TAGS} tags of letters, digits, '.', '_' and '-'");
        return Err(Refusal::bad_request(limits));
    }
    one(&app, name.clone()).await?;
    let tags: BTreeSet<String> = tags.iter().map(|tag| tag.to_lowercase()).collect();
    match app
        .store
        .set_release_tags(name, tags.into_iter().collect(), ALL_TAGS, now().millis())
        .await?
    {
        Tagged::Done => Ok(StatusCode::NO_CONTENT.into_response()),
        Tagged::TooMany => Err(Refusal::conflict(format!(
            "there may be {ALL_TAGS} different tags"
        ))),
    }
}

/// `DELETE /api/management/v2/deployments/deployments/releases`
pub async fn delete(State(app): State<Arc<App>>, _: Operator, query: Query) -> Result {
    let names: Vec<String> = query.all("name").map(ToOwned::to_owned).collect();
    if names.is_empty() || names.len() > 100 {
        return Err(Refusal::bad_request("1 to 100 names must be given"));
    }
    let active = active(&app, &names).await?;
    if !active.is_empty() {
        let refusal = Refusal::conflict("a release is used in active deployments");
        return Err(refusal.member("active_deployments", json!(active)));
    }
    let filter = ArtifactFilter {
        names,
        ..ArtifactFilter::default()
    };
    for artifact in app.store.artifacts(&filter).await? {
        match app.store.remove_artifact(artifact.id).await? {
            Changed::Done => app.blobs.remove(artifact.id).await,
            Changed::Missing => {}
            // Made at this moment.
            Changed::InUse => {
                return Err(Refusal::conflict("a release is used in active deployments"));
            }
        }
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /api/management/v2/deployments/releases/all/tags`
pub async fn all_tags(State(app): State<Arc<App>>, _: Operator) -> Result {
    let notes = app.store.release_notes().await?;
    let tags: BTreeSet<String> = notes.into_values().flat_map(|notes| notes.tags).collect();
    Ok(Json(tags).into_response())
}

/// `GET /api/management/v2/deployments/releases/all/types`
pub async fn all_types(State(app): State<Arc<App>>, _: Operator) -> Result {
    let artifacts = app.store.artifacts(&ArtifactFilter::default()).await?;
    let types: BTreeSet<String> = artifacts
        .into_iter()
        .filter_map(|artifact| artifact.content.payload_type)
        .collect();
    Ok(Json(types).into_response())
}

async fn find_v1(app: &App, query: &Query) -> Result<Vec<Release>> {
    let mut releases = find(app, &ArtifactFilter::default(), query).await?;
    if let Some(name) = query.one("name").map(str::to_lowercase) {
        releases.retain(|release| release.name.to_lowercase().contains(&name));
    }
    Ok(releases)
}

/// Releases of the artifacts that fit, in the order that is asked for.
async fn find(app: &App, filter: &ArtifactFilter, query: &Query) -> Result<Vec<Release>> {
    let one = |name: &str| {
        query
            .one(name)
            .filter(|text| !text.is_empty())
            .map(ToOwned::to_owned)
    };
    let filter = ArtifactFilter {
        description: one("description"),
        device_type: one("device_type"),
        ..filter.clone()
    };
    let mut artifacts = app.store.artifacts(&filter).await?;
    if let Some(kind) = query.one("update_type") {
        artifacts.retain(|artifact| artifact.content.payload_type.as_deref() == Some(kind));
    }
    let mut releases = group(artifacts, &mut app.store.release_notes().await?);
    let (key, direction) = match query.one("sort").unwrap_or("modified:desc").split_once(':') {
        Some((key, direction)) => (key, direction),
        None => (query.one("sort").unwrap_or_default(), "desc"),
    };
    match key {
        "name" => releases.sort_by(|one, other| one.name.cmp(&other.name)),
        "modified" => releases.sort_by_key(|release| release.modified),
        "artifacts_count" => releases.sort_by_key(|release| release.artifacts_count),
        "tags" => releases.sort_by(|one, other| one.tags.cmp(&other.tags)),
        other => return Err(Refusal::bad_request(format!("cannot sort by {other:?}"))),
    }
    match direction {
        "asc" => {}
        "desc" => releases.reverse(),
        other => {
            return Err(Refusal::bad_request(format!(
                "an order is asc or desc, not {other:?}"
            )));
        }
    }
    Ok(releases)
}

fn group(
    artifacts: Vec<StoredArtifact>,
    notes: &mut BTreeMap<String, crate::store::ReleaseNotes>,
) -> Vec<Release> {
    let mut by_name: BTreeMap<String, Vec<StoredArtifact>> = BTreeMap::new();
    for artifact in artifacts {
        by_name
            .entry(artifact.name.clone())
            .or_default()
            .push(artifact);
    }
    let release = |(name, artifacts): (String, Vec<StoredArtifact>)| {
        let notes = notes.remove(&name).unwrap_or_default();
        let modified = artifacts
            .iter()
            .map(|artifact| artifact.modified)
            .max()
            .unwrap_or_default();
        Release {
            name,
            modified: Timestamp::from_millis(modified),
            tags: notes.tags,
            notes: notes.notes,
            artifacts_count: u64::try_from(artifacts.len()).unwrap_or(u64::MAX),
            artifacts: artifacts.into_iter().map(Into::into).collect(),
        }
    };
    by_name.into_iter().map(release).collect()
}

async fn one(app: &App, name: String) -> Result<Release> {
    let filter = ArtifactFilter {
        names: vec![name],
        ..ArtifactFilter::default()
    };
    let artifacts = app.store.artifacts(&filter).await?;
    let mut releases = group(artifacts, &mut app.store.release_notes().await?);
    releases.pop().ok_or_else(|| Refusal::not_found("release"))
}

/// The active deployments of any of these releases.
async fn active(app: &App, names: &[String]) -> Result<Vec<String>> {
    let mut active = Vec::new();
    for state in super::deployments::ACTIVE {
        let filter = DeploymentFilter {
            state: Some(StateFilter::Is(state)),
            ..DeploymentFilter::default()
        };
        let window = Window {
            offset: 0,
            limit: 10_000,
        };
        let (deployments, _) = app.store.deployments(&filter, window).await?;
        let fitting = deployments
            .into_iter()
            .filter(|one| names.contains(&one.artifact_name));
        active.extend(fitting.map(|one| one.id.to_string()));
    }
    Ok(active)
}
