//! Making a deployment: the form, what would come of it, and doing it.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::IntoResponse;

use super::answer::{page, see_other};
use super::form::Form;
use super::frame::{Frame, Section};
use super::preview::{Preview, preview};
use super::rollout::{RolloutDraft, foretell};
use super::wording::{count, inert, is_plain, sentence};
use crate::access::Operator;
use crate::app::App;
use crate::management::deployments::make;
use crate::query::Query;
use crate::reply::{Refusal, Result};
use crate::store::{ArtifactFilter, DeploymentToMake, Id, Targets};

/// Releases and groups to choose from.
const CHOICES: usize = 500;

/// What somebody has filled in so far.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Draft {
    name: String,
    release: String,
    to: To,
    group: String,
    devices: Vec<Id>,
    forced: bool,
    continuous: bool,
    rollout: RolloutDraft,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    All,
    Group,
    Devices,
}

impl Draft {
    fn of(query: &Query) -> Self {
        let text = |name: &str| query.one(name).unwrap_or_default().trim().to_owned();
        Self {
            name: text("name"),
            release: text("release"),
            to: match query.one("to") {
                Some("group") => To::Group,
                Some("devices") => To::Devices,
                _ => To::All,
            },
            group: text("group"),
            // What is no identifier is no device.
            devices: query
                .all("device")
                .filter_map(|id| id.parse().ok())
                .collect(),
            forced: query.one("forced").is_some(),
            continuous: query.one("continuous").is_some(),
            rollout: RolloutDraft::of(query),
        }
    }

    /// `None` if it is not said yet.
    fn targets(&self) -> Option<Targets> {
        match self.to {
            To::All => Some(Targets::All),
            To::Group => Some(self.group.clone())
                .filter(|group| !group.is_empty())
                .map(Targets::Group),
            To::Devices => Some(self.devices.clone())
                .filter(|all| !all.is_empty())
                .map(Targets::Devices),
        }
    }

    /// What is to be made of it.
    ///
    /// # Errors
    /// A refusal if something is missing or makes no sense.
    fn into_order(self) -> Result<DeploymentToMake> {
        let targets = self
            .targets()
            .ok_or_else(|| Refusal::bad_request("no devices are chosen"))?;
        let plan = self.rollout.plan().map_err(Refusal::unprocessable)?;
        Ok(DeploymentToMake {
            name: if self.name.is_empty() {
                self.release.clone()
            } else {
                self.name
            },
            artifact_name: self.release,
            forced: self.forced,
            // Who was chosen one by one stays as it is.
            continuous: self.continuous && self.to != To::Devices,
            targets,
            plan,
            device_limit: None,
        })
    }
}

#[derive(Template)]
#[template(path = "new_deployment.html")]
struct NewDeployment {
    frame: Frame,
    draft: Draft,
    problem: String,
    releases: Vec<Choice>,
    groups: Vec<Choice>,
    chosen: String,
    preview: Option<Preview>,
    missing: &'static str,
    /// What becomes of the rollout, or why it makes no sense.
    foretold: Vec<String>,
    nonsense: String,
}

struct Choice {
    value: String,
    label: String,
    current: bool,
}

/// `GET /deployments/new`: the form; with a release and devices also what would come of it.
pub(crate) async fn get(State(app): State<Arc<App>>, operator: Operator, query: Query) -> Result {
    show(&app, operator, &query, None).await
}

async fn show(app: &App, operator: Operator, query: &Query, problem: Option<&Refusal>) -> Result {
    let frame = Frame::new(app, operator, Section::Deployments, query).await?;
    let mut draft = Draft::of(query);
    let artifacts = app.store.artifacts(&ArtifactFilter::default()).await?;
    let mut names: Vec<&str> = Vec::new();
    for artifact in &artifacts {
        if !names.contains(&artifact.name.as_str()) {
            names.push(&artifact.name);
        }
    }
    if draft.release.is_empty()
        && let Some(newest) = names.first()
    {
        draft.release = (*newest).to_owned();
    }
    let groups = app.store.groups(None).await?;
    let of_release: Vec<_> = artifacts
        .iter()
        .filter(|one| one.name == draft.release)
        .cloned()
        .collect();
    let (preview, missing) = match draft.targets() {
        _ if of_release.is_empty() => (None, "Choose a release."),
        None if draft.to == To::Group => (None, "Choose a group."),
        None => (
            None,
            "Mark devices on the list of devices and choose “Deploy to them” there.",
        ),
        Some(targets) => (
            Some(preview(app, &of_release, draft.forced, &targets).await?),
            "",
        ),
    };
    let devices = preview.as_ref().map_or(0, |preview| preview.devices);
    let foretold = match draft.rollout.plan() {
        Ok(plan) if preview.is_some() => foretell(&plan, devices),
        Ok(_) => Ok(Vec::new()),
        Err(why) => Err(why),
    };
    let choices = |all: Vec<String>, current: &str| {
        let plain = all.into_iter().filter(|value| is_plain(value));
        let choices = plain.take(CHOICES).map(|value| Choice {
            label: inert(&value, 100),
            current: value == current,
            value,
        });
        choices.collect()
    };
    let names = names.into_iter().map(ToOwned::to_owned).collect();
    let answer = page(&NewDeployment {
        frame,
        problem: problem
            .map(|refusal| sentence(refusal.message()))
            .unwrap_or_default(),
        releases: choices(names, &draft.release),
        groups: choices(groups, &draft.group),
        chosen: count(
            u64::try_from(draft.devices.len()).unwrap_or(u64::MAX),
            "chosen device",
        ),
        preview,
        missing,
        nonsense: foretold
            .as_ref()
            .err()
            .map(|why| sentence(why))
            .unwrap_or_default(),
        foretold: foretold.unwrap_or_default(),
        draft,
    })?;
    Ok(match problem {
        None => answer,
        Some(refusal) => (refusal.status(), answer).into_response(),
    })
}

/// `POST /deployments/new`
pub(crate) async fn post(State(app): State<Arc<App>>, operator: Operator, form: Form) -> Result {
    let made = match Draft::of(&form.0).into_order() {
        Ok(new) => make(&app, new).await,
        Err(refusal) => Err(refusal),
    };
    match made {
        Ok(id) => Ok(see_other(&format!("/deployments/{id}?done=deployed"))),
        Err(refusal) if refusal.status().is_server_error() => Err(refusal),
        Err(refusal) => show(&app, operator, &form.0, Some(&refusal)).await,
    }
}
