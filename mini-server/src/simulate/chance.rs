//! What happens to which device is drawn from the seed, the number of the device and what is asked, never from the order
//! in which answers come: two runs with the same seed have the same devices fail in the same states. Pure.

use ring::digest::{SHA256, digest};

/// What is drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// When a device asks first.
    Start,
    /// How much later or earlier than planned it does something, for the time with this number.
    Jitter(u64),
    /// How its deployment with this number goes.
    Fate(u16),
}

/// The source of all chance of a fleet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chance(u64);

impl Chance {
    /// All that a seed brings.
    pub(super) fn of(seed: &str) -> Self {
        let hash = digest(&SHA256, seed.as_bytes());
        let first = hash.as_ref().first_chunk::<8>();
        Self(first.map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }

    /// A number from 0 to below 1.
    pub(super) fn roll(self, device: u32, about: About) -> f64 {
        let about = match about {
            About::Start => 1,
            About::Jitter(n) => n.wrapping_shl(2) | 2,
            About::Fate(n) => u64::from(n).wrapping_shl(2) | 3,
        };
        let number = mix(mix(self.0 ^ u64::from(device)) ^ about);
        // What a number with 53 bits of mantissa has room for.
        (number >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The finalizer of SplitMix64.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_even_and_the_same_again() {
        let chance = Chance::of("1");
        let below = |limit: f64| {
            (0..10_000)
                .filter(|n| chance.roll(*n, About::Fate(0)) < limit)
                .count()
        };
        assert!((900..1100).contains(&below(0.1)), "{}", below(0.1));
        assert_eq!((below(0.0), below(1.0)), (0, 10_000));
        let roll = chance.roll(7, About::Jitter(3));
        assert_eq!(roll, Chance::of("1").roll(7, About::Jitter(3)));
        for other in [
            chance.roll(8, About::Jitter(3)),
            chance.roll(7, About::Jitter(4)),
            Chance::of("2").roll(7, About::Jitter(3)),
        ] {
            assert_ne!(roll, other);
        }
    }
}
