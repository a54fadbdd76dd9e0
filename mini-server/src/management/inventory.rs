//! What is known about devices.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;
use tandem_api::device::{Attribute, AttributeValue};
use tandem_api::management::{DeviceStatus, FilterAttribute, InventoryDevice, Search};
use tandem_api::{TOTAL_COUNT, Timestamp};
use tandem_artifact::Digest;

use crate::access::Operator;
use crate::app::App;
use crate::filter::{Order, Predicate, Relation, Subject, Test};
use crate::paging::{Page, Window};
use crate::query::Query;
use crate::reply::{Json, Refusal, Result};
use crate::request::{JsonBody, Params};
use crate::store::{DeviceSearch, Found, Id};

const LIST: &str = "/api/management/v1/inventory/devices";

/// `GET /api/management/v1/inventory/devices`
pub async fn list(State(app): State<Arc<App>>, _: Operator, query: Query) -> Result {
    let page = Page::of(&query)?;
    let mut search = DeviceSearch::default();
    for (name, value) in query.pairs() {
        match name {
            "page" | "per_page" => {}
            "sort" => search
                .order
                .extend(Order::parse_list(value).map_err(Refusal::bad_request)?),
            "has_group" => search.predicates.push(Predicate {
                subject: Subject::Group,
                test: Test::Exists(query.flag("has_group")?.unwrap_or_default()),
            }),
            "group" => search.predicates.push(Predicate {
                subject: Subject::Group,
                test: Test::Compare(
                    Relation::Equal,
                    crate::filter::Operand::Text(value.to_owned()),
                ),
            }),
            _ => {
                let predicate = Predicate::parse_pair(name, value).map_err(Refusal::bad_request)?;
                search.predicates.push(predicate);
            }
        }
    }
    let (found, total) = app.store.search(&search, page.window()).await?;
    let devices = describe(&app, found).await?;
    Ok((page.headers_with_total(LIST, &query, total), Json(devices)).into_response())
}

/// `GET /api/management/v1/inventory/devices/{id}`
pub async fn get(State(app): State<Arc<App>>, _: Operator, Params(id): Params<String>) -> Result {
    let device = find(&app, &id).await?;
    Ok(([etag(&device)], Json(device)).into_response())
}

