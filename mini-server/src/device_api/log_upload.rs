//! A device sends the log of a deployment.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::IntoResponse;
use http::StatusCode;

use crate::app::App;
use crate::deployment_log::LogReader;
use crate::reply::{Refusal, Result};
use crate::request::{Device, Params, check_content_type, next_piece};

/// Bytes of a log that are read; what of them is kept is decided there.
const LIMIT: usize = 32 << 20;

/// `PUT /api/devices/v1/deployments/device/deployments/{id}/log`
pub async fn put(
    State(app): State<Arc<App>>,
    Device(device): Device,
    Params(id): Params<String>,
    request: Request,
) -> Result {
    check_content_type(request.headers())?;
    let missing = || Refusal::not_found("deployment");
    let deployment = id.parse().map_err(|_| missing())?;
    let mut body = request.into_body();
    let (mut reader, mut size) = (LogReader::default(), 0_usize);
    while let Some(piece) = next_piece(&mut body).await? {
        size = size.saturating_add(piece.len());
        if size > LIMIT {
            return Err(Refusal::too_large(format!(
                "a log has at most {LIMIT} bytes"
            )));
        }
        reader.push(&piece);
    }
    let log = reader
        .finish()
        .map_err(|_| Refusal::bad_request("the body is not a list of messages"))?;
    if app.store.write_log(deployment, device.device, log).await? {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(missing())
    }
}
