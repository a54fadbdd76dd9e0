//! The list of releases, and uploading one.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use http::{StatusCode, header};

use super::answer::{page, see_other};
use super::frame::{Frame, Section};
use super::wording::{Moment, escape, grouped, inert};
use crate::access::Operator;
use crate::admin::output::size;
use crate::app::App;
use crate::clock::now;
use crate::management::upload::take;
use crate::query::Query;
use crate::reply::{Json, Result};
use crate::request::BaseUrl;
use crate::store::{ArtifactFilter, Id, StoredArtifact};

/// Artifacts on the page. There are hundreds at most.
const LISTED: usize = 1000;

#[derive(Template)]
#[template(path = "releases.html")]
struct Releases {
    frame: Frame,
    search: String,
    releases: Vec<Release>,
    stored: String,
    /// The release that most devices run, of those that are here.
    hint: String,
    keys: bool,
    url: String,
}

/// The artifacts of one name.
struct Release {
    name: String,
    deploy: String,
    /// How many devices say they have it.
    devices: String,
    devices_href: String,
    artifacts: Vec<Line>,
}

/// An artifact on the list.
pub(super) struct Line {
    pub(super) id: Id,
    pub(super) types: String,
    pub(super) payload: String,
    pub(super) size: String,
    pub(super) signed: bool,
    pub(super) description: String,
    pub(super) modified: Moment,
}

impl Line {
    pub(super) fn new(artifact: &StoredArtifact, now: i64) -> Self {
        Self {
            id: artifact.id,
            types: inert(&artifact.content.device_types().join(", "), 120),
            payload: inert(
                artifact
                    .content
                    .payload_type
                    .as_deref()
                    .unwrap_or("no payload"),
                60,
            ),
            size: size(artifact.size),
            signed: artifact.content.signed,
            description: inert(&artifact.description, 200),
            modified: Moment::new(artifact.modified, now),
        }
    }
}

/// `GET /releases`
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    operator: Operator,
    base: BaseUrl,
    query: Query,
) -> Result {
    let frame = Frame::new(&app, operator, Section::Releases, &query).await?;
    let search = query.one("q").unwrap_or_default().trim().to_lowercase();
    let mut artifacts = app.store.artifacts(&ArtifactFilter::default()).await?;
    artifacts.retain(|one| {
        one.name.to_lowercase().contains(&search)
            || one.description.to_lowercase().contains(&search)
    });
    let in_use: BTreeMap<String, u64> = app
        .store
        .releases_in_use()
        .await?
        .into_iter()
        .filter_map(|one| Some((one.name?, one.devices)))
        .collect();
    let hint = in_use
        .iter()
        .filter(|(name, _)| artifacts.iter().any(|one| one.name == **name))
        .max_by_key(|(_, devices)| **devices);
    let hint = hint.map_or_else(String::new, |(name, _)| inert(name, 100));
    let time = now().millis();
    let mut releases: Vec<(String, Release)> = Vec::new();
    for artifact in artifacts.iter().take(LISTED) {
        let line = Line::new(artifact, time);
        if let Some((_, release)) = releases.iter_mut().find(|(name, _)| *name == artifact.name) {
            release.artifacts.push(line);
            continue;
        }
        let devices = in_use.get(&artifact.name).copied().unwrap_or(0);
        let release = Release {
            name: inert(&artifact.name, 100),
            deploy: format!("/deployments/new?release={}", escape(&artifact.name)),
            devices: grouped(devices),
            devices_href: format!("/devices?release={}", escape(&artifact.name)),
            artifacts: vec![line],
        };
        releases.push((artifact.name.clone(), release));
    }
    page(&Releases {
        frame,
        search: inert(&search, 256),
        releases: releases.into_iter().map(|(_, release)| release).collect(),
        hint,
        stored: size(app.store.artifact_bytes().await?),
        keys: app.settings.verification.is_on(),
        url: base.0,
    })
}

/// `POST /releases`: an upload, by the form or by the script.
pub(crate) async fn post(State(app): State<Arc<App>>, _: Operator, request: Request) -> Result {
    let script = request
        .headers()
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.as_bytes() == b"application/json");
    let id = take(&app, request).await?;
    let path = format!("/releases/{id}?done=uploaded");
    if script {
        let answer = Json(serde_json::json!({"path": path}));
        return Ok((StatusCode::CREATED, answer).into_response());
    }
    Ok(see_other(&path))
}
