//! How long answers took: counted in classes that are 3 % wide, so that a million of them take no more room than one.

use std::time::Duration;

/// Classes of one power of two.
const FINE: usize = 32;

/// Microseconds that have a class: up to half an hour.
const CLASSES: usize = 27 * FINE;

/// Durations, sorted into classes.
#[derive(Debug, Clone)]
pub(super) struct Latencies {
    classes: Box<[u64]>,
    count: u64,
    longest: Duration,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            classes: vec![0; CLASSES].into_boxed_slice(),
            count: 0,
            longest: Duration::ZERO,
        }
    }
}

impl Latencies {
    /// One more.
    pub(super) fn add(&mut self, took: Duration) {
        let micros = usize::try_from(took.as_micros()).unwrap_or(usize::MAX);
        let class = class(micros).min(CLASSES.saturating_sub(1));
        if let Some(count) = self.classes.get_mut(class) {
            *count = count.saturating_add(1);
        }
        self.count = self.count.saturating_add(1);
        self.longest = self.longest.max(took);
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The longest.
    pub(super) fn longest(&self) -> Duration {
        self.longest
    }

    /// So many percent were not longer than this: the upper end of a class.
    pub(super) fn percentile(&self, percent: u64) -> Duration {
        let wanted = self.count.saturating_mul(percent).div_ceil(100).max(1);
        let mut sum = 0_u64;
        for (class, count) in self.classes.iter().enumerate() {
            sum = sum.saturating_add(*count);
            // The last one has everything beyond.
            if sum >= wanted && class < CLASSES.saturating_sub(1) {
                let end = u64::try_from(upper(class)).unwrap_or(u64::MAX);
                return Duration::from_micros(end).min(self.longest);
            }
        }
        self.longest
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.classes.fill(0);
        self.count = 0;
        self.longest = Duration::ZERO;
    }
}

/// The class of a number: itself below [`FINE`], then [`FINE`] for each power of two.
fn class(number: usize) -> usize {
    let bits = usize::BITS.saturating_sub(number.leading_zeros());
    let shift = bits.saturating_sub(FINE.trailing_zeros().saturating_add(1));
    let power = usize::try_from(shift).unwrap_or(0);
    number
        .checked_shr(shift)
        .unwrap_or(0)
        .saturating_add(power.saturating_mul(FINE))
}

/// The largest number of a class.
fn upper(class: usize) -> usize {
    let power = (class / FINE).saturating_sub(1);
    let first = class.saturating_sub(power.saturating_mul(FINE));
    let shift = u32::try_from(power).unwrap_or(u32::MAX);
    first
        .saturating_add(1)
        .checked_shl(shift)
        .unwrap_or(usize::MAX)
        .saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_each_other_and_are_narrow() {
        let mut last = 0;
        for number in 0..200_000 {
            let class = class(number);
            assert!(class == last || class == last + 1, "{number}");
            assert!(upper(class) >= number && upper(class) <= number + number / 32 + 1);
            last = class;
        }
    }

    #[test]
    fn percentiles_are_within_three_percent() {
        let mut all = Latencies::default();
        assert_eq!(all.percentile(99), Duration::ZERO);
        for millis in 1..=1000 {
            all.add(Duration::from_millis(millis));
        }
        for (percent, millis) in [(50, 500), (99, 990), (100, 1000)] {
            let found = all.percentile(percent).as_millis();
            assert!((millis..=millis * 104 / 100).contains(&found), "{found}");
        }
        assert_eq!((all.count(), all.longest().as_millis()), (1000, 1000));
        all.add(Duration::from_secs(1 << 20));
        assert_eq!(all.percentile(100).as_secs(), 1 << 20);
        all.clear();
        assert_eq!(all.count(), 0);
    }
}
