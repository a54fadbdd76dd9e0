//! Whole deployments played through: whatever devices, people and the clock do, in whatever order, nobody begins who
//! must not, and everybody does in the end. What is counted here is counted from the devices, not from the progress.

#![allow(clippy::arithmetic_side_effects, reason = "small numbers of a test")]

use DeploymentStatus::{AlreadyInstalled, Downloading, Failure, Pending, Success};
use proptest::prelude::*;
use tandem_api::management::{NewPhase, NewRollout, StopOnFailures};

use super::*;

#[derive(Debug, Clone)]
enum Event {
    Asks(usize),
    Reports(usize, DeploymentStatus),
    /// It asks, and has it already.
    HasIt(usize),
    /// Nothing was heard of it for long.
    Lost(usize),
    Time(i64),
    Pause,
    Resume,
    Advance,
}

#[derive(Debug, Clone, Default)]
struct Device {
    earliest: usize,
    status: Option<DeploymentStatus>,
    begun: bool,
    /// When it was given up, if it is lost.
    lost: Option<i64>,
    /// It was lost once: phases have not waited for it.
    straggler: bool,
    done: bool,
    failures: u32,
}

#[derive(Debug)]
struct World {
    plan: Plan,
    progress: Progress,
    devices: Vec<Device>,
    now: i64,
    /// Phases that somebody has given leave to, and whether one was begun before its time.
    words: usize,
    advanced: bool,
    phases: usize,
}

impl World {
    fn new(mut plan: Plan, groups: &[Option<String>]) -> Option<Self> {
        let devices: Vec<Device> = groups
            .iter()
            .map(|group| Device {
                earliest: earliest(&plan.phases, group.as_deref()),
                ..Device::default()
            })
            .collect();
        let of = |n| devices.iter().filter(|device| device.earliest == n).count() as u64;
        let members: Vec<u64> = (0..plan.phases.len()).map(of).collect();
        plan.lay_out(&members).ok()?;
        Some(Self {
            plan,
            progress: Progress::default(),
            devices,
            now: 0,
            words: 0,
            advanced: false,
            phases: 0,
        })
    }

    /// Those who are at it at once: they have begun, are neither done nor lost.
    fn active(&self) -> usize {
        self.devices
            .iter()
            .filter(|device| device.begun && !device.done && device.lost.is_none())
            .count()
    }

    fn lost(&self, since: i64) -> u64 {
        let lost = self.devices.iter().filter_map(|device| device.lost);
        lost.filter(|at| *at >= since).count() as u64
    }

    fn begun(&self) -> usize {
        self.devices.iter().filter(|device| device.begun).count()
    }

    fn held(&self, n: usize) -> Option<Held> {
        let asker = Asker {
            status: self.devices[n].status,
            lost: self.devices[n].lost.is_some(),
            earliest: self.devices[n].earliest,
            window: None,
        };
        hold(&self.plan, &self.progress, asker, self.now)
    }

    fn happens(&mut self, event: &Event) {
        match *event {
            Event::Asks(n) => self.asks(n),
            Event::HasIt(n) => {
                let device = &self.devices[n];
                if device.status.is_none() && !device.done && self.held(n).is_none() {
                    self.done(n, AlreadyInstalled);
                }
            }
            Event::Reports(n, status) => {
                let device = &mut self.devices[n];
                if device.status.is_none() || device.done {
                } else if !status.is_final() {
                    device.status = Some(status);
                    self.found(n);
                } else if status == Failure && device.failures < self.plan.retries {
                    device.failures += 1;
                    device.status = Some(Pending);
                    self.found(n);
                } else {
                    self.done(n, status);
                }
            }
            Event::Lost(n) => {
                let device = &mut self.devices[n];
                if device.begun && !device.done && device.lost.is_none() {
                    device.straggler = true;
                    device.lost = Some(self.progress.lose(&self.plan, self.now));
                }
            }
            Event::Time(passes) => self.now += passes,
            Event::Pause => {
                self.progress.pause("", self.now);
            }
            Event::Resume => {
                let stopped = self.progress.halt.is_some();
                self.words += usize::from(self.progress.resume(&self.plan, self.now) && !stopped);
            }
            Event::Advance => {
                let done = self.progress.advance(&self.plan, self.now);
                self.words += usize::from(done);
                self.advanced |= done;
            }
        }
        assert_eq!(self.progress.started, self.begun() as u64);
        assert_eq!(self.progress.active, self.active() as u64);
        assert_eq!(self.progress.lost, self.lost(i64::MIN));
        assert_eq!(
            self.progress.missed,
            self.lost(self.progress.counting_since)
        );
        assert!(self.plan.cap.is_none_or(|cap| self.active() as u64 <= cap));
    }

