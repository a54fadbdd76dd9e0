//! Slowing down whoever guesses passwords. Pure: the time is given.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::network::Network;

/// Counts failed sign-ins by account and address, by address, and by account.
///
/// After a few failures each further attempt has to wait, twice as long as the one before. The owner of an account
/// that somebody else guesses at from many addresses waits half a minute at most.
#[derive(Default)]
pub struct LoginGuard {
    pairs: Counters<(String, Network)>,
    addresses: Counters<Network>,
    accounts: Counters<String>,
}

/// Failures without a wait, and the longest wait.
struct Patience {
    failures: u32,
    longest: Duration,
}

const PAIR: Patience = Patience {
    failures: 5,
    longest: Duration::from_secs(15 * 60),
};
const ADDRESS: Patience = Patience {
    failures: 50,
    longest: Duration::from_secs(60),
};
const ACCOUNT: Patience = Patience {
    failures: 50,
    longest: Duration::from_secs(30),
};

/// After this long without a failure everything is forgotten.
const MEMORY: Duration = Duration::from_secs(60 * 60);

/// Counters of one kind.
const LIMIT: usize = 10_000;

impl LoginGuard {
    /// How long whoever signs in to `account` from `address` has to wait first.
    #[must_use]
    pub fn wait(&self, account: &str, address: IpAddr, now: Instant) -> Option<Duration> {
        let network = Network::of(address);
        let account = account.to_owned();
        [
            self.pairs.wait(&(account.clone(), network), now),
            self.addresses.wait(&network, now),
            self.accounts.wait(&account, now),
        ]
        .into_iter()
        .flatten()
        .max()
    }

    /// It was the wrong password.
    pub fn failed(&mut self, account: &str, address: IpAddr, now: Instant) {
        let network = Network::of(address);
        self.pairs.failed((account.to_owned(), network), &PAIR, now);
        self.addresses.failed(network, &ADDRESS, now);
        self.accounts.failed(account.to_owned(), &ACCOUNT, now);
    }

    /// It was the right one.
    pub fn succeeded(&mut self, account: &str, address: IpAddr) {
        self.pairs
            .0
            .remove(&(account.to_owned(), Network::of(address)));
    }
}

struct Counters<K>(HashMap<K, Counter>);

impl<K> Default for Counters<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

struct Counter {
    failures: u32,
    last: Instant,
    wait_until: Instant,
}

impl<K: Eq + Hash + Clone> Counters<K> {
    fn wait(&self, key: &K, now: Instant) -> Option<Duration> {
        let wait = self.0.get(key)?.wait_until.saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }

    fn failed(&mut self, key: K, patience: &Patience, now: Instant) {
        if self.0.len() >= LIMIT && !self.0.contains_key(&key) {
            self.make_room(now);
        }
        let counter = self.0.entry(key).or_insert(Counter {
            failures: 0,
            last: now,
            wait_until: now,
        });
        if now.saturating_duration_since(counter.last) > MEMORY {
            counter.failures = 0;
        }
        counter.failures = counter.failures.saturating_add(1);
        counter.last = now;
        if let Some(over) = counter.failures.checked_sub(patience.failures) {
            let seconds = 1_u64.checked_shl(over.min(32)).unwrap_or(u64::MAX);
            let wait = Duration::from_secs(seconds).min(patience.longest);
            counter.wait_until = now.checked_add(wait).unwrap_or(now);
        }
    }

    /// Forgets what is old; if that is not enough, who failed least.
    fn make_room(&mut self, now: Instant) {
        self.0
            .retain(|_, counter| now.saturating_duration_since(counter.last) <= MEMORY);
        let mut level = 1;
        while self.0.len() >= LIMIT {
            self.0.retain(|_, counter| counter.failures > level);
            level = level.saturating_mul(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn fail(guard: &mut LoginGuard, times: u32, account: &str, address: IpAddr, now: Instant) {
        for _ in 0..times {
            guard.failed(account, address, now);
        }
    }

    #[test]
    fn after_a_few_failures_each_attempt_waits_twice_as_long() {
        let (mut guard, now) = (LoginGuard::default(), Instant::now());
        fail(&mut guard, 4, "a", HERE, now);
        assert_eq!(guard.wait("a", HERE, now), None);
        for seconds in [1, 2, 4, 8, 16] {
            guard.failed("a", HERE, now);
            assert_eq!(
                guard.wait("a", HERE, now),
                Some(Duration::from_secs(seconds))
            );
        }
        assert_eq!(guard.wait("a", HERE, now + Duration::from_secs(16)), None);
        assert_eq!(guard.wait("b", HERE, now), None);
        fail(&mut guard, 60, "a", HERE, now);
        assert_eq!(guard.wait("a", HERE, now), Some(PAIR.longest));
    }

    #[test]
    fn the_owner_comes_in_even_if_somebody_guesses_from_everywhere() {
        let (mut guard, now) = (LoginGuard::default(), Instant::now());
        for n in 0..200 {
            guard.failed("a", IpAddr::from([10, 0, 0, n]), now);
        }
        assert_eq!(guard.wait("a", HERE, now), Some(ACCOUNT.longest));
    }

    #[test]
    fn one_address_cannot_try_every_account() {
        let (mut guard, now) = (LoginGuard::default(), Instant::now());
        for n in 0..60 {
            guard.failed(&format!("user{n}"), HERE, now);
        }
        assert!(guard.wait("another", HERE, now).is_some());
    }

    #[test]
    fn a_success_and_time_forgive() {
        let (mut guard, now) = (LoginGuard::default(), Instant::now());
        fail(&mut guard, 9, "a", HERE, now);
        guard.succeeded("a", HERE);
        assert_eq!(guard.wait("a", HERE, now), None);
        fail(&mut guard, 9, "a", HERE, now);
        let later = now + MEMORY + Duration::from_secs(1);
        guard.failed("a", HERE, later);
        assert_eq!(guard.wait("a", HERE, later), None);
    }

    #[test]
    fn an_ipv6_customer_is_one_address() {
        let (mut guard, now) = (LoginGuard::default(), Instant::now());
        for n in 0..9 {
            let address = IpAddr::from([0x2001, 0xdb8, 0, 1, n, n, n, n]);
            guard.failed("a", address, now);
        }
        assert!(
            guard
                .wait("a", IpAddr::from([0x2001, 0xdb8, 0, 1, 99, 0, 0, 1]), now)
                .is_some()
        );
        assert!(
            guard
                .wait("a", IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1]), now)
                .is_none()
        );
    }

    #[test]
    fn memory_is_bounded_and_the_worst_are_remembered() {
        let (mut guard, now) = (LoginGuard::default(), Instant::now());
        fail(&mut guard, 9, "victim", HERE, now);
        for n in 0..30_000_u32 {
            guard.failed(&format!("user{n}"), IpAddr::from(n.to_be_bytes()), now);
        }
        assert!(guard.pairs.0.len() <= LIMIT);
        assert!(guard.wait("victim", HERE, now).is_some());
    }
}
