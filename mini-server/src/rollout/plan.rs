//! What somebody has asked for when a deployment was made: phases, limits, times. Pure; kept as JSON.

use serde::{Deserialize, Serialize};
use tandem_api::management::NewRollout;

use super::phase::{Phase, Size, lay_out};
use super::threshold::Threshold;
use super::window::Window;

/// The way of a deployment through its devices. The default: everybody at once, once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// One after the other; all at once if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<Phase>,
    /// How many devices may be at it at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<u64>,
    /// When failures stop it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// When devices may be given it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// How often a device on which it fails is given it again.
    pub retries: u32,
    /// After how many seconds of silence a device that is at it is lost; 0 for never, as the server is set if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_after: Option<u64>,
}

/// Retries of one device.
const RETRIES: u32 = 100;

/// A year, seconds: longer is never.
const PATIENCE: u64 = 366 * 24 * 60 * 60;

impl Plan {
    /// What a request asks for.
    ///
    /// # Errors
    /// With the reason, if it makes no sense.
    pub fn from_wire(wire: &NewRollout) -> Result<Self, String> {
        if wire.max_concurrent == Some(0) {
            return Err(
                "max_concurrent is 1 or more: with 0 no device would ever begin".to_owned(),
            );
        }
        let retries = wire.retries.unwrap_or(0);
        if retries > RETRIES {
            return Err(format!("retries is at most {RETRIES}"));
        }
        if wire.lost_after_seconds.is_some_and(|time| time > PATIENCE) {
            return Err("lost_after_seconds is at most a year".to_owned());
        }
        Ok(Self {
            phases: Phase::all_from_wire(&wire.phases)?,
            cap: wire.max_concurrent,
            threshold: wire
                .stop_on_failures
                .as_ref()
                .map(Threshold::from_wire)
                .transpose()?,
            window: wire
                .maintenance_window
                .as_ref()
                .map(Window::from_wire)
                .transpose()?,
            retries,
            lost_after: wire.lost_after_seconds,
        })
    }

    /// How long a device may be silent that is at it, ms, where the server is set to `usual`; `None` for ever.
    #[must_use]
    pub fn patience(&self, usual: Option<i64>) -> Option<i64> {
        match self.lost_after {
            None => usual,
            Some(0) => None,
            Some(seconds) => i64::try_from(seconds.saturating_mul(1000)).ok(),
        }
    }

    /// Works out what depends on how many devices there are: `members` are those of which each phase is the earliest.
    ///
    /// # Errors
    /// With the reason, if a phase would have no device.
    pub fn lay_out(&mut self, members: &[u64]) -> Result<(), String> {
        lay_out(&mut self.phases, members)
    }

    /// The groups that have a phase of their own.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.phases.iter().filter_map(|phase| match &phase.size {
            Size::Group(group) => Some(group.as_str()),
            Size::Percent(_) | Size::Count(_) | Size::Rest => None,
        })
    }

    /// Whether it asks for nothing beyond the ordinary.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}
