//! The list of deployments.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tandem_api::DeploymentStatus;
use tandem_api::management::DeploymentState;

use super::answer::page;
use super::chart::{Share, shares};
use super::frame::{Frame, Section};
use super::pager::{Pager, window};
use super::standing::Standing;
use super::status_text::Mark;
use super::wording::{Moment, grouped, inert};
use crate::access::Operator;
use crate::app::App;
use crate::clock::now;
use crate::query::Query;
use crate::reply::Result;
use crate::store::{DeploymentFilter, DeploymentRow, StateFilter};

/// A deployment on a list.
pub(super) struct Line {
    pub(super) href: String,
    pub(super) name: String,
    pub(super) release: String,
    pub(super) target: String,
    pub(super) mark: Mark,
    pub(super) created: Moment,
    pub(super) shares: Vec<Share>,
    /// How far it is, in words.
    pub(super) progress: String,
}

impl Line {
    pub(super) fn new(deployment: &DeploymentRow, now: i64) -> Self {
        let tally = Tally::of(deployment);
        let mut progress = format!(
            "{} of {} done",
            grouped(tally.done()),
            grouped(deployment.max_devices)
        );
        if tally.failed > 0 {
            progress.push_str(&format!(", {} failed", grouped(tally.failed)));
        }
        Self {
            href: format!("/deployments/{}", deployment.id),
            name: inert(&deployment.name, 80),
            release: inert(&deployment.artifact_name, 80),
            target: deployment
                .group
                .as_deref()
                .map(|group| inert(group, 40))
                .unwrap_or_default(),
            mark: deployment.into(),
            created: Moment::new(deployment.created, now),
            shares: tally.shares(),
            progress,
        }
    }
}

/// How many devices of a deployment are how far, in the kinds that people ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// They have not asked yet.
    pub(super) waiting: u64,
    /// They are at it.
    pub(super) active: u64,
    /// They run the release.
    pub(super) updated: u64,
    /// They do not.
    pub(super) failed: u64,
    /// Nothing fits them.
    pub(super) unfit: u64,
    /// It was ended for them.
    pub(super) ended: u64,
}

impl Tally {
    pub(super) fn of(deployment: &DeploymentRow) -> Self {
        let mut tally = Self::default();
        for (status, devices) in &deployment.statistics {
            let kind = match status {
                DeploymentStatus::Success | DeploymentStatus::AlreadyInstalled => {
                    &mut tally.updated
                }
                DeploymentStatus::Failure => &mut tally.failed,
                DeploymentStatus::NoArtifact => &mut tally.unfit,
                DeploymentStatus::Aborted | DeploymentStatus::Decommissioned => &mut tally.ended,
                DeploymentStatus::Pending
                | DeploymentStatus::Downloading
                | DeploymentStatus::PauseBeforeInstalling
                | DeploymentStatus::Installing
                | DeploymentStatus::PauseBeforeRebooting
                | DeploymentStatus::Rebooting
                | DeploymentStatus::PauseBeforeCommitting => &mut tally.active,
            };
            *kind = kind.saturating_add(*devices);
        }
        let asked = tally.done().saturating_add(tally.active);
        tally.waiting = deployment.max_devices.saturating_sub(asked);
        if deployment.state == DeploymentState::Finished {
            // Whoever has not asked gets nothing any more.
            tally.ended = tally.ended.saturating_add(tally.waiting);
            tally.waiting = 0;
        }
        tally
    }

    /// Devices for which nothing more comes.
    pub(super) fn done(&self) -> u64 {
        [self.updated, self.failed, self.unfit, self.ended]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    pub(super) fn shares(&self) -> Vec<Share> {
        shares(&[
            (self.updated, "ok"),
            (self.failed, "bad"),
            (self.unfit, "warn"),
            (self.ended, "idle"),
            (self.active, "busy"),
            (self.waiting, "none"),
        ])
    }
}

#[derive(Template)]
#[template(path = "deployments.html")]
struct Deployments {
    frame: Frame,
    search: String,
    state: String,
    lines: Vec<Line>,
    pager: Pager,
    filtered: bool,
    standing: Standing,
}

/// `GET /deployments`
pub(crate) async fn get(State(app): State<Arc<App>>, operator: Operator, query: Query) -> Result {
    let frame = Frame::new(&app, operator, Section::Deployments, &query).await?;
    let search = query.one("q").unwrap_or_default().trim().to_owned();
    let state = query.one("state").unwrap_or_default().to_owned();
    let filter = DeploymentFilter {
        state: match state.as_str() {
            "waiting" => Some(StateFilter::Is(DeploymentState::Pending)),
            "running" => Some(StateFilter::Is(DeploymentState::InProgress)),
            "finished" => Some(StateFilter::Is(DeploymentState::Finished)),
            "aborted" => Some(StateFilter::Aborted),
            _ => None,
        },
        search: Some(search.clone()).filter(|text| !text.is_empty()),
        ..DeploymentFilter::default()
    };
    let (found, total) = app.store.deployments(&filter, window(&query)?).await?;
    let time = now().millis();
    page(&Deployments {
        frame,
        filtered: !search.is_empty() || filter.state.is_some(),
        search: inert(&search, 256),
        state,
        lines: found.iter().map(|one| Line::new(one, time)).collect(),
        pager: Pager::new("/deployments", &query, total),
        standing: Standing::of(&app).await?,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::store::Id;

    fn deployment(state: DeploymentState, statistics: &[(DeploymentStatus, u64)]) -> DeploymentRow {
        DeploymentRow {
            id: Id::nil(),
            name: "d".to_owned(),
            artifact_name: "r".to_owned(),
            group: None,
            forced: false,
            created: 0,
            finished: None,
            state,
            aborted: false,
            max_devices: 10,
            total_size: 0,
            statistics: statistics.iter().copied().collect::<BTreeMap<_, _>>(),
            artifacts: Vec::new(),
            plan: crate::rollout::Plan::default(),
            progress: crate::rollout::Progress::default(),
            filter: None,
            continuous: false,
        }
    }

    #[test]
    fn every_device_is_counted_once() {
        use DeploymentStatus::{AlreadyInstalled, Failure, Installing, Success};
        let statistics = [
            (Success, 2),
            (AlreadyInstalled, 1),
            (Failure, 3),
            (Installing, 1),
        ];
        let running = Tally::of(&deployment(DeploymentState::InProgress, &statistics));
        assert_eq!(
            running,
            Tally {
                waiting: 3,
                active: 1,
                updated: 3,
                failed: 3,
                unfit: 0,
                ended: 0
            }
        );
        assert_eq!(running.shares().len(), 4);
        let ended = Tally::of(&deployment(DeploymentState::Finished, &[(Success, 4)]));
        assert_eq!((ended.waiting, ended.ended, ended.done()), (0, 6, 10));
    }
}
