//! Looking for devices that are at a deployment and were not heard of for long: others get their places.

use std::collections::HashMap;

use log::warn;

use crate::app::App;
use crate::audit::{Cause, because};
use crate::store::{Error, Id};

/// When each deployment was looked at last, ms.
#[derive(Default)]
pub struct Silence(HashMap<Id, i64>);

/// How often a deployment is looked at, ms: ten times in the time after which a device is lost, within these limits.
const OFTEN: i64 = 1000;
const SELDOM: i64 = 5 * 60 * 1000;

impl Silence {
    /// Gives up the places of devices that are silent at `now`, ms. When devices were heard of has to be written down
    /// before.
    pub async fn sweep(&mut self, app: &App, now: i64) {
        if let Err(err) = because(Cause::server(), self.give_up(app, now)).await {
            warn!("cannot look for silent devices, it is tried again: {err}");
        }
    }

    async fn give_up(&mut self, app: &App, now: i64) -> Result<(), Error> {
        let usual = app.settings.lost_after;
        let usual = usual.and_then(|time| i64::try_from(time.as_millis()).ok());
        let mut seen = HashMap::new();
        for waiting in app.store.deployments_under_way().await? {
            let id = waiting.deployment;
            let Some(patience) = waiting.plan.patience(usual) else {
                continue;
            };
            let last = self.0.get(&id).copied();
            let pause = (patience / 10).clamp(OFTEN, SELDOM);
            if let Some(last) = last.filter(|last| now.saturating_sub(*last) < pause) {
                seen.insert(id, last);
                continue;
            }
            seen.insert(id, now);
            let since = now.saturating_sub(patience);
            let time = std::time::Duration::from_millis(patience.unsigned_abs());
            let time = humantime::format_duration(time);
            loop {
                let devices = app.store.silent_devices(id, since).await?;
                if devices.is_empty() {
                    break;
                }
                let why = format!("nothing heard for {time}: its place is free for another device");
                if app.store.give_up(id, devices, since, why, now).await? == 0 {
                    break;
                }
            }
        }
        self.0 = seen;
        Ok(())
    }
}
