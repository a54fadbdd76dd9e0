//! The power-loss model: every world that a deployment of a root file system can get into when
//! the power goes, the agent dies or an operation fails at any point, any number of times up to a
//! bound. The machine and the boot contract are the real ones; only the device around them is
//! modelled: two root parts with contents, an environment whose writes are atomic (what
//! `uboot-env` proves for itself), and a boot loader that counts trial boots.

use std::collections::{BTreeMap, HashSet};

use super::{
    Boot, Call, Effect, Outcome, Point, State, Step, begin, commit, effect, proceed, resume,
    rollback, step,
};
use crate::boot::contract::{Change, Facts};
use crate::opening::Opening;
use crate::record::{Contents, Deployment, Origin, Reboot, Record, Verdict};
use crate::slots::Slot;

/// What a root part holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Image {
    /// The system that ran before.
    Old,
    /// The artifact's system, complete.
    New,
    /// Partly overwritten.
    Torn,
}

/// The boot environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Env {
    selected: Slot,
    upgrade_available: bool,
    bootcount: u8,
}

/// What may still go wrong, how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Budget {
    /// The power goes.
    cuts: u8,
    /// The agent dies and is started again, without a boot.
    kills: u8,
    /// An operation reports failure, before or after it took effect.
    errors: u8,
}

/// Everything that can differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    a: Image,
    b: Image,
    env: Env,
    running: Slot,
    /// The record on disk.
    disk: Record,
    /// The record in the agent's memory; `None` while it does not run.
    agent: Option<Record>,
    left: Budget,
    /// Nothing but power cuts and restarts has happened so far.
    no_errors_yet: bool,
    /// The new system starts at all.
    new_boots: bool,
}

/// How far an effect got before the power went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Before,
    Middle,
    After,
}

impl World {
    fn image(&self, slot: Slot) -> Image {
        match slot {
            Slot::A => self.a,
            Slot::B => self.b,
        }
    }

    fn write(&mut self, slot: Slot, image: Image) {
        assert_ne!(slot, self.running, "the running root part is written");
        assert!(
            !self.env.upgrade_available,
            "the fallback is written during a trial"
        );
        match slot {
            Slot::A => self.a = image,
            Slot::B => self.b = image,
        }
    }

    fn facts(&self) -> Facts {
        Facts {
            selected: self.env.selected,
            upgrade_available: self.env.upgrade_available,
            running: Some(self.running),
        }
    }

    fn boot_facts(&self) -> Boot {
        Boot {
            running: Some(self.running),
            upgrade_available: self.env.upgrade_available,
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Arm(slot) => {
                assert_eq!(
                    self.image(slot),
                    Image::New,
                    "an incomplete root part is armed"
                );
                self.env = Env {
                    selected: slot,
                    upgrade_available: true,
                    bootcount: 0,
                };
            }
            Change::Commit => {
                assert_eq!(
                    self.running, self.env.selected,
                    "what does not run is committed"
                );
                self.env.upgrade_available = false;
            }
            Change::Disarm(slot) => {
                self.env.selected = slot;
                self.env.upgrade_available = false;
            }
        }
    }

    /// The boot loader, and a kernel that resets when it finds no system.
    fn boot(&mut self) {
        self.agent = None;
        for _ in 0..4 {
            if self.env.upgrade_available {
                self.env.bootcount += 1;
                if self.env.bootcount > 1 {
                    self.env.selected = self.env.selected.other();
                    self.env.upgrade_available = false;
                }
            }
            let starts = match self.image(self.env.selected) {
                Image::Old => true,
                Image::New => self.new_boots,
                Image::Torn => false,
            };
            if starts {
                self.running = self.env.selected;
                return;
            }
        }
        panic!("bricked: {self:?}");
    }

