//! How much the server logs, while it runs.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use log::{LevelFilter, warn};
use tandem_api::management::LogLevel;

use crate::access::Operator;
use crate::app::App;
use crate::audit::{Action, Kind};
use crate::reply::{Json, Refusal, Result};
use crate::request::JsonBody;

/// `GET /api/management/v1/server/log_level`
pub async fn get(_: Operator) -> Result {
    let level = log::max_level().as_str().to_ascii_lowercase();
    Ok(Json(LogLevel { level }).into_response())
}

/// `PUT /api/management/v1/server/log_level`: until the server is started again.
pub async fn put(
    State(app): State<Arc<App>>,
    _: Operator,
    JsonBody(wanted): JsonBody<LogLevel>,
) -> Result {
    let level: LevelFilter = wanted.level.parse().map_err(|_| {
        Refusal::bad_request("a log level is off, error, warn, info, debug or trace")
    })?;
    let text = level.as_str().to_ascii_lowercase();
    let change = format!("log level: {text}");
    app.store
        .audit_note(Action::Update, Kind::Server, change)
        .await?;
    log::set_max_level(level);
    // Also where that is the most that is still logged.
    warn!("the log level is {text} from now on");
    Ok(StatusCode::NO_CONTENT.into_response())
}
