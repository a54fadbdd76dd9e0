//! The list of devices: searching, filtering, sorting, and doing something with several at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use futures_util::{StreamExt, stream};
use http::StatusCode;
use tandem_api::management::{AuthSetStatus, DeviceStatus};
use tandem_artifact::{ARTIFACT_NAME, Depends};

use super::answer::{page, see_other};
use super::form::Form;
use super::frame::{Frame, Section};
use super::identity_text;
use super::overview::SILENCE;
use super::pager::{Pager, window};
use super::status_text::Mark;
use super::wording::{self, Moment, grouped, groups_of_eight, inert};
use crate::access::Operator;
use crate::app::App;
use crate::clock::now;
use crate::device_key::fingerprint;
use crate::filter::{Operand, Order, Predicate, Relation, Subject, Test};
use crate::management::devices::{retire, settle};
use crate::management::groups::check_name;
use crate::paging::Window;
use crate::query::Query;
use crate::reply::{Refusal, Result};
use crate::store::{DeviceFilter, DeviceSearch, Found, Id};

/// Devices that one action may be about when it is about all that a search finds.
const ALL: i64 = 20_000;

/// Changes that are handed to the store at once, which commits them together.
const AT_ONCE: usize = 64;

/// Releases to choose from.
const RELEASES: i64 = 200;

/// Characters of a search.
const SEARCH: usize = 256;

/// What is asked for.
struct Wanted {
    text: String,
    /// One of the statuses, or `any`.
    status: String,
    group: String,
    release: String,
    kind: String,
    state: String,
    /// A column of the list; with a minus before it in descending order.
    sort: String,
}

impl Wanted {
    fn of(query: &Query) -> Self {
        let text = |name: &str| {
            let text = query.one(name).unwrap_or_default().trim();
            text.chars().take(SEARCH).collect::<String>()
        };
        Self {
            text: text("q"),
            status: match text("status") {
                status if status.is_empty() => "accepted".to_owned(),
                status => status,
            },
            group: text("group"),
            release: text("release"),
            kind: text("type"),
            state: text("state"),
            sort: text("sort"),
        }
    }

    /// The same as the store is asked. Names that nobody knows ask for nothing.
    fn search(&self, now: i64) -> DeviceSearch {
        let mut search = DeviceSearch::default();
        let mut wants = |subject: Subject, test: Test| {
            search.predicates.push(Predicate { subject, test });
        };
        let equal = |text: &str| Test::Compare(Relation::Equal, Operand::Text(text.to_owned()));
        if self.status != "any" {
            wants(Subject::Status, equal(&self.status));
        }
        for (value, subject) in [
            (&self.group, Subject::Group),
            (&self.release, inventory(ARTIFACT_NAME)),
            (&self.kind, inventory(Depends::DEVICE_TYPE)),
        ] {
            if !value.is_empty() {
                wants(subject, equal(value));
            }
        }
        let line = Operand::Time(now.saturating_sub(SILENCE));
        match self.state.as_str() {
            "reachable" => wants(
                Subject::CheckIn,
                Test::Compare(Relation::GreaterOrEqual, line),
            ),
            "silent" => wants(Subject::CheckIn, Test::LessOrMissing(line)),
            "failing" => wants(Subject::Outcome, equal("failure")),
            "unsaid" => wants(inventory(ARTIFACT_NAME), Test::Exists(false)),
            "ungrouped" => wants(Subject::Group, Test::Exists(false)),
            _ => {}
        }
        match self.text.parse::<Id>() {
            Ok(id) => search.ids = Some(vec![id]),
            Err(_) => search.text.clone_from(&self.text),
        }
        let (column, descending) = match self.sort.strip_prefix('-') {
            Some(column) => (column, true),
            None => (self.sort.as_str(), false),
        };
        let subject = match column {
            "name" => Some(Subject::Identity),
            "group" => Some(Subject::Group),
            "release" => Some(inventory(ARTIFACT_NAME)),
            "type" => Some(inventory(Depends::DEVICE_TYPE)),
            "heard" => Some(Subject::CheckIn),
            "created" => Some(Subject::Created),
            "outcome" => Some(Subject::Outcome),
            _ => None,
        };
        search.order = subject
            .map(|subject| Order {
                subject,
                descending,
            })
            .into_iter()
            .collect();
        search
    }
}

