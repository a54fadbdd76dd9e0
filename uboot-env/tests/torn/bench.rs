//! Devices with an environment on them, whose power is cut, and what U-Boot reads there.

use std::path::Path;

use tandem_uboot_env::medium::{Access, Kind};
use tandem_uboot_env::{Config, Env, Lock, Place, Store, image};

use crate::memory::{Device, Operation, State};
use crate::peers::Random;

/// Devices "a", "b" ... with one environment on them.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) config: Config,
    pub(crate) devices: Vec<Device>,
    /// Before the change, and after it.
    pub(crate) old: Env,
    pub(crate) new: Env,
}

impl Bench {
    /// Both copies good if there are two, and `old` in the one that counts.
    pub(crate) fn new(config: Config, devices: Vec<Device>, old: Env, new: Env) -> Self {
        for (device, identity) in devices.iter().zip(1..) {
            device.change(|state| state.identity = identity);
        }
        let bench = Self {
            config,
            devices,
            old,
            new,
        };
        bench.write(&env_of("bootcount=7\nmender_boot_part=7\n"));
        bench.write(&bench.old);
        bench
    }

    pub(crate) fn store(&self) -> Store {
        let devices = self.devices.clone();
        Store::on(self.config.clone(), move |path: &Path, access: Access| {
            Ok(Box::new(
                devices[usize::from(path == Path::new("b"))].open(access),
            ))
        })
    }

    pub(crate) fn write(&self, env: &Env) {
        let store = self.store();
        store.write(&store.lock().unwrap(), env).unwrap();
        assert_eq!(store.read().unwrap().env.as_ref(), Some(env));
    }

    /// The same with one of the devices in another state.
    pub(crate) fn with(&self, device: usize, state: State) -> Self {
        let mut bench = self.clone();
        bench.devices[device] = Device::of(state);
        bench
    }

    /// The same on devices of its own.
    pub(crate) fn copy(&self) -> Self {
        let mut bench = self.clone();
        for device in &mut bench.devices {
            *device = Device::of(State {
                log: Vec::new(),
                ..device.state()
            });
        }
        bench
    }
}

pub(crate) fn config(size: usize, first: Place, second: Option<Place>) -> Config {
    let config = Config::new(size as u64, first, second).unwrap();
    let lock = Lock {
        path: "/nonexistent/lock".into(),
        ..Lock::default()
    };
    config.with_lock(lock)
}

pub(crate) fn env_of(text: &str) -> Env {
    Env::from_text(text.as_bytes()).unwrap()
}

/// An environment of about so many bytes.
pub(crate) fn old_of(size: usize) -> Env {
    env_of(&format!(
        "bootcount=1\nmender_boot_part=2\nupgrade_available=0\nz={}\n",
        "o".repeat(size)
    ))
}

pub(crate) fn new_of(size: usize) -> Env {
    env_of(&format!(
        "bootcount=0\nmender_boot_part=3\nupgrade_available=1\nz={}\n",
        "n".repeat(size)
    ))
}

/// How many states were tried, and how many of them had the old environment, the new one, and none.
#[derive(Default)]
pub(crate) struct Outcomes {
    pub(crate) tried: usize,
    pub(crate) old: usize,
    pub(crate) new: usize,
    pub(crate) lost: usize,
}

impl Outcomes {
    #[track_caller]
    pub(crate) fn check(&mut self, bench: &Bench) {
        self.tried += 1;
        *match check_state(bench) {
            None => &mut self.lost,
            Some(env) if env == bench.old => &mut self.old,
            Some(env) if env == bench.new => &mut self.new,
            Some(env) => panic!("neither old nor new: {env:?}"),
        } += 1;
    }

    pub(crate) fn report(&self, name: &str) {
        let Self {
            tried,
            old,
            new,
            lost,
        } = self;
        eprintln!("{name}: {tried} power cuts: {old} old, {new} new, {lost} lost");
    }
}

