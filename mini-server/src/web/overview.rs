//! The first page: the fleet at a glance.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tandem_api::management::{DeploymentState, DeviceStatus};

use super::answer::page;
use super::chart::{Chart, DAYS};
use super::deployments::Line;
use super::frame::{Frame, Section};
use super::start::Progress;
use super::wording::{escape, grouped, inert, percent};
use crate::access::Operator;
use crate::app::App;
use crate::clock::now;
use crate::paging::Page;
use crate::query::Query;
use crate::reply::Result;
use crate::store::{DeploymentFilter, StateFilter};

/// A device that was not heard from for so long is silent, ms. Devices ask every half hour unless they are told otherwise.
pub(super) const SILENCE: i64 = 24 * 60 * 60 * 1000;

/// Deployments and releases that are listed.
const RUNNING: u32 = 5;
const RELEASES: usize = 8;

const DAY: i64 = 24 * 60 * 60 * 1000;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    progress: Progress,
    tiles: Vec<Tile>,
    releases: Vec<ReleaseShare>,
    other_releases: String,
    running: Vec<Line>,
    latest: Vec<Line>,
    chart: Option<Chart>,
}

/// A number with what it means and where to look closer.
struct Tile {
    label: &'static str,
    number: String,
    hint: String,
    href: &'static str,
    class: &'static str,
}

struct ReleaseShare {
    name: Option<String>,
    href: String,
    devices: String,
    percent: u64,
}

/// `GET /`
pub(crate) async fn get(State(app): State<Arc<App>>, operator: Operator, query: Query) -> Result {
    let frame = Frame::new(&app, operator, Section::Overview, &query).await?;
    let time = now().millis();
    let counts = app.store.fleet_counts(time.saturating_sub(SILENCE)).await?;
    let accepted = counts.of(DeviceStatus::Accepted);
    let pending = counts.of(DeviceStatus::Pending);
    let in_use = app.store.releases_in_use().await?;
    let others = in_use.get(RELEASES..).unwrap_or_default();
    let other_devices = others
        .iter()
        .map(|one| one.devices)
        .fold(0, u64::saturating_add);
    let releases = in_use.iter().take(RELEASES).map(|one| ReleaseShare {
        name: one.name.as_deref().map(|name| inert(name, 80)),
        href: match &one.name {
            Some(name) => format!("/devices?release={}", escape(name)),
            None => "/devices?state=unsaid".to_owned(),
        },
        devices: grouped(one.devices),
        percent: percent(one.devices, accepted),
    });
    let deployments = async |state, number| {
        let filter = DeploymentFilter {
            state,
            ..DeploymentFilter::default()
        };
        let (found, _) = app
            .store
            .deployments(&filter, Page::first(number).window())
            .await?;
        Ok::<_, crate::reply::Refusal>(found)
    };
    let mut running =
        deployments(Some(StateFilter::Is(DeploymentState::InProgress)), RUNNING).await?;
    running.extend(deployments(Some(StateFilter::Is(DeploymentState::Pending)), RUNNING).await?);
    let latest = deployments(Some(StateFilter::Is(DeploymentState::Finished)), RUNNING).await?;
    let today = time.div_euclid(DAY);
    let outcomes = app.store.outcomes_since(today.saturating_sub(DAYS)).await?;
    let silent = accepted.saturating_sub(counts.reachable);
    page(&Overview {
        progress: Progress::of(&app).await?,
        tiles: vec![
            Tile {
                label: "Devices",
                number: grouped(accepted),
                hint: "accepted".to_owned(),
                href: "/devices",
                class: "",
            },
            Tile {
                label: "Reachable",
                number: grouped(counts.reachable),
                hint: if silent == 0 {
                    "all within 24 h".to_owned()
                } else {
                    format!("{} silent for 24 h", grouped(silent))
                },
                href: "/devices?state=silent",
                class: if silent > 0 { "warn" } else { "ok" },
            },
            Tile {
                label: "Updating",
                number: grouped(counts.updating),
                hint: "download, install or reboot".to_owned(),
                href: "/deployments?state=running",
                class: if counts.updating > 0 { "busy" } else { "" },
            },
            Tile {
                label: "Failing",
                number: grouped(counts.failing),
                hint: "their last update failed".to_owned(),
                href: "/devices?state=failing",
                class: if counts.failing > 0 { "bad" } else { "" },
            },
            Tile {
                label: "Pending",
                number: grouped(pending),
                hint: "wait for your decision".to_owned(),
                href: "/devices?status=pending",
                class: if pending > 0 { "warn" } else { "" },
            },
        ],
        releases: releases.collect(),
        other_releases: if others.is_empty() {
            String::new()
        } else {
            grouped(other_devices)
        },
        running: running.iter().map(|one| Line::new(one, time)).collect(),
        latest: latest.iter().map(|one| Line::new(one, time)).collect(),
        chart: Chart::new(&outcomes, today),
        frame,
    })
}