fn inventory(name: &str) -> Subject {
    Subject::Attribute {
        scope: "inventory",
        name: name.to_owned(),
    }
}

#[derive(Template)]
#[template(path = "devices.html")]
struct Devices {
    frame: Frame,
    wanted: Wanted,
    tabs: Vec<Tab>,
    columns: Vec<Column>,
    groups: Vec<String>,
    releases: Vec<String>,
    lines: Vec<Line>,
    pager: Pager,
    total: String,
    /// The search again, for coming back to it.
    back: String,
    filtered: bool,
    skipped: u64,
    url_hint: bool,
}

struct Tab {
    label: &'static str,
    href: String,
    number: String,
    current: bool,
}

/// A column by which one can sort.
struct Column {
    label: &'static str,
    href: String,
    /// `ascending`, `descending` or `none`
    sorted: &'static str,
}

/// A device on the list.
struct Line {
    id: Id,
    name: String,
    identity: String,
    mark: Mark,
    group: String,
    kind: String,
    release: String,
    heard: Option<Moment>,
    silent: bool,
    created: Moment,
    outcome: Option<Mark>,
    /// Of the keys that wait for a decision.
    fingerprints: Vec<String>,
}

/// `GET /devices`
pub(crate) async fn get(State(app): State<Arc<App>>, operator: Operator, query: Query) -> Result {
    let frame = Frame::new(&app, operator, Section::Devices, &query).await?;
    let wanted = Wanted::of(&query);
    let time = now().millis();
    let (found, total) = app
        .store
        .search(&wanted.search(time), window(&query)?)
        .await?;
    let ids: Vec<Id> = found.iter().map(|device| device.id).collect();
    let mut labels = app
        .store
        .labels(&ids, &[ARTIFACT_NAME, Depends::DEVICE_TYPE])
        .await?;
    let mut prints = if wanted.status == "pending" {
        pending_prints(&app, ids).await?
    } else {
        HashMap::new()
    };
    let lines = found.into_iter().map(|device| {
        let labels = labels.remove(&device.id).unwrap_or_default();
        let prints = prints.remove(&device.id).unwrap_or_default();
        Line::new(device, &labels, prints, time)
    });
    let lines = lines.collect();
    let mut releases = app.store.release_names(RELEASES).await?;
    releases.retain(|name| wording::is_plain(name));
    page(&Devices {
        tabs: tabs(&app, &wanted).await?,
        columns: columns(&wanted, &query),
        groups: app.store.groups(None).await?,
        releases,
        lines,
        pager: Pager::new("/devices", &query, total),
        total: grouped(total),
        back: without(&query, &["done", "n", "skipped"]),
        filtered: !(wanted.text.is_empty()
            && wanted.group.is_empty()
            && wanted.release.is_empty()
            && wanted.kind.is_empty()
            && wanted.state.is_empty()),
        skipped: query.number("skipped").ok().flatten().unwrap_or(0),
        url_hint: app.store.count_devices(None).await? == 0,
        wanted,
        frame,
    })
}

impl Line {
    fn new(
        device: Found,
        labels: &BTreeMap<String, String>,
        fingerprints: Vec<String>,
        now: i64,
    ) -> Self {
        let label = |name: &str| {
            labels
                .get(name)
                .map(|text| inert(text, 60))
                .unwrap_or_default()
        };
        let identity = identity_text::name(&device.identity);
        let name = match label("name") {
            name if name.is_empty() => identity.clone(),
            name => name,
        };
        Self {
            id: device.id,
            identity: if name == identity {
                String::new()
            } else {
                identity
            },
            name,
            mark: device.status.into(),
            group: device.group.unwrap_or_default(),
            kind: label(Depends::DEVICE_TYPE),
            release: label(ARTIFACT_NAME),
            silent: device
                .check_in
                .is_none_or(|at| at < now.saturating_sub(SILENCE)),
            heard: device.check_in.map(|at| Moment::new(at, now)),
            created: Moment::new(device.created, now),
            outcome: device.outcome.map(Mark::from),
            fingerprints,
        }
    }
}