    /// Performs `effect` as the real device does, as far as `progress` says. `fails` makes it
    /// report failure whatever it did.
    fn perform(&mut self, effect: Effect, progress: Progress, fails: bool) -> Outcome {
        let record = self.agent.clone().expect("the agent runs");
        let target = record
            .deployment
            .as_ref()
            .and_then(|deployment| deployment.target);
        let acts = progress != Progress::Before;
        let done = |ok: bool| match ok && !fails {
            true => Outcome::Done,
            false => Outcome::Failed,
        };
        match effect {
            Effect::Open if fails => Outcome::Failed,
            Effect::Open => match self.facts().writable() {
                Ok(target) => Outcome::Opened(contents(), Some(target)),
                Err(_) => Outcome::Failed,
            },
            Effect::Fetch => {
                let target = target.expect("opened");
                if self.facts().writable() != Ok(target) {
                    return Outcome::Failed;
                }
                match progress {
                    Progress::Before => {}
                    Progress::Middle => self.write(target, Image::Torn),
                    Progress::After if fails => self.write(target, Image::Torn),
                    Progress::After => self.write(target, Image::New),
                }
                done(true)
            }
            Effect::Call(Call::Reboot | Call::RollbackReboot | Call::Failure | Call::Cleanup) => {
                done(true)
            }
            Effect::Call(call) => {
                let target = target.expect("opened");
                let change = match call {
                    Call::NeedsReboot if fails => return Outcome::Failed,
                    Call::NeedsReboot => return Outcome::Reboot(Reboot::Automatic),
                    Call::SupportsRollback if fails => return Outcome::Failed,
                    Call::SupportsRollback => return Outcome::RollbackSupported(true),
                    Call::Install => self.facts().arm(target),
                    Call::Commit => self.facts().commit(target),
                    Call::Rollback => Ok(Facts::roll_back(target)),
                    Call::VerifyReboot => return done(self.facts().verify_trial(target).is_ok()),
                    Call::VerifyRollbackReboot => {
                        return done(self.facts().verify_rolled_back(target).is_ok());
                    }
                    Call::Reboot | Call::RollbackReboot | Call::Failure | Call::Cleanup => {
                        unreachable!("handled above")
                    }
                };
                match change {
                    Ok(change) if acts => {
                        self.apply(change);
                        done(true)
                    }
                    Ok(_) => done(true),
                    Err(_) => Outcome::Failed,
                }
            }
            Effect::Await => {
                let target = target.expect("opened");
                assert_eq!(
                    self.image(target),
                    Image::New,
                    "it waits with half an image"
                );
                done(true)
            }
            Effect::Scripts(..) | Effect::Report(_) => done(true),
            Effect::Wait | Effect::Sync | Effect::Deliver | Effect::Pause | Effect::End => {
                unreachable!("{effect:?} is the model's own")
            }
        }
    }

    /// The agent's memory and disk after a step.
    fn save(&mut self, record: Record) {
        self.disk = record.clone();
        self.agent = Some(record);
    }

    /// Whether the deployment is over, with everything about it being true.
    fn is_over(&self) -> bool {
        let Some(record) = &self.agent else {
            return false;
        };
        if record.deployment.is_some() {
            return false;
        }
        let name = record.installed.get("artifact_name").map(String::as_str);
        let mut later = self.clone();
        later.boot();
        let stays = later.image(later.running);
        let told = record.reports.first().map(|report| report.verdict);
        match name {
            Some("new") => {
                assert_eq!(stays, Image::New, "new is claimed: {self:?}");
                assert!(!self.env.upgrade_available, "still on trial: {self:?}");
                assert_ne!(
                    told,
                    Some(Verdict::Failure),
                    "a lie to the server: {self:?}"
                );
            }
            Some("old") => {
                assert_eq!(stays, Image::Old, "old is claimed: {self:?}");
                assert_ne!(
                    told,
                    Some(Verdict::Success),
                    "a lie to the server: {self:?}"
                );
            }
            Some("new_INCONSISTENT") => {
                assert!(
                    !self.no_errors_yet,
                    "power cuts alone left a mixture: {self:?}"
                );
                assert_ne!(
                    told,
                    Some(Verdict::Success),
                    "a lie to the server: {self:?}"
                );
            }
            other => panic!("{other:?} is installed: {self:?}"),
        }
        true
    }

    /// Every world that may come next.
    fn next(&self) -> Vec<World> {
        let Some(record) = &self.agent else {
            return self.started();
        };
        let effect = effect(record);
        if effect == Effect::Pause {
            return self.person();
        }
        let mut worlds = Vec::new();
        let reboots = matches!(effect, Effect::Call(Call::Reboot | Call::RollbackReboot));
        let mut well = self.clone();
        let outcome = well.perform(effect, Progress::After, false);
        if reboots {
            well.boot();
        } else {
            well.save(step(record.clone(), outcome));
        }
        worlds.push(well);
        for progress in [Progress::Before, Progress::After] {
            if self.left.errors > 0 {
                let mut failed = self.clone();
                failed.left.errors -= 1;
                failed.no_errors_yet = false;
                let outcome = failed.perform(effect, progress, true);
                failed.save(step(record.clone(), outcome));
                worlds.push(failed);
            }
        }
        for progress in [Progress::Before, Progress::Middle, Progress::After] {
            if self.left.cuts > 0 {
                let mut cut = self.clone();
                cut.left.cuts -= 1;
                cut.perform(effect, progress, false);
                cut.boot();
                worlds.push(cut);
            }
            if self.left.kills > 0 {
                let mut killed = self.clone();
                killed.left.kills -= 1;
                killed.perform(effect, progress, false);
                killed.agent = None;
                worlds.push(killed);
            }
        }
        worlds
    }