    /// A device is heard of that was lost, perhaps: it has a place again if there is one.
    fn found(&mut self, n: usize) -> bool {
        let Some(at) = self.devices[n].lost else {
            return true;
        };
        let free = self.plan.cap.is_none_or(|cap| (self.active() as u64) < cap);
        assert_eq!(self.progress.find(&self.plan, at), free);
        if free {
            self.devices[n].lost = None;
        }
        free
    }

    fn done(&mut self, n: usize, status: DeploymentStatus) {
        let device = &mut self.devices[n];
        let place = Place::of(device.status, device.lost.take());
        device.status = Some(status);
        device.done = true;
        self.progress.finish(&self.plan, place, status, self.now);
    }

    fn asks(&mut self, n: usize) {
        let device = self.devices[n].clone();
        if device.done {
            return;
        }
        if let Some(held) = self.held(n) {
            assert!(!held.to_string().is_empty());
            return;
        }
        assert!(
            self.plan
                .window
                .as_ref()
                .is_none_or(|window| window.is_open(self.now))
        );
        if device.status != Some(Downloading) || device.lost.is_some() {
            assert_eq!(
                self.progress.halt, None,
                "a stopped deployment starts nothing"
            );
        }
        if device.begun {
            assert!(self.found(n), "who is given it has a place");
            return;
        }
        self.check_phase(device.earliest);
        self.progress.start(&self.plan, self.now);
        self.devices[n].begun = true;
        self.devices[n].status = Some(Pending);
    }

    /// A device begins that may begin in the phase `earliest`: the phase has begun, rightly, and has a place.
    fn check_phase(&mut self, earliest: usize) {
        if self.plan.phases.is_empty() {
            return;
        }
        let begun = standing(&self.plan.phases, &self.progress, self.now).begun;
        let under_way = &self.plan.phases[..begun];
        assert!(earliest < begun, "the phase of the device has not begun");
        let current = under_way.last().unwrap();
        assert!(
            current
                .limit
                .is_none_or(|limit| (self.begun() as u64) < limit)
        );
        let paused = under_way.iter().filter(|phase| phase.pause).count();
        assert!(
            paused <= self.words,
            "a phase began without somebody's word"
        );
        if !self.advanced {
            for phase in under_way {
                if let Begins::At(at) = phase.begins {
                    assert!(at <= self.now, "a phase began before its time");
                }
            }
            if begun > self.phases && begun > 1 && matches!(current.begins, Begins::After(_)) {
                let waited_for =
                    |device: &&Device| device.begun && !device.done && !device.straggler;
                let at_it = self.devices.iter().filter(waited_for).count();
                assert_eq!(at_it, 0, "a phase began before the last one was done");
            }
        }
        self.phases = begun;
    }