async fn pending_prints(app: &App, ids: Vec<Id>) -> Result<HashMap<Id, Vec<String>>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let all = Window {
        offset: 0,
        limit: i64::try_from(ids.len()).unwrap_or(i64::MAX),
    };
    let filter = DeviceFilter {
        ids: Some(ids),
        ..DeviceFilter::default()
    };
    let devices = app.store.devices(&filter, all).await?;
    let prints = devices.into_iter().map(|device| {
        let waiting = device
            .auth_sets
            .iter()
            .filter(|set| set.status == AuthSetStatus::Pending);
        let prints = waiting
            .map(|set| groups_of_eight(&fingerprint(&set.pubkey)))
            .collect();
        (device.id, prints)
    });
    Ok(prints.collect())
}

async fn tabs(app: &App, wanted: &Wanted) -> Result<Vec<Tab>> {
    let mut tabs = Vec::new();
    for (label, name, status) in [
        ("Accepted", "accepted", Some(DeviceStatus::Accepted)),
        ("Pending", "pending", Some(DeviceStatus::Pending)),
        ("Rejected", "rejected", Some(DeviceStatus::Rejected)),
        (
            "Expected",
            "preauthorized",
            Some(DeviceStatus::Preauthorized),
        ),
        ("All", "any", None),
    ] {
        let number = app.store.count_devices(status).await?;
        let current = wanted.status == name;
        // Expected devices are rare; the tab is there when some are.
        if name != "preauthorized" || number > 0 || current {
            let href = format!("/devices?status={name}");
            tabs.push(Tab {
                label,
                href,
                number: grouped(number),
                current,
            });
        }
    }
    Ok(tabs)
}

fn columns(wanted: &Wanted, query: &Query) -> Vec<Column> {
    let all: &[(&str, &str)] = if wanted.status == "pending" {
        &[
            ("Device", "name"),
            ("Key fingerprint (SHA-256)", ""),
            ("First seen", "created"),
        ]
    } else {
        &[
            ("Device", "name"),
            ("Release", "release"),
            ("Type", "type"),
            ("Group", "group"),
            ("Last update", "outcome"),
            ("Heard from", "heard"),
        ]
    };
    let rest = without(query, &["sort", "page", "done", "n", "skipped"]);
    all.iter()
        .map(|(label, name)| {
            let descending = wanted.sort.strip_prefix('-') == Some(name);
            let ascending = wanted.sort == *name && !name.is_empty();
            let next = if ascending {
                format!("-{name}")
            } else {
                (*name).to_owned()
            };
            Column {
                label,
                href: match (name.is_empty(), rest.is_empty()) {
                    (true, _) => String::new(),
                    (false, true) => format!("/devices?sort={next}"),
                    (false, false) => format!("/devices?{rest}&sort={next}"),
                },
                sorted: match (ascending, descending) {
                    (true, _) => "ascending",
                    (_, true) => "descending",
                    (false, false) => "none",
                },
            }
        })
        .collect()
}

fn without(query: &Query, names: &[&str]) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(
        query
            .pairs()
            .filter(|(key, value)| !names.contains(key) && !value.is_empty()),
    );
    text.finish()
}

