//! How often somebody may ask. The time is given.
//!
//! Each one has a virtual time at which the next request would be due if requests came evenly; it may run ahead of
//! the real time by the burst that is allowed (generic cell rate algorithm). That is one number for each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::network::Network;

/// Requests per second, and how many at once.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    interval: Duration,
    burst: Duration,
}

impl Rate {
    /// So many requests per second, and twice as many at once.
    #[must_use]
    pub fn per_second(requests: u32) -> Self {
        Self {
            interval: Duration::from_secs(1)
                .checked_div(requests)
                .unwrap_or(Duration::from_secs(1)),
            burst: Duration::from_secs(2),
        }
    }

    /// The virtual time after one more request at `now`, or how long to wait.
    fn admit(self, due: Duration, now: Duration) -> Result<Duration, Duration> {
        let due = due.max(now).saturating_add(self.interval);
        match due.checked_sub(now.saturating_add(self.burst)) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => Ok(due),
        }
    }
}

/// The virtual time of one device.
#[derive(Debug, Default)]
pub struct Due(AtomicU64);

/// Who may ask how often.
pub struct Throttles {
    begun: Instant,
    device: Rate,
    address: Rate,
    networks: Mutex<Networks>,
}

/// The virtual times of networks.
#[derive(Default)]
struct Networks {
    due: HashMap<Network, Duration>,
    /// When those were last forgotten that are as good as new.
    swept: Duration,
}

/// Networks that are remembered; with more, newcomers have no limit until the next sweep.
const NETWORKS: usize = 100_000;

/// Looking through all of them takes a millisecond: not more often than this.
const SWEEP: Duration = Duration::from_secs(1);

impl Throttles {
    /// With these rates: for one device, and for one address from which no device speaks.
    #[must_use]
    pub fn new(device: Rate, address: Rate) -> Self {
        Self {
            begun: Instant::now(),
            device,
            address,
            networks: Mutex::default(),
        }
    }

    /// Whether a device may ask now.
    ///
    /// # Errors
    /// How long it has to wait.
    pub fn device(&self, due: &Due, now: Instant) -> Result<(), Duration> {
        let before = Duration::from_nanos(due.0.load(Ordering::Relaxed));
        let after = self.device.admit(before, self.since(now))?;
        // Of two requests at the same time one may go uncounted.
        due.0.store(
            u64::try_from(after.as_nanos()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
        Ok(())
    }

    /// Whether somebody from `address` may ask now.
    ///
    /// # Errors
    /// How long it has to wait.
    pub fn address(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let now = self.since(now);
        let network = Network::of(address);
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let full = networks.due.len() >= NETWORKS;
        if full && now >= networks.swept.saturating_add(SWEEP) {
            // Who is not ahead of time is as good as new.
            networks.due.retain(|_, due| *due > now);
            networks.swept = now;
        }
        let before = networks.due.get(&network).copied().unwrap_or_default();
        let after = self.address.admit(before, now)?;
        if networks.due.len() < NETWORKS || networks.due.contains_key(&network) {
            networks.due.insert(network, after);
        }
        Ok(())
    }

    fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let throttles = Throttles::new(Rate::per_second(10), Rate::per_second(1));
        let (due, now) = (Due::default(), throttles.begun + Duration::from_secs(5));
        for _ in 0..20 {
            assert_eq!(throttles.device(&due, now), Ok(()));
        }
        assert_eq!(throttles.device(&due, now), Err(Duration::from_millis(100)));
        assert_eq!(
            throttles.device(&due, now + Duration::from_millis(100)),
            Ok(())
        );
        assert!(
            throttles
                .device(&due, now + Duration::from_millis(100))
                .is_err()
        );
    }

    #[test]
    fn addresses_do_not_share_their_rate_and_memory_is_bounded() {
        let throttles = Throttles::new(Rate::per_second(10), Rate::per_second(1));
        let now = throttles.begun;
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..150_000 {
            assert_eq!(throttles.address(address(n), now), Ok(()));
        }
        assert!(throttles.networks.lock().unwrap().due.len() <= NETWORKS);
        assert_eq!(throttles.address(address(0), now), Ok(()));
        assert!(throttles.address(address(0), now).is_err());
        assert_eq!(
            throttles.address(address(0), now + Duration::from_secs(1)),
            Ok(())
        );
    }
}
