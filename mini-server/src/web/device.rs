//! The page of one device.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tandem_api::device::{Attribute, AttributeValue};
use tandem_api::management::{AuthSetStatus, DeviceStatus};
use tandem_artifact::{ARTIFACT_NAME, Depends};

use super::answer::{page, see_other};
use super::form::Form;
use super::frame::{Frame, Section};
use super::identity_text;
use super::overview::SILENCE;
use super::status_text::{Mark, STEPS, step};
use super::wording::{self, Moment, groups_of_eight, inert};
use crate::access::Operator;
use crate::app::App;
use crate::clock::now;
use crate::device_key::fingerprint;
use crate::management::devices::{forget_key, retire, settle};
use crate::management::groups::check_name;
use crate::management::pins;
use crate::paging::Page;
use crate::query::Query;
use crate::reply::{Refusal, Result};
use crate::request::Params;
use crate::store::{
    AuthSetRow, DeploymentFilter, DeviceDeploymentRow, EventRow, GroupChange, Id, Mode, Owner,
};

/// Deployments that are listed, and attributes.
const HISTORY: u32 = 20;
const ATTRIBUTES: usize = 600;

/// Characters of the value of an attribute, and of what a device says about a deployment.
const VALUE: usize = 1000;

#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage {
    frame: Frame,
    id: Id,
    name: String,
    tag: String,
    mark: Mark,
    accepted: bool,
    identity: Vec<(String, String)>,
    group: String,
    groups: Vec<String>,
    release: String,
    kind: String,
    heard: Option<Moment>,
    silent: bool,
    created: Moment,
    keys: Vec<Key>,
    running: Option<Run>,
    waiting: Vec<Waiting>,
    pinned: String,
    history: Vec<Run>,
    attributes: Vec<Line>,
    hidden_attributes: usize,
}

/// A key that the device came with.
struct Key {
    id: Id,
    mark: Mark,
    fingerprint: String,
    created: Moment,
    can_accept: bool,
    can_reject: bool,
}

/// What the device, or an operator, says about it.
struct Line {
    name: String,
    value: String,
    scope: String,
}

/// A deployment on this device.
struct Run {
    deployment: Id,
    device: Id,
    name: String,
    release: String,
    mark: Mark,
    substate: String,
    when: Moment,
    has_log: bool,
    steps: Vec<Step>,
    is_open: bool,
    percent: usize,
    events: Vec<Event>,
}

/// A deployment that it has not begun.
struct Waiting {
    deployment: Id,
    name: String,
    release: String,
    /// Why not yet.
    why: String,
}

/// Something that the device goes through.
struct Step {
    label: &'static str,
    /// `done`, `now` or `next`
    class: &'static str,
}

struct Event {
    at: Moment,
    mark: Mark,
    substate: String,
}

