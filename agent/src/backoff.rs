//! How long to wait before the next attempt: soon at first, then ever longer, up to a ceiling, and
//! not at the same moment as every other device.

use std::time::Duration;

/// Counts attempts that failed in a row.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    ceiling: Duration,
    failed: u32,
}

impl Backoff {
    /// Waits `first` after the first failure, twice as long after each further one, and never
    /// longer than `ceiling`.
    pub(crate) fn new(first: Duration, ceiling: Duration) -> Backoff {
        Backoff {
            first: first.min(ceiling),
            ceiling,
            failed: 0,
        }
    }

    /// How often it has failed in a row.
    pub(crate) fn failed(&self) -> u32 {
        self.failed
    }

    /// One more failure: how long to wait. `chance` between 0 and 1 spreads devices that failed
    /// together over the last quarter of the wait.
    pub(crate) fn after_failure(&mut self, chance: f64) -> Duration {
        let doubled = 2_u32.checked_pow(self.failed).unwrap_or(u32::MAX);
        self.failed = self.failed.saturating_add(1);
        let longest = self.first.saturating_mul(doubled).min(self.ceiling);
        longest.mul_f64(0.75 + 0.25 * chance.clamp(0.0, 1.0))
    }

    /// It has worked.
    pub(crate) fn after_success(&mut self) {
        self.failed = 0;
    }
}

/// A number between 0 and 1 that differs from device to device and from time to time. Good enough
/// to spread load, and for nothing else.
pub(crate) fn chance() -> f64 {
    let mut byte = [0; 2];
    match ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut byte) {
        Ok(()) => f64::from(u16::from_le_bytes(byte)) / f64::from(u16::MAX),
        Err(ring::error::Unspecified) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_ceiling() {
        let mut backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(60));
        let waits: Vec<_> = (0..5)
            .map(|_| backoff.after_failure(1.0).as_secs())
            .collect();
        assert_eq!(waits, [10, 20, 40, 60, 60]);
        backoff.after_success();
        assert_eq!(backoff.after_failure(0.0), Duration::from_millis(7500));
    }

    #[test]
    fn nothing_overflows() {
        let mut backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(60));
        for _ in 0..100 {
            assert!(backoff.after_failure(1.0) <= Duration::from_secs(60));
        }
    }

    #[test]
    fn a_low_ceiling_rules() {
        let mut backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(1));
        assert_eq!(backoff.after_failure(1.0), Duration::from_secs(1));
    }
}
