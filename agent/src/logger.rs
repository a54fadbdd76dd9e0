//! The log: to standard error always, and to the log of the deployment while there is one.

use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::Result;
use log::{LevelFilter, Log, Metadata, Record, warn};

use crate::deployment_log::DeploymentLog;

/// The one logger of this program.
static LOGGER: OnceLock<Logger> = OnceLock::new();

struct Logger {
    stderr: env_logger::Logger,
    deployment: Mutex<Option<DeploymentLog>>,
}

/// Begins to log.
pub(crate) fn start(level: LevelFilter) {
    let stderr = env_logger::Builder::new()
        .filter_level(LevelFilter::Trace)
        // Who collects standard error adds the time.
        .format(|out, record| {
            let level = record.level().as_str().to_ascii_lowercase();
            writeln!(out, "{level}: {}", record.args())
        })
        .build();
    let logger = LOGGER.get_or_init(|| Logger {
        stderr,
        deployment: Mutex::new(None),
    });
    if log::set_logger(logger).is_ok() {
        log::set_max_level(level);
    }
}

/// From now on the log also goes to that of this deployment.
pub(crate) fn deployment_begins(dir: &Path, deployment: &str) {
    let opened: Result<DeploymentLog> = DeploymentLog::open(dir, deployment);
    match opened {
        Ok(log) => set(Some(log)),
        // The update matters more than its log.
        Err(err) => warn!("{err:#}; going on without"),
    }
}

/// From now on the log goes to standard error alone.
pub(crate) fn deployment_ends() {
    set(None);
}

fn set(log: Option<DeploymentLog>) {
    if let Some(logger) = LOGGER.get() {
        *logger.lock() = log;
    }
}

impl Logger {
    fn lock(&self) -> MutexGuard<'_, Option<DeploymentLog>> {
        self.deployment
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        self.stderr.enabled(metadata)
    }

    fn log(&self, record: &Record) {
        self.stderr.log(record);
        let mut deployment = self.lock();
        let Some(log) = deployment.as_mut() else {
            return;
        };
        if log.add(record.level(), &record.args().to_string()).is_err() {
            // Full or failing: not worth more than one attempt. Standard error has everything.
            *deployment = None;
        }
    }

    fn flush(&self) {
        self.stderr.flush();
    }
}