/// `GET /devices/{id}`
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    operator: Operator,
    query: Query,
    Params(id): Params<Id>,
) -> Result {
    let frame = Frame::new(&app, operator, Section::Devices, &query).await?;
    let device = app.store.device(id).await?.ok_or_else(missing)?;
    let time = now().millis();
    let attributes = app
        .store
        .attributes(&[id])
        .await?
        .remove(&id)
        .unwrap_or_default();
    let found = |scope: &str, name: &str| {
        let matching = attributes
            .iter()
            .find(|one| one.name == name && one.scope.as_deref() == Some(scope));
        matching
            .map(|one| inert(&text(&one.value), 80))
            .unwrap_or_default()
    };
    let (release, kind) = (
        found("inventory", ARTIFACT_NAME),
        found("inventory", Depends::DEVICE_TYPE),
    );
    let tag = found("tags", "name");
    let prospects = app.store.prospects(id).await?;
    let waiting = prospects
        .waiting(time)
        .into_iter()
        .map(|(open, why)| Waiting {
            deployment: open.deployment,
            name: inert(&open.name, 80),
            release: inert(&open.artifact_name, 80),
            why: wording::sentence(&why),
        });
    let mut history = history(&app, id, time).await?;
    let running = history.first().is_some_and(|run| run.is_open);
    let running = running.then(|| history.remove(0));
    let can = |set: &AuthSetRow, wanted: AuthSetStatus| match (set.status, wanted) {
        (AuthSetStatus::Pending | AuthSetStatus::Rejected, AuthSetStatus::Accepted)
        | (AuthSetStatus::Pending | AuthSetStatus::Accepted, AuthSetStatus::Rejected) => true,
        (_, _) => false,
    };
    let identity = identity_text::name(&device.identity);
    let lines = attributes
        .iter()
        .take(ATTRIBUTES)
        .filter(|one| one.scope.as_deref() != Some("identity"));
    page(&DevicePage {
        name: if tag.is_empty() {
            identity
        } else {
            tag.clone()
        },
        tag,
        id,
        mark: device.status.into(),
        accepted: device.status == DeviceStatus::Accepted,
        identity: identity_text::pairs(&device.identity),
        group: app.store.group_of(id).await?.flatten().unwrap_or_default(),
        groups: app.store.groups(None).await?,
        release,
        kind,
        silent: device
            .check_in
            .is_none_or(|at| at < time.saturating_sub(SILENCE)),
        heard: device.check_in.map(|at| Moment::new(at, time)),
        created: Moment::new(device.created, time),
        keys: device
            .auth_sets
            .iter()
            .map(|set| Key {
                id: set.id,
                mark: set.status.into(),
                fingerprint: groups_of_eight(&fingerprint(&set.pubkey)),
                created: Moment::new(set.created, time),
                can_accept: can(set, AuthSetStatus::Accepted),
                can_reject: can(set, AuthSetStatus::Rejected),
            })
            .collect(),
        running,
        waiting: waiting.collect(),
        pinned: app.store.pin_of(id).await?.flatten().unwrap_or_default(),
        history,
        attributes: lines
            .map(|one| Line {
                name: inert(&one.name, 200),
                value: inert(&text(&one.value), VALUE),
                scope: one.scope.clone().unwrap_or_default(),
            })
            .collect(),
        hidden_attributes: attributes.len().saturating_sub(ATTRIBUTES),
        frame,
    })
}

/// What became of deployments on the device, the newest first.
async fn history(app: &App, device: Id, now: i64) -> Result<Vec<Run>> {
    let newest = Page::first(HISTORY).window();
    let (rows, _) = app.store.device_history(device, None, newest).await?;
    let ids: Vec<Id> = rows.iter().map(|row| row.deployment).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut events: HashMap<Id, Vec<EventRow>> = HashMap::new();
    for event in app.store.events(device, &ids).await? {
        events.entry(event.deployment).or_default().push(event);
    }
    let filter = DeploymentFilter {
        ids,
        ..DeploymentFilter::default()
    };
    let (deployments, _) = app.store.deployments(&filter, newest).await?;
    let names: BTreeMap<Id, (String, String)> = deployments
        .into_iter()
        .map(|one| (one.id, (one.name, one.artifact_name)))
        .collect();
    let runs = rows.into_iter().map(|row| {
        let (name, release) = names.get(&row.deployment).cloned().unwrap_or_default();
        let events = events.remove(&row.deployment).unwrap_or_default();
        Run::new(row, &name, &release, events, now)
    });
    Ok(runs.collect())
}

impl Run {
    fn new(
        row: DeviceDeploymentRow,
        name: &str,
        release: &str,
        events: Vec<EventRow>,
        now: i64,
    ) -> Self {
        let reached = step(row.status);
        let steps = match reached {
            None => Vec::new(),
            Some(reached) => STEPS
                .iter()
                .enumerate()
                .map(|(n, label)| Step {
                    label,
                    class: match n.cmp(&reached) {
                        std::cmp::Ordering::Less => "done",
                        std::cmp::Ordering::Equal => "now",
                        std::cmp::Ordering::Greater => "next",
                    },
                })
                .collect(),
        };
        let said = row
            .substate
            .as_deref()
            .or(row.reason.as_deref())
            .unwrap_or_default();
        Self {
            deployment: row.deployment,
            device: row.device,
            name: inert(name, 80),
            release: inert(release, 80),
            mark: row.status.into(),
            substate: inert(said, VALUE),
            when: Moment::new(row.finished.or(row.started).unwrap_or(row.created), now),
            has_log: row.has_log,
            is_open: !row.status.is_final(),
            steps,
            percent: reached
                .unwrap_or(STEPS.len())
                .saturating_mul(100)
                .checked_div(STEPS.len())
                .unwrap_or(0),
            events: events
                .into_iter()
                .map(|event| Event {
                    at: Moment::new(event.at, now),
                    mark: event.status.into(),
                    substate: inert(event.substate.as_deref().unwrap_or_default(), VALUE),
                })
                .collect(),
        }
    }
}

