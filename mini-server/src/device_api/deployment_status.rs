//! A device reports how a deployment goes.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use log::info;
use tandem_api::device::StatusReport;

use crate::app::App;
use crate::clock::now;
use crate::reply::{Refusal, Result};
use crate::request::{Device, JsonBody, Params};
use crate::store::Reported;

/// Bytes of a substate that are kept.
const SUBSTATE: usize = 4096;

/// `PUT /api/devices/v1/deployments/device/deployments/{id}/status`
pub async fn put(
    State(app): State<Arc<App>>,
    Device(device): Device,
    Params(id): Params<String>,
    JsonBody(report): JsonBody<StatusReport>,
) -> Result {
    let StatusReport { status, substate } = report;
    if !status.is_reported() {
        return Err(Refusal::bad_request(format!(
            "a device does not report {status}"
        )));
    }
    let missing = || Refusal::not_found("deployment");
    let deployment = id.parse().map_err(|_| missing())?;
    let substate = substate.filter(|text| !text.is_empty()).map(shorten);
    match app
        .store
        .report(deployment, device.device, status, substate, now().millis())
        .await?
    {
        Reported::Done { changed } => {
            if changed {
                info!(deployment:% = deployment, device:% = device.device, status:% = status; "deployment status");
            }
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Reported::Missing => Err(missing()),
        Reported::Conflict => Err(Refusal::conflict("deployment aborted")),
    }
}

fn shorten(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(SUBSTATE));
    text
}