/// Cuts the power at every point of the step from `old` to `new`.
#[track_caller]
pub(crate) fn cut_everywhere(bench: &Bench, random: &mut Random, outcomes: &mut Outcomes) {
    let recorder = bench.copy();
    recorder.write(&bench.new);
    let mut changed =
        (0..bench.devices.len()).filter(|&at| !recorder.devices[at].state().log.is_empty());
    let device = changed.next().unwrap();
    assert_eq!(changed.next(), None, "more than one device was written");

    let mut state = bench.devices[device].state();
    // The state up to the last sync: what has been written since may be lost.
    let mut durable = state.clone();
    for operation in &recorder.devices[device].state().log {
        for torn in state.torn_by(operation, random) {
            outcomes.check(&bench.with(device, torn));
        }
        outcomes.check(&bench.with(device, durable.clone()));
        outcomes.check(&bench.with(device, state.clone()));
        state.apply(operation);
        if *operation == Operation::Sync || !matches!(state.kind, Kind::File | Kind::Block) {
            durable = state.clone();
        }
    }
    // A file is replaced, or not yet, between the rename and the sync of its directory.
    outcomes.check(&bench.with(device, recorder.devices[device].state()));
}

/// What is read after a power cut. It must be what U-Boot reads, and the next changes must heal.
#[track_caller]
pub(crate) fn check_state(bench: &Bench) -> Option<Env> {
    // No copying of what nobody else uses: `bench` is this state's own.
    let bench = &bench.copy();
    // Power is back; nothing is unlocked or half open any more.
    bench
        .devices
        .iter()
        .for_each(|device| device.change(|state| state.protected = false));
    let store = bench.store();
    let found = store.read().unwrap();
    assert_eq!(
        u_boot_reads(bench),
        found.env,
        "U-Boot reads something else"
    );
    found.env.as_ref()?;

    // The next change heals, also when it changes nothing.
    let guard = store.lock().unwrap();
    store.update(&guard, |_| Ok(())).unwrap();
    let healed = store.read().unwrap();
    assert!(!healed.damaged(), "{:?}", healed.copies);
    assert_eq!(healed.env, found.env);
    let later = env_of("later=1\n");
    bench.write(&later);
    assert_eq!(u_boot_reads(bench), Some(later));
    found.env
}

/// What U-Boot loads: `env_import_redund` of its `env/common.c`, and on NOR also `env_init` of its
/// `env/flash.c`, which must agree.
fn u_boot_reads(bench: &Bench) -> Option<Env> {
    let states: Vec<State> = bench.devices.iter().map(Device::state).collect();
    let size = bench.config.size();
    let state_of = |place: &Place| &states[usize::from(place.path == Path::new("b"))];
    let copies: Vec<Vec<u8>> = bench
        .config
        .places()
        .map(|place| u_boot_loads(state_of(place), place, size))
        .collect();
    let [first, second] = copies.as_slice() else {
        let data = image::data(copies.first()?, bench.config.redundant()).ok()?;
        return Some(Env::parse(data));
    };
    let good = |copy: &[u8]| image::data(copy, true).is_ok();
    let chosen = match (good(first), good(second)) {
        (false, false) => return None,
        (true, false) => first,
        (false, true) => second,
        (true, true) => {
            let counter = match (first[4], second[4]) {
                (255, 0) => second,
                (0, 255) => first,
                (one, two) if two > one => second,
                _ => first,
            };
            let boolean = match (first[4], second[4]) {
                (1, 0) => first,
                (0, 1) => second,
                (one, two) if one == two => first,
                (255, _) => first,
                (_, 255) => second,
                _ => first,
            };
            if matches!(states[0].kind, Kind::Nor { .. }) {
                assert_eq!(counter, boolean, "U-Boot's drivers disagree");
            }
            counter
        }
    };
    Some(Env::parse(image::data(chosen, true).unwrap()))
}

/// A copy as U-Boot's driver gives it: with a wrong checksum when bytes cannot be read.
fn u_boot_loads(state: &State, place: &Place, size: usize) -> Vec<u8> {
    let start = place.offset as usize;
    let mut loaded = Vec::new();
    match state.kind {
        Kind::Nand { erase_size, .. } => {
            let erase_size = erase_size as usize;
            let sectors = place
                .sectors
                .map_or(size.div_ceil(erase_size), |count| count as usize);
            for block in (0..sectors).map(|sector| start + sector * erase_size) {
                if loaded.len() < size && !state.bad.contains(&(block as u64)) {
                    let wanted = erase_size.min(size - loaded.len());
                    loaded.extend_from_slice(&state.content[block..block + wanted]);
                    if (block..block + wanted).any(|byte| state.torn.contains(&byte)) {
                        loaded[0] ^= 0xFF;
                    }
                }
            }
        }
        Kind::File | Kind::Block | Kind::Nor { .. } | Kind::Volume => {
            loaded.extend_from_slice(&state.content[start..start + size]);
            if state.torn.range(start..start + size).next().is_some() {
                loaded[0] ^= 0xFF;
            }
        }
    }
    loaded
}
