//! The way of a newcomer to the first update: what is done, what comes next, and the commands for it.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tandem_api::management::DeviceStatus;

use super::answer::page;
use super::frame::{Frame, Section};
use crate::access::Operator;
use crate::app::App;
use crate::paging::Page;
use crate::query::Query;
use crate::reply::Result;
use crate::request::BaseUrl;
use crate::store::{ArtifactFilter, DeploymentFilter};

/// How far one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// A device has knocked.
    pub(super) knocked: bool,
    /// A device is let in.
    pub(super) accepted: bool,
    /// There is an artifact.
    pub(super) uploaded: bool,
    /// There is a deployment.
    pub(super) deployed: bool,
}

impl Progress {
    /// How far the people of this server are.
    ///
    /// # Errors
    /// Of the database.
    pub(super) async fn of(app: &App) -> Result<Self> {
        let every = DeploymentFilter::default();
        let (_, deployments) = app
            .store
            .deployments(&every, Page::first(1).window())
            .await?;
        if deployments > 0 {
            return Ok(Self {
                knocked: true,
                accepted: true,
                uploaded: true,
                deployed: true,
            });
        }
        let accepted = app
            .store
            .count_devices(Some(DeviceStatus::Accepted))
            .await?
            > 0;
        Ok(Self {
            knocked: accepted || app.store.count_devices(None).await? > 0,
            accepted,
            uploaded: !app
                .store
                .artifacts(&ArtifactFilter::default())
                .await?
                .is_empty(),
            deployed: false,
        })
    }
}

#[derive(Template)]
#[template(path = "start.html")]
struct Start {
    frame: Frame,
    progress: Progress,
    url: String,
    authority: Option<String>,
}

/// `GET /start`
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    operator: Operator,
    base: BaseUrl,
    query: Query,
) -> Result {
    page(&Start {
        frame: Frame::new(&app, operator, Section::Overview, &query).await?,
        progress: Progress::of(&app).await?,
        url: base.0,
        authority: app.settings.authority.clone(),
    })
}
