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
}

/// Retries of one device.
const RETRIES: u32 = 100;

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
        })
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