    /// The agent starts: the daemon by itself, the command line when a person calls it.
    fn started(&self) -> Vec<World> {
        let mut world = self.clone();
        let record = resume(self.disk.clone(), self.boot_facts());
        world.save(record);
        let mut worlds = vec![world];
        if self.left.cuts > 0 {
            let mut cut = self.clone();
            cut.left.cuts -= 1;
            cut.boot();
            worlds.push(cut);
        }
        worlds
    }

    /// What a person may do while a standalone deployment waits.
    fn person(&self) -> Vec<World> {
        let record = self.agent.clone().expect("the agent runs");
        let boot = self.boot_facts();
        let mut worlds = Vec::new();
        let asked = [
            commit(record.clone(), boot),
            rollback(record.clone()),
            proceed(record, boot),
        ];
        for next in asked.into_iter().flatten() {
            let mut world = self.clone();
            world.save(next);
            worlds.push(world);
        }
        // Reboot by hand: that is how the new system is tried. Once is enough, then it changes
        // nothing more.
        let mut rebooted = self.clone();
        rebooted.boot();
        rebooted.agent = Some(rebooted.disk.clone());
        if rebooted != *self {
            worlds.push(rebooted);
        }
        worlds
    }
}

fn contents() -> Contents {
    Contents {
        name: "new".to_owned(),
        group: None,
        payload: Some("rootfs-image".to_owned()),
        provides: Some(BTreeMap::new()),
        clears_provides: None,
    }
}

/// Visits every world that can come of `start`; the number of worlds and of steps between them.
/// A deployment that never ends is a cycle.
fn explore(start: World) -> (usize, usize) {
    enum Visit {
        Enter(World),
        Leave(World),
    }
    let mut seen = HashSet::new();
    let mut path = HashSet::new();
    let mut edges = 0;
    let mut stack = vec![Visit::Enter(start)];
    while let Some(visit) = stack.pop() {
        match visit {
            Visit::Leave(world) => {
                path.remove(&world);
            }
            Visit::Enter(world) => {
                assert!(!path.contains(&world), "goes round in circles: {world:?}");
                if !seen.insert(world.clone()) || world.is_over() {
                    continue;
                }
                path.insert(world.clone());
                let next = world.next();
                assert!(!next.is_empty(), "stuck: {world:?}");
                edges += next.len();
                stack.push(Visit::Leave(world));
                stack.extend(next.into_iter().map(Visit::Enter));
            }
        }
    }
    (seen.len(), edges)
}

#[track_caller]
fn check(origin: Origin, new_boots: bool, left: Budget) {
    let installed = BTreeMap::from([("artifact_name".to_owned(), "old".to_owned())]);
    let idle = Record::new(installed);
    let record = match &origin {
        Origin::Standalone { .. } => begin(idle, origin).expect("idle"),
        Origin::Server { .. } => Record {
            at: Point::new(State::Download, Step::Report),
            deployment: Some(Deployment::new(origin)),
            ..idle
        },
    };
    let (worlds, edges) = explore(World {
        a: Image::Old,
        b: Image::Torn,
        env: Env {
            selected: Slot::A,
            upgrade_available: false,
            bootcount: 0,
        },
        running: Slot::A,
        disk: record.clone(),
        agent: Some(record),
        left,
        no_errors_yet: true,
        new_boots,
    });
    println!("{worlds} worlds, {edges} steps");
    assert!(worlds > 100, "the model has lost its worlds");
}

fn server() -> Origin {
    Origin::Server {
        id: "id".to_owned(),
        url: "https://".to_owned(),
        openings: Vec::new(),
    }
}

/// One that may not be installed at any time.
fn in_a_window() -> Origin {
    Origin::Server {
        id: "id".to_owned(),
        url: "https://".to_owned(),
        openings: vec![Opening { from: 0, until: 1 }],
    }
}

fn standalone() -> Origin {
    Origin::Standalone {
        source: "new.mender".to_owned(),
    }
}

#[test]
fn power_cuts_always_leave_a_whole_system() {
    for new_boots in [true, false] {
        for origin in [server(), in_a_window(), standalone()] {
            check(
                origin,
                new_boots,
                Budget {
                    cuts: 3,
                    kills: 0,
                    errors: 0,
                },
            );
        }
    }
}

#[test]
fn restarts_and_power_cuts_always_leave_a_whole_system() {
    for new_boots in [true, false] {
        for origin in [server(), in_a_window(), standalone()] {
            check(
                origin,
                new_boots,
                Budget {
                    cuts: 2,
                    kills: 2,
                    errors: 0,
                },
            );
        }
    }
}

#[test]
fn failing_operations_never_leave_a_device_that_does_not_start() {
    for new_boots in [true, false] {
        for origin in [server(), in_a_window(), standalone()] {
            check(
                origin,
                new_boots,
                Budget {
                    cuts: 2,
                    kills: 1,
                    errors: 2,
                },
            );
        }
    }
}
