//! Putting the server together over a data directory: for `serve`, and for a verb while no server runs.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use log::warn;
use tandem_artifact::{PublicKey, Verification};
use tokio::sync::Semaphore;

use crate::app::{App, Gauge, Settings, UPLOADS};
use crate::audit::RefusalBudget;
use crate::blobs::Blobs;
use crate::data_dir::{DataDir, Lock};
use crate::front::Front;
use crate::live::Live;
use crate::login_guard::LoginGuard;
use crate::metrics::Metrics;
use crate::password::Passwords;
use crate::processes;
use crate::routes::surface;
use crate::sessions::Sessions;
use crate::store::{Database, Store};
use crate::throttle::{Rate, Throttles};
use crate::webhooks::Outgoing;

/// How often a device, and an address from which no device speaks, may ask.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Requests per second of one device.
    pub device: u32,
    /// Requests per second from one address.
    pub address: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            device: 1000,
            address: 10_000,
        }
    }
}

/// The database, and what is remembered of it.
pub struct Opened {
    store: Store,
    sessions: Arc<Sessions>,
    live: Arc<Live>,
}

impl Opened {
    /// Opens the database of the server in `dir`. Where several processes share it, `dir` has what they share afterwards.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub async fn new(dir: &DataDir, lock: &Lock, database: &Database) -> Result<Self> {
        let sessions = Arc::new(Sessions::default());
        let live = Arc::new(Live::default());
        let watcher = {
            let (sessions, live) = (Arc::clone(&sessions), Arc::clone(&live));
            Arc::new(move |changes: &[_]| {
                sessions.apply(changes);
                live.apply(changes);
            })
        };
        let store = Store::open(database, watcher)
            .await
            .with_context(|| format!("cannot open {database}"))?;
        if database.file().is_none() {
            processes::share(dir, lock, &store).await?;
        }
        Ok(Self {
            store,
            sessions,
            live,
        })
    }
}

/// A server that is ready to answer.
pub struct Assembled {
    /// What answers.
    pub front: Arc<Front>,
    _lock: Lock,
}

impl Assembled {
    /// Opens everything in `dir`, and tidies up what an unclean stop left there.
    ///
    /// # Errors
    /// If something cannot be opened.
    pub async fn new(
        dir: &DataDir,
        lock: Lock,
        opened: Opened,
        settings: Settings,
        rates: Rates,
    ) -> Result<Self> {
        let Opened {
            store,
            sessions,
            live,
        } = opened;
        let blobs = Blobs::of_server(dir, &lock, &settings, &store).await?;
        let surface = surface();
        let routes = surface
            .routes()
            .iter()
            .map(|route| format!("{} {}", route.method, route.path));
        let app = Arc::new(App {
            metrics: Metrics::new(routes),
            keys: dir.token_key(&lock)?,
            passwords: Passwords::default(),
            logins: Mutex::new(LoginGuard::default()),
            refusals: RefusalBudget::default(),
            throttles: Throttles::new(
                Rate::per_second(rates.device),
                Rate::per_second(rates.address),
            ),
            uploads: Semaphore::new(UPLOADS),
            downloads: Gauge::default(),
            live,
            store,
            blobs,
            sessions,
            outgoing: Outgoing::new(settings.webhook_authority.clone()),
            settings,
        });
        let router = surface.into_router(Arc::clone(&app));
        Ok(Self {
            front: Arc::new(Front::new(app, router)),
            _lock: lock,
        })
    }

    /// Writes down what is only in memory.
    pub async fn flush(&self) {
        let app = self.front.app();
        if let Err(err) = app.sessions.flush(&app.store).await {
            warn!("cannot write down when devices were heard from: {err}");
        }
    }

    /// Stops: nothing that was acknowledged is lost.
    pub async fn close(self) {
        self.flush().await;
        self.front.app().store.close().await;
    }
}

/// The keys of which one must have signed every artifact: those in `DIR/artifact-keys`, and `more`. Without any, anybody
/// who may upload may upload anything.
///
/// # Errors
/// If a file is no public key.
pub fn artifact_keys(dir: &DataDir, more: &[std::path::PathBuf]) -> Result<Verification> {
    let mut files = more.to_vec();
    if let Ok(entries) = std::fs::read_dir(dir.artifact_keys()) {
        for entry in entries {
            files.push(entry.context("cannot look into the artifact keys")?.path());
        }
    }
    files.sort();
    files.dedup();
    let mut keys = Vec::new();
    for file in files {
        let name = file.display().to_string();
        let pem = std::fs::read(&file).with_context(|| format!("cannot read {name}"))?;
        keys.push(PublicKey::from_pem(&name, &pem)?);
    }
    if keys.is_empty() {
        return Ok(Verification::off());
    }
    Ok(Verification::by(keys)?)
}
