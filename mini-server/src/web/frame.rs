//! What is around every page: who is signed in, where one can go, what has just been done.

use super::assets;
use super::wording::grouped;
use crate::access::Operator;
use crate::app::App;
use crate::query::Query;
use crate::reply::Result;
use crate::store::Id;
use tandem_api::management::{DeviceStatus, Role};

/// The frame of a page.
pub(super) struct Frame {
    /// Style sheet, script, icon.
    pub(super) css: String,
    pub(super) js: String,
    pub(super) icon: String,
    /// Where one is.
    pub(super) section: Section,
    /// The e-mail address of whoever is signed in.
    pub(super) email: String,
    /// What whoever is signed in may do.
    role: Role,
    /// How many devices wait for a decision; empty if none does.
    pub(super) pending: String,
    /// From when on changes are of interest; for [`super::events`].
    pub(super) since: String,
    /// What has just been done.
    pub(super) notice: Option<String>,
}

/// The parts of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Devices,
    Releases,
    Deployments,
    People,
    Audit,
    Settings,
}

impl Frame {
    /// Around a page of `section`. To be made before what the page shows is looked up, so that no change is missed.
    ///
    /// # Errors
    /// Of the database.
    pub(super) async fn new(
        app: &App,
        operator: Operator,
        section: Section,
        query: &Query,
    ) -> Result<Self> {
        let since = app.live.marks().map(|marks| marks.to_string());
        let user = match user(operator) {
            Some(user) => app.store.user(user).await?,
            None => None,
        };
        let pending = app.store.count_devices(Some(DeviceStatus::Pending)).await?;
        Ok(Self {
            css: assets::path("app.css"),
            js: assets::path("app.js"),
            icon: assets::path("icon.svg"),
            section,
            email: user.map(|user| user.email).unwrap_or_default(),
            role: operator.role(),
            pending: Some(pending)
                .filter(|pending| *pending > 0)
                .map(grouped)
                .unwrap_or_default(),
            since: since.unwrap_or_default(),
            notice: query.one("done").and_then(|done| {
                let number = query.number("n").ok().flatten().unwrap_or(0);
                notice(done, number)
            }),
        })
    }

    /// Whether `section` is where one is.
    pub(super) fn is(&self, section: Section) -> bool {
        self.section == section
    }

    /// Whether whoever is signed in may do more than look.
    pub(super) fn operates(&self) -> bool {
        self.role >= Role::Operator
    }

    /// Whether whoever is signed in may manage people and the server.
    pub(super) fn rules(&self) -> bool {
        self.role >= Role::Admin
    }
}

/// The person who asks.
pub(super) fn user(operator: Operator) -> Option<Id> {
    match operator {
        Operator::Person { user, .. } => Some(user),
        Operator::Local => None,
    }
}

/// What an address says has been done. Only these sentences: an address may come from anywhere.
fn notice(done: &str, number: u64) -> Option<String> {
    let devices = super::wording::count(number, "device");
    Some(match done {
        "accepted" => format!("{devices} accepted."),
        "rejected" => format!("{devices} rejected."),
        "grouped" => format!("{devices} moved."),
        "ungrouped" => format!("{devices} taken out of their group."),
        "decommissioned" => format!("{devices} decommissioned."),
        "named" => "The device has its name.".to_owned(),
        "dismissed" => "The key is forgotten.".to_owned(),
        "uploaded" => "The release is uploaded and checked.".to_owned(),
        "framed" => "The artifact is in frames: devices fetch only what is new to them.".to_owned(),
        "deleted" => "The artifact is deleted.".to_owned(),
        "deployed" => "The deployment is made. Devices get it when they ask next.".to_owned(),
        "aborted" => "The deployment is aborted.".to_owned(),
        "paused" => "The deployment is paused: no further device begins.".to_owned(),
        "resumed" => "The deployment goes on.".to_owned(),
        "advanced" => "The next phase has begun.".to_owned(),
        "pinned" => "The device stays with this release.".to_owned(),
        "unpinned" => "The device takes again what it is given.".to_owned(),
        "ordered" => "The standing order is given.".to_owned(),
        "window" => "The maintenance window of the group is set.".to_owned(),
        "taken-back" => {
            "The standing order is taken back. Devices that have begun go on.".to_owned()
        }
        "user-added" => "The user can sign in now.".to_owned(),
        "user-role" => "The role is changed; it counts at once.".to_owned(),
        "user-removed" => "The user is removed.".to_owned(),
        "webhook-removed" => "Nothing more is sent there.".to_owned(),
        "password" => "The password is changed. Other sessions have ended.".to_owned(),
        "token-revoked" => "The token is of no use any more.".to_owned(),
        _ => return None,
    })
}