    /// Everybody asks and reports and the operator lets it go on, until nothing changes any more.
    fn goes_well(&mut self) {
        for _ in 0..=2 * self.plan.phases.len() + self.devices.len() {
            self.happens(&Event::Time(100_000));
            if let Some(window) = &self.plan.window
                && !window.is_open(self.now)
            {
                self.now = window.opens(self.now).unwrap();
            }
            self.happens(&Event::Resume);
            for n in 0..self.devices.len() {
                self.happens(&Event::Asks(n));
                self.happens(&Event::Reports(n, Success));
            }
        }
        let left: Vec<_> = (0..self.devices.len())
            .filter(|n| !self.devices[*n].done)
            .collect();
        assert_eq!(
            left,
            [0_usize; 0],
            "somebody never gets it: {:?}",
            self.held(left.first().copied().unwrap_or(0))
        );
    }
}

const DEVICES: usize = 12;

fn phases() -> impl Strategy<Value = Vec<NewPhase>> {
    let size = prop_oneof![
        (5_u8..40).prop_map(|percent| NewPhase {
            batch_size: Some(percent),
            ..NewPhase::default()
        }),
        (1_u64..6).prop_map(|count| NewPhase {
            batch_count: Some(count),
            ..NewPhase::default()
        }),
        "[ab]".prop_map(|group| NewPhase {
            group: Some(group),
            ..NewPhase::default()
        }),
    ];
    let phase = (
        size,
        proptest::option::of(0_u64..50),
        any::<bool>(),
        0_i64..50,
        any::<bool>(),
    );
    (proptest::collection::vec(phase, 0..4), any::<bool>()).prop_map(|(sized, pause)| {
        let mut time = 0;
        let mut phases: Vec<NewPhase> = sized
            .into_iter()
            .map(|(size, wait, timed, later, pause)| {
                time += later * 1000;
                NewPhase {
                    start_ts: timed.then(|| tandem_api::Timestamp::from_millis(time)),
                    wait_seconds: wait.filter(|_| !timed),
                    pause,
                    ..size
                }
            })
            .collect();
        if !phases.is_empty() {
            phases.push(NewPhase {
                pause,
                ..NewPhase::default()
            });
        }
        phases
    })
}

prop_compose! {
    fn plans()(
        phases in phases(),
        cap in proptest::option::of(1_u64..4),
        failures in proptest::option::of((1_u64..4, proptest::option::of(1_u8..=100))),
        window in proptest::option::of(0_u32..1440),
        retries in 0_u32..3,
    ) -> NewRollout {
        NewRollout {
            phases,
            max_concurrent: cap,
            stop_on_failures: failures.map(|(count, percent)| StopOnFailures {
                count: Some(count),
                percent,
                minimum: Some(2),
                lost: count % 2 == 1,
            }),
            maintenance_window: window.map(|start| tandem_api::management::MaintenanceWindow {
                start: format!("{:02}:{:02}", start / 60, start % 60),
                duration_minutes: 300,
                ..Default::default()
            }),
            retries: Some(retries),
            lost_after_seconds: None,
        }
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let report = prop::sample::select(vec![Downloading, Success, Success, Failure]);
    let event = prop_oneof![
        8 => (0..DEVICES).prop_map(Event::Asks),
        8 => (0..DEVICES, report).prop_map(|(n, status)| Event::Reports(n, status)),
        1 => (0..DEVICES).prop_map(Event::HasIt),
        3 => (0..DEVICES).prop_map(Event::Lost),
        3 => (0_i64..30_000).prop_map(Event::Time),
        1 => Just(Event::Time(7_200_000)),
        1 => Just(Event::Pause),
        2 => Just(Event::Resume),
        1 => Just(Event::Advance),
    ];
    proptest::collection::vec(event, 0..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn nobody_begins_who_must_not_and_everybody_does_in_the_end(
        wire in plans(),
        groups in proptest::collection::vec(proptest::option::of("[abc]"), DEVICES),
        events in events(),
    ) {
        let Ok(plan) = Plan::from_wire(&wire) else { return Ok(()) };
        prop_assert_eq!(&serde_json::from_str::<Plan>(&serde_json::to_string(&plan).unwrap()).unwrap(), &plan);
        let Some(mut world) = World::new(plan, &groups) else { return Ok(()) };
        for event in &events {
            world.happens(event);
        }
        world.goes_well();
    }
}
