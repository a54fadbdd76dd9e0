//! All that handlers need.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tandem_artifact::Verification;
use tokio::sync::Semaphore;

use crate::audit::RefusalBudget;
use crate::blobs::{Blobs, Place};
use crate::housekeeping::Keep;
use crate::link::Links;
use crate::live::Live;
use crate::login_guard::LoginGuard;
use crate::metrics::Metrics;
use crate::password::Passwords;
use crate::sessions::Sessions;
use crate::store::{self, Store};
use crate::throttle::Throttles;
use crate::token::TokenKey;
use crate::webhooks::Outgoing;

/// The server, as handlers see it.
pub struct App {
    /// What it knows.
    pub store: Store,
    /// The bytes of artifacts.
    pub blobs: Blobs,
    /// Who is let in at this moment.
    pub sessions: Arc<Sessions>,
    /// The key for tokens and links.
    pub keys: TokenKey,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// Who guesses passwords.
    pub logins: Mutex<LoginGuard>,
    /// How many refusals may be written down.
    pub refusals: RefusalBudget,
    /// Who asks too often.
    pub throttles: Throttles,
    /// What it counts.
    pub metrics: Metrics,
    /// What open pages listen to.
    pub live: Arc<Live>,
    /// What tells others of events.
    pub outgoing: Outgoing,
    /// What its operator has set.
    pub settings: Settings,
    /// Uploads that may run at once.
    pub uploads: Semaphore,
    /// Downloads that run.
    pub downloads: Gauge,
}

/// What an operator can set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many devices may be accepted; without a limit if absent.
    pub max_devices: Option<u64>,
    /// How many devices may wait for a decision.
    pub max_pending: u64,
    /// Bytes of an artifact.
    pub max_artifact_size: u64,
    /// Bytes of all artifacts together; without a limit if absent.
    pub artifact_quota: Option<u64>,
    /// Bytes that uploads leave free on the server's disk.
    pub min_free: u64,
    /// What is thrown away when it is too old.
    pub keep: Keep,
    /// Downloads at once; more devices are told to come later. Without a limit if absent.
    pub max_downloads: Option<u64>,
    /// After how many failures an artifact is not offered to a device again; 0 for never.
    pub quarantine: u64,
    /// After how long without a word from it a device that is at a deployment gives its place up; never if absent.
    pub lost_after: Option<Duration>,
    /// Which signatures artifacts must have.
    pub verification: Verification,
    /// The address in links, if not the one that the device itself used: `https://updates.example.com`.
    pub public_url: Option<String>,
    /// Where artifacts are kept, if that is not to stay as it was.
    pub artifacts: Option<Place>,
    /// From whom devices get artifacts.
    pub links: Links,
    /// For how long their links are good.
    pub link_validity: Duration,
    /// The certificate that devices have to trust, PEM; absent if they trust the server's anyway.
    pub authority: Option<String>,
    /// The authority that receivers of events must have a certificate of, PEM file; those of the system if absent.
    pub webhook_authority: Option<PathBuf>,
}

/// Uploads at once. Each may need 64 MiB for a decompressor.
pub const UPLOADS: usize = 4;

/// Failures of an artifact on a device that are enough: one may be chance, two bad luck.
pub const QUARANTINE: u64 = 3;

/// How long the links are good that devices get: long enough for slow lines and for those that are off at night.
pub const LINK_VALIDITY: Duration = Duration::from_secs(24 * 60 * 60);

/// A device polls every half hour or so. One that was silent for a day is switched off or broken.
pub const LOST_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_devices: None,
            max_pending: 100_000,
            max_artifact_size: 10 << 30,
            artifact_quota: None,
            min_free: 256 << 20,
            keep: Keep::default(),
            max_downloads: None,
            quarantine: QUARANTINE,
            lost_after: Some(LOST_AFTER),
            verification: Verification::off(),
            public_url: None,
            artifacts: None,
            links: Links::Server,
            link_validity: LINK_VALIDITY,
            authority: None,
            webhook_authority: None,
        }
    }
}

impl Settings {
    /// How many devices may be in.
    #[must_use]
    pub fn device_limits(&self) -> store::Limits {
        store::Limits {
            accepted: self.max_devices,
            pending: self.max_pending,
        }
    }
}

/// Something of which some are there at the moment.
#[derive(Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

/// One of them.
#[derive(Debug)]
pub struct Counted(Arc<AtomicU64>);

impl Gauge {
    /// One more, until the result is dropped.
    #[must_use]
    pub fn enter(&self) -> Counted {
        self.0.fetch_add(1, Ordering::AcqRel);
        Counted(Arc::clone(&self.0))
    }

    /// How many there are.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
