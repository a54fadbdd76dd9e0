//! When the daemon has what to do. Pure: the clock is an argument.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;

/// Why the daemon talks to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Errand {
    /// To tell what the device is like.
    Inventory,
    /// To deliver reports, and to ask for a deployment.
    Deployment,
}

/// What comes when.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    inventory: Timer,
    deployment: Timer,
}

#[derive(Clone, Debug)]
struct Timer {
    interval: Duration,
    due: Instant,
    backoff: Backoff,
}

/// The first pause after a failure; the configured retry interval is the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

impl Schedule {
    /// Both errands are due at once, inventory first: the server then knows what it deals with.
    pub(crate) fn new(
        inventory: Duration,
        deployment: Duration,
        longest_pause: Duration,
        now: Instant,
    ) -> Schedule {
        let timer = |interval| Timer {
            interval,
            due: now,
            backoff: Backoff::new(FIRST_PAUSE, longest_pause),
        };
        Schedule {
            inventory: timer(inventory),
            deployment: timer(deployment),
        }
    }

    /// What comes next, and when.
    pub(crate) fn next(&self) -> (Instant, Errand) {
        let inventory = (self.inventory.due, Errand::Inventory);
        let deployment = (self.deployment.due, Errand::Deployment);
        inventory.min(deployment)
    }

    /// An errand begins: its next turn is counted from now, so that nothing that happens
    /// meanwhile can lose it.
    pub(crate) fn begins(&mut self, errand: Errand, now: Instant) {
        let timer = self.timer(errand);
        timer.due = after(now, timer.interval);
    }

    /// It has worked.
    pub(crate) fn worked(&mut self, errand: Errand) {
        self.timer(errand).backoff.after_success();
    }

    /// It has not: try again sooner than usual, or when the server said.
    pub(crate) fn failed(
        &mut self,
        errand: Errand,
        wanted: Option<Duration>,
        now: Instant,
        chance: f64,
    ) {
        let timer = self.timer(errand);
        let pause = timer.backoff.after_failure(chance).min(timer.interval);
        timer.due = after(now, wanted.unwrap_or(pause));
    }

    /// It is wanted at once.
    pub(crate) fn wanted(&mut self, errand: Errand, now: Instant) {
        self.timer(errand).due = now;
    }

    fn timer(&mut self, errand: Errand) -> &mut Timer {
        match errand {
            Errand::Inventory => &mut self.inventory,
            Errand::Deployment => &mut self.deployment,
        }
    }
}

fn after(now: Instant, pause: Duration) -> Instant {
    now.checked_add(pause).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn schedule(now: Instant) -> Schedule {
        Schedule::new(8 * HOUR, HOUR / 2, Duration::from_secs(300), now)
    }

    #[test]
    fn inventory_comes_first_and_then_each_in_its_time() {
        let now = Instant::now();
        let mut schedule = schedule(now);
        assert_eq!(schedule.next(), (now, Errand::Inventory));
        schedule.begins(Errand::Inventory, now);
        assert_eq!(schedule.next(), (now, Errand::Deployment));
        schedule.begins(Errand::Deployment, now);
        assert_eq!(schedule.next(), (now + HOUR / 2, Errand::Deployment));
    }

    #[test]
    fn a_failing_inventory_does_not_delay_deployments() {
        let now = Instant::now();
        let mut schedule = schedule(now);
        schedule.begins(Errand::Inventory, now);
        schedule.failed(Errand::Inventory, Some(10 * HOUR), now, 0.0);
        assert_eq!(schedule.next(), (now, Errand::Deployment));
    }

    #[test]
    fn a_failure_is_followed_by_another_attempt_never_later_than_usual() {
        let now = Instant::now();
        let mut schedule =
            Schedule::new(HOUR, Duration::from_secs(5), Duration::from_secs(300), now);
        schedule.begins(Errand::Inventory, now);
        for _ in 0..20 {
            schedule.begins(Errand::Deployment, now);
            schedule.failed(Errand::Deployment, None, now, 1.0);
            let (due, errand) = schedule.next();
            assert_eq!(errand, Errand::Deployment);
            assert!(due > now && due <= now + Duration::from_secs(5));
        }
    }

    #[test]
    fn what_the_server_says_overrides_the_pause() {
        let now = Instant::now();
        let mut schedule = schedule(now);
        schedule.begins(Errand::Inventory, now);
        schedule.failed(Errand::Deployment, Some(Duration::from_secs(7)), now, 0.5);
        assert_eq!(
            schedule.next(),
            (now + Duration::from_secs(7), Errand::Deployment)
        );
        schedule.wanted(Errand::Deployment, now);
        assert_eq!(schedule.next(), (now, Errand::Deployment));
    }
}
