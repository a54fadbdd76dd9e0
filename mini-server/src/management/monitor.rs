//! What programs watch.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::header;
use tandem_api::management::DeviceStatus;

use crate::app::{App, UPLOADS};
use crate::reply::{Refusal, Result};

/// `GET /healthz`
pub async fn health(State(app): State<Arc<App>>) -> Result {
    match app.store.ping().await {
        Ok(()) => Ok("ok\n".into_response()),
        Err(_) => Err(Refusal::unavailable(10)),
    }
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
    let uploads = UPLOADS.saturating_sub(app.uploads.available_permits());
    for (name, help, value) in [
        (
            "tandem_deployments_active",
            "Deployments that are not finished.",
            app.store.count_active_deployments().await?,
        ),
        (
            "tandem_artifact_bytes",
            "Size of all artifacts.",
            app.store.artifact_bytes().await?,
        ),
        (
            "tandem_downloads",
            "Downloads that run.",
            app.downloads.get(),
        ),
        (
            "tandem_uploads",
            "Uploads that run.",
            u64::try_from(uploads).unwrap_or_default(),
        ),
        (
            "process_resident_memory_bytes",
            "Memory in use.",
            resident().unwrap_or_default(),
        ),
    ] {
        gauges.push((name, "", help, value));
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
