//! What holds all the time, below the list of deployments: standing orders, and the maintenance windows of groups.

use std::sync::Arc;

use axum::extract::State;
use tandem_api::management::NewStandingOrder;

use super::answer::see_other;
use super::form::Form;
use super::rollout::RolloutDraft;
use super::wording::{inert, is_plain};
use crate::access::Operator;
use crate::admin::filters::in_words;
use crate::app::App;
use crate::management::pins::set_window;
use crate::management::standing_orders::{order, take_back};
use crate::reply::{Refusal, Result};
use crate::rollout::Window;
use crate::store::StandingOrderRow;

/// What is shown of it.
pub(super) struct Standing {
    pub(super) orders: Vec<Order>,
    pub(super) windows: Vec<OfGroup>,
    /// Groups and tags to choose from.
    pub(super) groups: Vec<String>,
    pub(super) tags: Vec<String>,
}

/// A standing order.
pub(super) struct Order {
    pub(super) id: String,
    pub(super) tag: String,
    pub(super) devices: String,
    pub(super) release: String,
    /// The page of the deployment of the moment; empty if there is none.
    pub(super) href: String,
}

/// The maintenance window of a group.
pub(super) struct OfGroup {
    pub(super) group: String,
    pub(super) window: String,
}

impl Standing {
    /// # Errors
    /// Of the database.
    pub(super) async fn of(app: &App) -> Result<Self> {
        let mut tags: Vec<String> = app
            .store
            .release_notes()
            .await?
            .into_values()
            .flat_map(|notes| notes.tags)
            .collect();
        tags.sort();
        tags.dedup();
        let mut groups = app.store.groups(None).await?;
        groups.retain(|group| is_plain(group));
        let windows = app.store.group_windows().await?;
        Ok(Self {
            orders: app
                .store
                .standing_orders()
                .await?
                .iter()
                .map(Order::new)
                .collect(),
            windows: windows
                .into_iter()
                .map(|(group, window)| OfGroup {
                    group,
                    window: window.to_string(),
                })
                .collect(),
            groups,
            tags,
        })
    }
}

impl Order {
    fn new(order: &StandingOrderRow) -> Self {
        Self {
            id: order.id.to_string(),
            tag: inert(&order.tag, 80),
            devices: inert(&in_words(&order.filter.name, &order.filter.terms), 200),
            release: inert(order.release.as_deref().unwrap_or_default(), 80),
            href: order
                .deployment
                .map(|id| format!("/deployments/{id}"))
                .unwrap_or_default(),
        }
    }
}

/// `POST /deployments`: gives or takes back a standing order, or sets the window of a group.
pub(crate) async fn post(State(app): State<Arc<App>>, _: Operator, form: Form) -> Result {
    let given = |name: &str| Some(form.text(name).to_owned()).filter(|text| !text.is_empty());
    let done = match form.text("action") {
        "order" => {
            let rollout = RolloutDraft::of(&form.0).to_wire();
            let new = NewStandingOrder {
                tag: form.text("tag").to_owned(),
                group: given("group"),
                filter_id: None,
                rollout: rollout.map_err(Refusal::unprocessable)?,
            };
            order(&app, new).await?;
            "ordered"
        }
        "take-back" => {
            let id = form.text("order").parse();
            take_back(&app, id.map_err(|_| Refusal::bad_request("which order?"))?).await?;
            "taken-back"
        }
        "window" => {
            let window: Option<Window> = given("window")
                .map(|text| text.parse())
                .transpose()
                .map_err(|why: String| Refusal::bad_request(why))?;
            set_window(&app, form.text("group").to_owned(), window).await?;
            "window"
        }
        _ => return Err(Refusal::bad_request("what is to be done?")),
    };
    Ok(see_other(&format!("/deployments?done={done}")))
}
