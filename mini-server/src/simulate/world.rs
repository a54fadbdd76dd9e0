//! What all devices of a fleet share.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio_rustls::TlsConnector;

use super::chance::{About, Chance};
use super::fate::Fate;
use super::keys::Keys;
use super::options::Options;
use crate::outgoing;

/// The server, the options, the chance, and the releases that were heard of.
pub(super) struct World {
    pub(super) options: Options,
    pub(super) connector: TlsConnector,
    pub(super) keys: Keys,
    chance: Chance,
    releases: Mutex<Vec<Release>>,
}

/// A release, by its number.
#[derive(Debug, Clone)]
struct Release {
    name: String,
    /// Of its artifact, bytes; asked for when it is needed first.
    size: Option<u64>,
}

impl World {
    /// With these releases known from before.
    pub(super) fn new(options: Options, releases: Vec<String>) -> Result<Self> {
        Ok(Self {
            connector: outgoing::connector(options.authority.as_deref())?,
            keys: Keys::new(&options.fleet.name, &options.fleet.seed),
            chance: Chance::of(&options.fleet.seed),
            releases: Mutex::new(
                releases
                    .into_iter()
                    .map(|name| Release { name, size: None })
                    .collect(),
            ),
            options,
        })
    }

    fn releases(&self) -> MutexGuard<'_, Vec<Release>> {
        // A list that is only added to is whole at every instant.
        self.releases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a release; those beyond what a device can remember are all one.
    pub(super) fn number(&self, name: &str) -> u16 {
        let mut all = self.releases();
        let found = all.iter().position(|one| one.name == name);
        let number = found.unwrap_or_else(|| {
            all.push(Release {
                name: name.to_owned(),
                size: None,
            });
            all.len().saturating_sub(1)
        });
        u16::try_from(number).unwrap_or(u16::MAX)
    }

    /// The name of a release.
    pub(super) fn name(&self, number: u16) -> String {
        let all = self.releases();
        let found = all.get(usize::from(number));
        found.map(|one| one.name.clone()).unwrap_or_default()
    }

    /// All names, by number.
    pub(super) fn names(&self) -> Vec<String> {
        self.releases().iter().map(|one| one.name.clone()).collect()
    }

    /// How large the artifact of a release is, if it was asked for.
    pub(super) fn size(&self, number: u16) -> Option<u64> {
        self.releases().get(usize::from(number))?.size
    }

    /// Remembers it.
    pub(super) fn set_size(&self, number: u16, size: u64) {
        if let Some(one) = self.releases().get_mut(usize::from(number)) {
            one.size = Some(size);
        }
    }

    /// When a device polls first: at any time within an interval.
    pub(super) fn first_poll(&self, device: u32) -> Duration {
        self.options
            .poll
            .mul_f64(self.chance.roll(device, About::Start))
    }

    /// A time that is a `spread` of it shorter or longer.
    pub(super) fn about(&self, time: Duration, spread: f64, device: u32, turn: u32) -> Duration {
        let roll = self.chance.roll(device, About::Jitter(turn.into()));
        time.mul_f64(1.0 - spread + 2.0 * spread * roll)
    }

    /// How the deployment of a device with this number goes.
    pub(super) fn fate(&self, device: u32, deployment: u16) -> Fate {
        let drawn = self.chance.roll(device, About::Fate(deployment));
        Fate::of(drawn, &self.options.failing, &self.options.vanishing)
    }

    /// The group of a device: groups follow each other through the numbers, shuffled by the chance of the start.
    pub(super) fn group(&self, device: u32) -> Option<&str> {
        let drawn = self.chance.roll(device, About::Start);
        let mut end = 0.0;
        let mut groups = self.options.groups.iter();
        let found = groups.find(|(_, share)| {
            end += share;
            drawn < end
        });
        found.map(|(name, _)| name.as_str())
    }
}
