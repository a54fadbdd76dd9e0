//! The page of one artifact.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;

use super::answer::{page, see_other};
use super::form::Form;
use super::frame::{Frame, Section};
use super::preview::{Preview, preview};
use super::releases::Line;
use super::wording::{escape, groups_of_eight, inert, inert_lines};
use crate::access::Operator;
use crate::admin::output::size;
use crate::app::App;
use crate::clock::now;
use crate::framing::is_rootfs_image;
use crate::management::artifacts::{link_to, missing, remove};
use crate::management::reframing::reframe;
use crate::query::Query;
use crate::reply::{Refusal, Result};
use crate::request::Params;
use crate::store::{ArtifactFilter, Id, Targets};

/// Files of a payload that are listed, bytes of meta-data that are shown.
const FILES: usize = 200;
const META_DATA: usize = 64 << 10;

#[derive(Template)]
#[template(path = "release.html")]
struct ReleasePage {
    frame: Frame,
    name: String,
    line: Line,
    sha256: String,
    /// What is known about the signature.
    signature: &'static str,
    signature_class: &'static str,
    files: Vec<File>,
    hidden_files: usize,
    provides: Vec<(String, String)>,
    depends: Vec<(String, String)>,
    clears: String,
    meta_data: String,
    deploy: String,
    /// It can be put into frames, as far as one can see.
    may_be_framed: bool,
    preview: Preview,
    siblings: Vec<Line>,
}

struct File {
    name: String,
    size: String,
    sha256: String,
}

/// `GET /releases/{id}`
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    operator: Operator,
    query: Query,
    Params(id): Params<Id>,
) -> Result {
    let frame = Frame::new(&app, operator, Section::Releases, &query).await?;
    let artifact = app.store.artifact(id).await?.ok_or_else(missing)?;
    let time = now().millis();
    let filter = ArtifactFilter {
        names: vec![artifact.name.clone()],
        ..ArtifactFilter::default()
    };
    let siblings = app.store.artifacts(&filter).await?;
    let content = &artifact.content;
    let (signature, signature_class) = match (content.signed, app.settings.verification.is_on()) {
        (true, true) => ("Signed, checked by this server when it was uploaded", "ok"),
        (true, false) => (
            "Signed; this server has no key to check it, devices do",
            "ok",
        ),
        (false, _) => (
            "Not signed: only devices that allow unsigned artifacts install it",
            "warn",
        ),
    };
    page(&ReleasePage {
        frame,
        name: inert(&artifact.name, 100),
        line: Line::new(&artifact, time),
        sha256: groups_of_eight(&artifact.sha256),
        signature,
        signature_class,
        files: content
            .files
            .iter()
            .take(FILES)
            .map(|file| File {
                name: inert(&file.name, 200),
                size: size(file.size),
                sha256: groups_of_eight(&file.sha256),
            })
            .collect(),
        hidden_files: content.files.len().saturating_sub(FILES),
        provides: content
            .provides
            .iter()
            .map(|(key, value)| (inert(key, 120), inert(value, 200)))
            .collect(),
        depends: content
            .depends
            .iter()
            .map(|(key, values)| (inert(key, 120), inert(&values.join(", "), 400)))
            .collect(),
        clears: inert(&content.clears.clone().unwrap_or_default().join(", "), 400),
        meta_data: content
            .meta_data
            .as_ref()
            .filter(|data| !data.is_empty())
            .and_then(|data| serde_json::to_string_pretty(data).ok())
            .map(|text| inert_lines(&text, META_DATA))
            .unwrap_or_default(),
        deploy: format!("/deployments/new?release={}", escape(&artifact.name)),
        may_be_framed: is_rootfs_image(content),
        preview: preview(&app, std::slice::from_ref(&artifact), false, &Targets::All).await?,
        siblings: siblings
            .iter()
            .filter(|one| one.id != id)
            .map(|one| Line::new(one, time))
            .collect(),
    })
}

/// `GET /releases/{id}/download`
pub(crate) async fn download(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(id): Params<Id>,
) -> Result {
    let (path, _) = link_to(&app, id).await?;
    Ok(see_other(&path))
}

/// `POST /releases/{id}`
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(id): Params<Id>,
    form: Form,
) -> Result {
    match form.text("action") {
        "frame" => {
            let id = reframe(&app, id).await?;
            Ok(see_other(&format!("/releases/{id}?done=framed")))
        }
        "delete" => {
            remove(&app, id).await?;
            Ok(see_other("/releases?done=deleted"))
        }
        _ => Err(Refusal::bad_request(
            "what is to be done with the artifact?",
        )),
    }
}