/// `POST /devices/{id}`: does something with this device.
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(id): Params<Id>,
    form: Form,
) -> Result {
    let key = || {
        let key = form.text("key").parse();
        key.map_err(|_| Refusal::bad_request("which key? ID is not a valid UUID"))
    };
    let done = match form.text("action") {
        "accept" => {
            settle(&app, id, key()?, AuthSetStatus::Accepted).await?;
            "accepted"
        }
        "reject" => {
            settle(&app, id, key()?, AuthSetStatus::Rejected).await?;
            "rejected"
        }
        "dismiss" => {
            forget_key(&app, id, key()?).await?;
            if app.store.device(id).await?.is_none() {
                return Ok(see_other("/devices?status=any&done=dismissed"));
            }
            "dismissed"
        }
        "group" => set_group(&app, id, form.text("group")).await?,
        "name" => {
            set_name(&app, id, form.text("name")).await?;
            "named"
        }
        "pin" => match form.text("pin") {
            "" => {
                pins::set(&app, id, None).await?;
                "unpinned"
            }
            release => {
                pins::set(&app, id, Some(release.to_owned())).await?;
                "pinned"
            }
        },
        "decommission" => {
            retire(&app, id).await?;
            return Ok(see_other("/devices?done=decommissioned&n=1"));
        }
        _ => return Err(Refusal::bad_request("what is to be done with the device?")),
    };
    Ok(see_other(&format!("/devices/{id}?done={done}&n=1")))
}

async fn set_group(app: &App, id: Id, group: &str) -> Result<&'static str> {
    let before = app.store.group_of(id).await?.ok_or_else(missing)?;
    let (change, done) = match (group, before) {
        ("", None) => return Ok("ungrouped"),
        ("", Some(before)) => (GroupChange::OutOf(before), "ungrouped"),
        (group, _) => (GroupChange::Into(check_name(group.to_owned())?), "grouped"),
    };
    app.store.set_group(id, change).await?;
    Ok(done)
}

/// A name that people give a device is a tag, so that the API knows it as well.
async fn set_name(app: &App, id: Id, name: &str) -> Result<()> {
    if name.chars().count() > 80 {
        return Err(Refusal::bad_request(
            "the name of a device has at most 80 characters",
        ));
    }
    let all = app
        .store
        .attributes(&[id])
        .await?
        .remove(&id)
        .unwrap_or_default();
    let mut tags: Vec<Attribute> = all
        .into_iter()
        .filter(|one| one.scope.as_deref() == Some("tags") && one.name != "name")
        .collect();
    if !name.is_empty() {
        tags.push(Attribute {
            name: "name".to_owned(),
            value: AttributeValue::Text(name.to_owned()),
            scope: None,
            description: None,
            timestamp: None,
        });
    }
    app.store
        .write_attributes(id, Owner::Tags, tags, Mode::Replace, now().millis())
        .await?;
    Ok(())
}

/// A value on one line.
fn text(value: &AttributeValue) -> String {
    match value {
        AttributeValue::Text(text) => text.clone(),
        AttributeValue::Number(number) => number.to_string(),
        AttributeValue::Texts(texts) => texts.join(", "),
        AttributeValue::Numbers(numbers) => {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            numbers.join(", ")
        }
    }
}

fn missing() -> Refusal {
    Refusal::not_found("device")
}
