//! What operators write about devices.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderMap, StatusCode, header};
use tandem_api::device::Attribute;

use crate::access::Operator;
use crate::app::App;
use crate::clock::now;
use crate::device_api::inventory::{check_attributes, too_many};
use crate::management::inventory::{etag, find, missing};
use crate::reply::{Refusal, Result};
use crate::request::{JsonBody, Params};
use crate::store::{Mode, Owner, Written};

/// Tags of a device.
const TAGS: usize = 20;

/// `PUT /api/management/v1/inventory/devices/{id}/tags`
pub async fn put(
    State(app): State<Arc<App>>,
    _: Operator,
    headers: HeaderMap,
    Params(id): Params<String>,
    JsonBody(tags): JsonBody<Vec<Attribute>>,
) -> Result {
    write(&app, &id, &headers, tags, Mode::Replace).await
}

/// `PATCH /api/management/v1/inventory/devices/{id}/tags`
pub async fn patch(
    State(app): State<Arc<App>>,
    _: Operator,
    headers: HeaderMap,
    Params(id): Params<String>,
    JsonBody(tags): JsonBody<Vec<Attribute>>,
) -> Result {
    let limit = u64::try_from(TAGS).unwrap_or(u64::MAX);
    write(&app, &id, &headers, tags, Mode::Merge { limit }).await
}

async fn write(
    app: &App,
    id: &str,
    headers: &HeaderMap,
    tags: Vec<Attribute>,
    mode: Mode,
) -> Result {
    let tags = check_attributes(tags, TAGS)?;
    if let Some(wanted) = headers.get(header::IF_MATCH) {
        let (_, current) = etag(&find(app, id).await?);
        if wanted != current && wanted != "*" {
            return Err(Refusal::new(
                StatusCode::PRECONDITION_FAILED,
                "the tags have changed meanwhile",
            ));
        }
    }
    let device = id.parse().map_err(|_| missing())?;
    match app
        .store
        .write_attributes(device, Owner::Tags, tags, mode, now().millis())
        .await?
    {
        Written::Done => Ok(StatusCode::OK.into_response()),
        Written::Missing => Err(missing()),
        Written::TooMany => Err(too_many(TAGS)),
    }
}