/// `POST /devices`: does something with the devices that are chosen, or with all that a search finds.
pub(crate) async fn post(State(app): State<Arc<App>>, _: Operator, form: Form) -> Result {
    let back = Query::parse(form.text("back"))?;
    let action = form.text("action");
    let devices = if form.0.one("all").is_some() {
        if action == "decommission" {
            return Err(Refusal::bad_request(
                "choose the devices that are to be decommissioned one by one: it cannot be taken back",
            ));
        }
        let search = Wanted::of(&back).search(now().millis());
        let all = Window {
            offset: 0,
            limit: ALL,
        };
        let (found, _) = app.store.search(&search, all).await?;
        found.into_iter().map(|device| device.id).collect()
    } else {
        let ids = form.0.all("device").map(|id| id.parse());
        ids.collect::<Result<Vec<Id>, _>>()
            .map_err(|_| Refusal::bad_request("ID is not a valid UUID"))?
    };
    if devices.is_empty() {
        return Err(Refusal::bad_request(
            "no devices are chosen: mark some on the list first",
        ));
    }
    let chosen = u64::try_from(devices.len()).unwrap_or(u64::MAX);
    let (done, number) = match action {
        "accept" => ("accepted", each(devices, |id| accept(&app, id)).await?),
        "reject" => ("rejected", each(devices, |id| reject(&app, id)).await?),
        "decommission" => {
            let done = each(devices, async |id| match retire(&app, id).await {
                Ok(()) => Ok(true),
                Err(refusal) if refusal.status() == StatusCode::NOT_FOUND => Ok(false),
                Err(refusal) => Err(refusal),
            });
            ("decommissioned", done.await?)
        }
        "group" => {
            let group = check_name(form.text("group").to_owned())?;
            let mut moved: u64 = 0;
            for some in devices.chunks(AT_ONCE) {
                let updated = app.store.add_to_group(some.to_vec(), group.clone()).await?;
                moved = moved.saturating_add(updated.matched_count);
            }
            ("grouped", moved)
        }
        "ungroup" => {
            let left = each(devices, async |id| {
                let Some(Some(group)) = app.store.group_of(id).await? else {
                    return Ok(false);
                };
                let change = crate::store::GroupChange::OutOf(group);
                Ok(app.store.set_group(id, change).await? == crate::store::Grouped::Done)
            });
            ("ungrouped", left.await?)
        }
        "deploy" => {
            let mut query = form_urlencoded::Serializer::new("to=devices".to_owned());
            query.extend_pairs(devices.iter().map(|id| ("device", id.to_string())));
            return Ok(see_other(&format!("/deployments/new?{}", query.finish())));
        }
        _ => return Err(Refusal::bad_request("choose what to do with the devices")),
    };
    let mut query =
        form_urlencoded::Serializer::new(without(&back, &["page", "done", "n", "skipped"]));
    query.append_pair("done", done);
    query.append_pair("n", &number.to_string());
    if ["accept", "reject"].contains(&action) && number < chosen {
        query.append_pair("skipped", &chosen.saturating_sub(number).to_string());
    }
    Ok(see_other(&format!("/devices?{}", query.finish())))
}

/// Does the same with many devices, some at once; on how many it was done.
async fn each<F>(devices: Vec<Id>, work: impl Fn(Id) -> F) -> Result<u64>
where
    F: Future<Output = Result<bool>>,
{
    let mut done: u64 = 0;
    let mut outcomes = stream::iter(devices).map(work).buffer_unordered(AT_ONCE);
    while let Some(outcome) = outcomes.next().await {
        done = done.saturating_add(u64::from(outcome?));
    }
    Ok(done)
}

/// Accepts a device that waits with one key. With several, somebody has to look at them.
async fn accept(app: &App, id: Id) -> Result<bool> {
    let Some(device) = app.store.device(id).await? else {
        return Ok(false);
    };
    let open: Vec<Id> = device
        .auth_sets
        .iter()
        .filter(|set| match set.status {
            AuthSetStatus::Pending => true,
            AuthSetStatus::Rejected => device.status == DeviceStatus::Rejected,
            AuthSetStatus::Accepted | AuthSetStatus::Preauthorized => false,
        })
        .map(|set| set.id)
        .collect();
    let [key] = open.as_slice() else {
        return Ok(false);
    };
    if device.status == DeviceStatus::Accepted {
        return Ok(false);
    }
    settle(app, id, *key, AuthSetStatus::Accepted).await?;
    Ok(true)
}

/// Rejects a device with every key that it is let in or waits with.
async fn reject(app: &App, id: Id) -> Result<bool> {
    let Some(device) = app.store.device(id).await? else {
        return Ok(false);
    };
    let mut done = false;
    for set in &device.auth_sets {
        if [AuthSetStatus::Pending, AuthSetStatus::Accepted].contains(&set.status) {
            settle(app, id, set.id, AuthSetStatus::Rejected).await?;
            done = true;
        }
    }
    Ok(done)
}