/// `DELETE /api/management/v1/inventory/devices/{id}`
pub async fn clear(State(app): State<Arc<App>>, _: Operator, Params(id): Params<String>) -> Result {
    let id = id.parse().map_err(|_| missing())?;
    app.store.clear_inventory(id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /api/management/v2/inventory/filters/search`
pub async fn search(
    State(app): State<Arc<App>>,
    _: Operator,
    JsonBody(asked): JsonBody<Search>,
) -> Result {
    let page = Page::new(asked.page, asked.per_page)?;
    if asked.filters.len() > 20 || asked.sort.len() > 8 || asked.text.len() > 256 {
        return Err(Refusal::bad_request(
            "a search has at most 20 filters, 8 orders and 256 characters of text",
        ));
    }
    let ids = asked
        .device_ids
        .iter()
        .filter_map(|id| id.parse().ok())
        .collect();
    let search = DeviceSearch {
        predicates: asked
            .filters
            .iter()
            .map(Predicate::parse)
            .collect::<Result<_, _>>()
            .map_err(Refusal::bad_request)?,
        order: asked
            .sort
            .iter()
            .map(Order::parse)
            .collect::<Result<_, _>>()
            .map_err(Refusal::bad_request)?,
        ids: (!asked.device_ids.is_empty()).then_some(ids),
        text: asked.text,
    };
    let (found, total) = app.store.search(&search, page.window()).await?;
    let mut devices = describe(&app, found).await?;
    if !asked.attributes.is_empty() {
        for device in &mut devices {
            device.attributes.retain(|attribute| {
                asked.attributes.iter().any(|wanted| {
                    wanted.attribute == attribute.name
                        && Some(wanted.scope.as_str()) == attribute.scope.as_deref()
                })
            });
        }
    }
    Ok(([(TOTAL_COUNT, total.to_string())], Json(devices)).into_response())
}

/// `GET /api/management/v2/inventory/filters/attributes`
pub async fn attributes(State(app): State<Arc<App>>, _: Operator) -> Result {
    let all = app.store.count_devices(None).await?;
    let own = [
        ("identity", "status"),
        ("system", "created_ts"),
        ("system", "updated_ts"),
        ("system", "group"),
    ];
    let own = own
        .into_iter()
        .filter(|_| all > 0)
        .map(|(scope, name)| FilterAttribute {
            name: name.to_owned(),
            scope: scope.to_owned(),
            count: all,
        });
    let names = app.store.attribute_names().await?;
    let names = names
        .into_iter()
        .map(|(scope, name, count)| FilterAttribute { name, scope, count });
    let attributes: Vec<FilterAttribute> = own.chain(names).take(500).collect();
    Ok(Json(attributes).into_response())
}

/// `GET /api/management/v2/inventory/statistics`
pub async fn statistics(State(app): State<Arc<App>>, _: Operator) -> Result {
    let mut by_status = serde_json::Map::new();
    for status in [DeviceStatus::Accepted, DeviceStatus::Pending] {
        let count = app.store.count_devices(Some(status)).await?;
        by_status.insert(
            status.to_string(),
            json!({"standard": count, "micro": 0, "system": 0}),
        );
    }
    Ok(Json(json!({"devices_by_status": by_status})).into_response())
}

/// One device with all that is known about it.
pub(super) async fn find(app: &App, id: &str) -> Result<InventoryDevice> {
    let id: Id = id.parse().map_err(|_| missing())?;
    let search = DeviceSearch {
        ids: Some(vec![id]),
        ..DeviceSearch::default()
    };
    let (found, _) = app
        .store
        .search(
            &search,
            Window {
                offset: 0,
                limit: 1,
            },
        )
        .await?;
    describe(app, found).await?.pop().ok_or_else(missing)
}

/// What changes when somebody changes the tags of a device.
pub(super) fn etag(device: &InventoryDevice) -> (HeaderName, HeaderValue) {
    let tags: Vec<_> = device
        .attributes
        .iter()
        .filter(|attribute| attribute.scope.as_deref() == Some("tags"))
        .map(|attribute| (&attribute.name, &attribute.value, &attribute.description))
        .collect();
    let sum = Digest::of(&serde_json::to_vec(&tags).unwrap_or_default());
    let value = HeaderValue::from_str(&format!("\"{sum}\""));
    (
        header::ETAG,
        value.unwrap_or(HeaderValue::from_static("\"\"")),
    )
}

pub(super) fn missing() -> Refusal {
    Refusal::not_found("device")
}

async fn describe(app: &App, found: Vec<Found>) -> Result<Vec<InventoryDevice>> {
    let ids: Vec<Id> = found.iter().map(|device| device.id).collect();
    let mut attributes = app.store.attributes(&ids).await?;
    let devices = found.into_iter().map(|device| {
        let mut all = own_attributes(&device);
        all.extend(attributes.remove(&device.id).unwrap_or_default());
        InventoryDevice {
            id: device.id.to_string(),
            attributes: all,
            updated_ts: Timestamp::from_millis(device.updated),
        }
    });
    Ok(devices.collect())
}

/// What the server itself says about a device.
fn own_attributes(device: &Found) -> Vec<Attribute> {
    let text = |scope: &str, name: &str, value: String| Attribute {
        name: name.to_owned(),
        value: AttributeValue::Text(value),
        scope: Some(scope.to_owned()),
        description: None,
        timestamp: None,
    };
    let time =
        |name: &str, millis: i64| text("system", name, Timestamp::from_millis(millis).to_string());
    let mut attributes = vec![
        text("identity", "status", device.status.to_string()),
        time("created_ts", device.created),
        time("updated_ts", device.updated),
    ];
    attributes.extend(device.check_in.map(|at| time("check_in_time", at)));
    attributes.extend(
        device
            .group
            .clone()
            .map(|group| text("system", "group", group)),
    );
    attributes
}
