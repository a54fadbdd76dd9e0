//! Throwing away what is too old.

use log::{info, warn};

use crate::app::App;
use crate::audit::{Cause, because};
use crate::store::Error;

/// For how many days something is kept; for ever if absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// Lines of the audit log.
    pub audit: Option<u32>,
    /// Logs of failures, after their deployments have ended.
    pub logs: Option<u32>,
    /// Artifacts that no deployment and no device needs.
    pub artifacts: Option<u32>,
}

/// Milliseconds of a day.
const DAY: i64 = 24 * 60 * 60 * 1000;

/// Throws away what is too old at `now`, ms.
pub async fn tidy(app: &App, now: i64) {
    if let Err(err) = because(Cause::server(), throw_away(app, now)).await {
        warn!("cannot throw away what is too old, it is tried again: {err}");
    }
}

async fn throw_away(app: &App, now: i64) -> Result<(), Error> {
    let keep = app.settings.keep;
    let since = |days: u32| now.saturating_sub(i64::from(days).saturating_mul(DAY));
    if let Some(days) = keep.logs {
        let gone = app.store.prune_logs(since(days)).await?;
        if gone > 0 {
            info!("{gone} logs of deployments that were too old are removed");
        }
    }
    if let Some(days) = keep.artifacts {
        for id in app.store.outdated_artifacts(since(days)).await? {
            // A deployment may have been made meanwhile: then it stays.
            if app.store.remove_artifact(id).await? == crate::store::Changed::Done {
                app.blobs.remove(id).await;
                info!(artifact:% = id; "artifact that was too old and of no use removed");
            }
        }
    }
    if let Some(days) = keep.audit {
        app.store.prune_audit_log(since(days)).await?;
    }
    Ok(())
}
