//! Standing orders: always the newest release with a tag. Our own; Mender has nothing of the kind.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::{StatusCode, header};
use log::info;
use tandem_api::management::{DeploymentFilter as TargetFilter, NewStandingOrder, StandingOrder};

use crate::access::Operator;
use crate::app::App;
use crate::clock::now;
use crate::management::deployments::filter_of;
use crate::management::groups::check_name;
use crate::reply::{Json, Refusal, Result};
use crate::request::{JsonBody, Params};
use crate::rollout::Plan;
use crate::store::{Id, Ordered, StandingOrderRow, Targets};

/// `POST /api/management/v1/deployments/standing_orders`
pub async fn post(
    State(app): State<Arc<App>>,
    _: Operator,
    JsonBody(new): JsonBody<NewStandingOrder>,
) -> Result {
    let id = order(&app, new).await?;
    let location = format!("/api/management/v1/deployments/standing_orders/{id}");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)]).into_response())
}

/// Gives a standing order; its identifier.
///
/// # Errors
/// A refusal if it makes no sense.
pub async fn order(app: &App, new: NewStandingOrder) -> Result<Id> {
    let tag = new.tag.to_lowercase();
    let usable = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !(1..=1024).contains(&tag.len()) || !tag.bytes().all(usable) {
        return Err(Refusal::bad_request(
            "a tag has letters, digits, '.', '_' and '-'",
        ));
    }
    let targets = match (new.group, &new.filter_id) {
        (None, None) => Targets::All,
        (Some(group), None) => Targets::Group(check_name(group)?),
        (None, Some(id)) => Targets::Filter(filter_of(app, id).await?),
        (Some(_), Some(_)) => {
            return Err(Refusal::bad_request(
                "group and filter_id exclude each other",
            ));
        }
    };
    let plan = Plan::from_wire(&new.rollout).map_err(Refusal::unprocessable)?;
    if plan.groups().next().is_some() {
        return Err(Refusal::unprocessable(
            "a standing order has no phases of groups",
        ));
    }
    let filter: TargetFilter = targets.filter().unwrap_or_default();
    let ordered = app
        .store
        .add_standing_order(tag.clone(), filter, plan, now().millis());
    match ordered.await? {
        Ordered::Done(id) => {
            info!(order:% = id, tag:% = tag; "standing order given");
            Ok(id)
        }
        Ordered::TooMany => Err(Refusal::unprocessable(
            "there are as many standing orders as there may be",
        )),
        Ordered::Refused(why) => Err(Refusal::bad_request(why)),
    }
}

/// `GET /api/management/v1/deployments/standing_orders`
pub async fn list(State(app): State<Arc<App>>, _: Operator) -> Result {
    let orders = app.store.standing_orders().await?;
    let orders: Vec<StandingOrder> = orders.into_iter().map(show).collect();
    Ok(Json(orders).into_response())
}

/// `DELETE /api/management/v1/deployments/standing_orders/{id}`
pub async fn delete(State(app): State<Arc<App>>, _: Operator, Params(id): Params<Id>) -> Result {
    take_back(&app, id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Takes back a standing order.
///
/// # Errors
/// A refusal if there is none.
pub async fn take_back(app: &App, id: Id) -> Result<()> {
    if !app.store.remove_standing_order(id, now().millis()).await? {
        return Err(Refusal::not_found("standing order"));
    }
    info!(order:% = id; "standing order taken back");
    Ok(())
}

fn show(order: StandingOrderRow) -> StandingOrder {
    StandingOrder {
        id: order.id.to_string(),
        tag: order.tag,
        filter: order.filter,
        release: order.release,
        deployment: order.deployment.map(|id| id.to_string()),
    }
}
