//! What programs watch.

use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::response::IntoResponse;
use http::header;
use log::error;
use tandem_api::management::DeviceStatus;

use crate::app::{App, UPLOADS};
use crate::openapi;
use crate::reply::{Refusal, Result};
use crate::routes::surface;

/// `GET /healthz`
pub async fn health(State(app): State<Arc<App>>) -> Result {
    match app.store.ping().await {
        Ok(()) => Ok("ok\n".into_response()),
        Err(_) => Err(Refusal::unavailable(10)),
    }
}

/// `GET /api/openapi.json`
pub async fn description() -> Result {
    static DOCUMENT: OnceLock<std::result::Result<String, String>> = OnceLock::new();
    let made = || openapi::document(surface().routes()).map(|document| document.to_string());
    let document = DOCUMENT.get_or_init(made).clone();
    let document = document.map_err(|err| {
        error!("cannot describe the APIs: {err}");
        Refusal::unavailable(60)
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], document).into_response())
}

/// `GET /metrics`
pub async fn metrics(State(app): State<Arc<App>>) -> Result {
    let mut gauges = Vec::new();
    let statuses = DeviceStatus::ALL.map(|status| (status, format!("{{status=\"{status}\"}}")));
    for (status, labels) in &statuses {
        let count = app.store.count_devices(Some(*status)).await?;
        gauges.push((
            "tandem_devices",
            labels.as_str(),
            "Devices by status.",
            count,
        ));
    }
    let progress = app.store.rollout_progress().await?;
    let progress: Vec<(String, u64)> = progress
        .into_iter()
        .map(|(status, devices)| (format!("{{status=\"{status}\"}}"), devices))
        .collect();
    for (labels, devices) in &progress {
        gauges.push((
            "tandem_rollout_devices",
            labels.as_str(),
            "Devices of the deployments that are not finished, by how far they are.",
            *devices,
        ));
    }
    let uploads = UPLOADS.saturating_sub(app.uploads.available_permits());
    for (name, help, value) in [
        (
            "tandem_deployments_active",
            "Deployments that are not finished.",
            Some(app.store.count_active_deployments().await?),
        ),
        (
            "tandem_artifact_bytes",
            "Size of all artifacts.",
            Some(app.store.artifact_bytes().await?),
        ),
        (
            "tandem_storage_free_bytes",
            "Free space where artifacts are kept.",
            app.blobs.free(),
        ),
        (
            "tandem_database_bytes",
            "Size of the database.",
            Some(app.store.size().await?),
        ),
        (
            "tandem_webhook_events_waiting",
            "Events that receivers are still to be told.",
            Some(app.store.count_waiting_events().await?),
        ),
        (
            "tandem_downloads",
            "Downloads that run.",
            Some(app.downloads.get()),
        ),
        (
            "tandem_uploads",
            "Uploads that run.",
            u64::try_from(uploads).ok(),
        ),
        (
            "process_resident_memory_bytes",
            "Memory in use.",
            resident(),
        ),
    ] {
        // What cannot be found out is not told: a 0 would be a false alarm.
        gauges.extend(value.map(|value| (name, "", help, value)));
    }
    let text = app.metrics.render(&gauges);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

/// Resident memory, bytes.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}
