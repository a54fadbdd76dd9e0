//! A limit to how many bytes of an artifact come in a second, for a line that others need too.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// Says when the next bytes may be read.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Bytes per second; without it there is no limit.
    rate: Option<NonZeroU64>,
    /// Nothing is read before this.
    due: Cell<Option<Instant>>,
}

impl Pace {
    /// At most `rate` bytes per second, if there is one.
    pub(crate) fn new(rate: Option<NonZeroU64>) -> Pace {
        Pace {
            rate,
            due: Cell::new(None),
        }
    }

    /// How long to wait before the next read.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let due = self.due.get().unwrap_or(now);
        due.saturating_duration_since(now)
    }

    /// `count` bytes have come. Time in which nothing was read is not made up for afterwards.
    pub(crate) fn took(&self, count: usize, now: Instant) {
        let Some(rate) = self.rate else {
            return;
        };
        let worth = (count as u64).saturating_mul(1_000_000) / rate;
        let begin = self.due.get().map_or(now, |due| due.max(now));
        self.due
            .set(begin.checked_add(Duration::from_micros(worth)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_waited_for_and_pauses_are_not_made_up_for() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let ms = Duration::from_millis;
        let pace = Pace::new(NonZeroU64::new(1000));
        assert_eq!(pace.wait(at(0)), ms(0));
        pace.took(500, at(0));
        assert_eq!(pace.wait(at(0)), ms(500));
        assert_eq!(pace.wait(at(200)), ms(300));
        // More came than was waited for.
        pace.took(100, at(200));
        assert_eq!(pace.wait(at(200)), ms(400));
        assert_eq!(pace.wait(at(5000)), ms(0));
        pace.took(100, at(5000));
        assert_eq!(pace.wait(at(5000)), ms(100));
    }

    #[test]
    fn without_a_limit_nothing_is_waited_for() {
        let pace = Pace::new(None);
        pace.took(usize::MAX, Instant::now());
        assert_eq!(pace.wait(Instant::now()), Duration::ZERO);
    }
}
