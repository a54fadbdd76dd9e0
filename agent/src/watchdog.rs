//! Signs of life for the service manager (sd_notify(3)), given only while the work goes on.
//!
//! No timer gives them, since a timer would go on when the work hangs. Instead each part of the
//! work says how long it may take before it is heard of again; the service manager's time limit
//! follows that (`WATCHDOG_USEC=`), and is back at the configured one with the next sign of life.
//! A daemon that hangs is ended and started anew by the service manager, and judges what it finds,
//! as after a power cut: an update on trial is rolled back.
//!
//! Without a service manager that asks for it, all of this does nothing.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use log::{debug, warn};

use crate::config::ServiceManager;

/// There is one process and one service manager, so, as with the log, what tells the time need
/// not be handed through every function.
static WATCHDOG: OnceLock<Watchdog> = OnceLock::new();

struct Watchdog {
    socket: UnixDatagram,
    /// The time limit that the service manager is configured with; `None` if it has none.
    period: Option<Duration>,
    told: Mutex<Told>,
}

/// The last sign of life.
struct Told {
    at: Instant,
    limit: Duration,
}

/// Tells the service manager that the daemon is ready, and begins to give signs of life. To be
/// called once.
///
/// # Errors
/// When its socket cannot be used.
pub(crate) fn begin(manager: &ServiceManager) -> Result<()> {
    let socket = connect(manager).with_context(|| {
        format!(
            "cannot reach the service manager at {}",
            manager.socket.display()
        )
    })?;
    let watchdog = WATCHDOG.get_or_init(|| Watchdog {
        socket,
        period: manager.watchdog,
        told: Mutex::new(Told {
            at: Instant::now(),
            limit: manager.watchdog.unwrap_or_default(),
        }),
    });
    watchdog.send("READY=1");
    Ok(())
}

fn connect(manager: &ServiceManager) -> Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match manager.socket.as_os_str().as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(&manager.socket)?,
    }
    // A service manager that does not listen must not hold up the work.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The work goes on. Cheap, and may be called often.
pub(crate) fn alive() {
    allow(Duration::ZERO);
}

/// The work goes on, and the next sign of life comes after `time` at the latest, give or take the
/// configured limit.
pub(crate) fn allow(time: Duration) {
    if let Some(watchdog) = WATCHDOG.get() {
        watchdog.allow(time);
    }
}

/// Tells the service manager that the daemon ends.
pub(crate) fn end() {
    if let Some(watchdog) = WATCHDOG.get() {
        watchdog.send("STOPPING=1");
    }
}

impl Watchdog {
    fn allow(&self, time: Duration) {
        let Some(period) = self.period else {
            return;
        };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = time.saturating_add(period);
        let Some(message) = message(&told, limit, period, Instant::now()) else {
            return;
        };
        if self.send(&message) {
            *told = Told {
                at: Instant::now(),
                limit,
            };
        }
    }

    /// Whether the message has gone out.
    fn send(&self, message: &str) -> bool {
        match self.socket.send(message.as_bytes()) {
            Ok(_) => {
                debug!("service manager: {}", message.replace('\n', ", "));
                true
            }
            Err(err) => {
                warn!("cannot tell the service manager {message:?}: {err}");
                false
            }
        }
    }
}

/// What to send now, if anything: signs of life that change nothing are not worth more than a few
/// in each period.
fn message(told: &Told, limit: Duration, period: Duration, now: Instant) -> Option<String> {
    if limit != told.limit {
        return Some(format!("WATCHDOG_USEC={}\nWATCHDOG=1", limit.as_micros()));
    }
    let enough = period.checked_div(4).unwrap_or_default();
    (now.saturating_duration_since(told.at) >= enough).then(|| "WATCHDOG=1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_follows_the_work_and_signs_of_life_are_few() {
        let (period, at) = (Duration::from_secs(60), Instant::now());
        let after = |seconds| at + Duration::from_secs(seconds);
        let told = Told { at, limit: period };
        assert_eq!(message(&told, period, period, after(14)), None);
        let alive = Some("WATCHDOG=1".to_owned());
        assert_eq!(message(&told, period, period, after(15)), alive);
        let hour = Duration::from_secs(3660);
        let longer = Some("WATCHDOG_USEC=3660000000\nWATCHDOG=1".to_owned());
        assert_eq!(message(&told, hour, period, at), longer);
        let told = Told { at, limit: hour };
        let back = Some("WATCHDOG_USEC=60000000\nWATCHDOG=1".to_owned());
        assert_eq!(message(&told, period, period, at), back);
    }
}
