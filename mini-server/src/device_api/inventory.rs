//! A device says what is to be known about it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use tandem_api::device::{Attribute, AttributeValue};

use crate::app::App;
use crate::clock::now;
use crate::reply::{Refusal, Result};
use crate::request::{Device, JsonBody};
use crate::store::{Mode, Owner, Written};

/// Attributes of a device, values of all of them together, and bytes of a name and of a value.
const ATTRIBUTES: usize = 512;
const VALUES: usize = 4096;
const NAME: usize = 1024;
const VALUE: usize = 16 << 10;

/// `PUT /api/devices/v1/inventory/device/attributes`
pub async fn put(
    State(app): State<Arc<App>>,
    Device(device): Device,
    JsonBody(attributes): JsonBody<Vec<Attribute>>,
) -> Result {
    write(&app, device.device, attributes, Mode::Replace).await
}

/// `PATCH /api/devices/v1/inventory/device/attributes`
pub async fn patch(
    State(app): State<Arc<App>>,
    Device(device): Device,
    JsonBody(attributes): JsonBody<Vec<Attribute>>,
) -> Result {
    let limit = u64::try_from(ATTRIBUTES).unwrap_or(u64::MAX);
    write(&app, device.device, attributes, Mode::Merge { limit }).await
}

async fn write(
    app: &App,
    device: crate::store::Id,
    attributes: Vec<Attribute>,
    mode: Mode,
) -> Result {
    let attributes = check_attributes(attributes, ATTRIBUTES)?;
    match app
        .store
        .write_attributes(device, Owner::Inventory, attributes, mode, now().millis())
        .await?
    {
        Written::Done => Ok(StatusCode::OK.into_response()),
        // It was decommissioned at this moment.
        Written::Missing => Err(Refusal::unauthorized("unauthorized")),
        Written::TooMany => Err(too_many(ATTRIBUTES)),
    }
}

/// Attributes as they may be kept: each name once, the last value counts.
///
/// # Errors
/// A refusal if there are too many or something is too long.
pub fn check_attributes(attributes: Vec<Attribute>, limit: usize) -> Result<Vec<Attribute>> {
    let mut checked = std::collections::BTreeMap::new();
    let mut values: usize = 0;
    for attribute in attributes {
        if !(1..=NAME).contains(&attribute.name.len()) {
            return Err(Refusal::bad_request(format!(
                "the name of an attribute has 1 to {NAME} bytes"
            )));
        }
        let (count, longest) = match &attribute.value {
            AttributeValue::Text(text) => (1, text.len()),
            AttributeValue::Number(_) => (1, 0),
            AttributeValue::Texts(texts) => (
                texts.len(),
                texts.iter().map(String::len).max().unwrap_or_default(),
            ),
            AttributeValue::Numbers(numbers) => (numbers.len(), 0),
        };
        values = values.saturating_add(count);
        let description = attribute
            .description
            .as_ref()
            .map(String::len)
            .unwrap_or_default();
        if longest.max(description) > VALUE || values > VALUES {
            let limits = format!(
                "the value of an attribute has at most {VALUE} bytes, and all have {VALUES} values"
            );
            return Err(Refusal::bad_request(limits));
        }
        checked.insert(attribute.name.clone(), attribute);
    }
    if checked.len() > limit {
        return Err(too_many(limit));
    }
    Ok(checked.into_values().collect())
}

/// There are more than `limit` attributes.
pub fn too_many(limit: usize) -> Refusal {
    Refusal::bad_request(format!("too many attributes: there may be {limit}"))
}
