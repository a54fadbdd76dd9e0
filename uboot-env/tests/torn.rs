//! Power cuts at every point of a change, on every kind of medium: what is read afterwards is the old
//! or the new environment, U-Boot reads the same, and the next change heals.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may panic, and what it writes need not be durable"
)]

mod memory;
mod peers;

use std::io;
use std::path::Path;

use memory::{Device, Operation, State};
use peers::Random;
use tandem_uboot_env::medium::{Access, Geometry, Kind, Medium};
use tandem_uboot_env::{Config, Env, Error, Health, Lock, Place, Store, Warning, image};

/// Devices "a", "b" ... with one environment on them.
#[derive(Clone)]
struct Bench {
    config: Config,
    devices: Vec<Device>,
    /// Before the change, and after it.
    old: Env,
    new: Env,
}

impl Bench {
    /// Both copies good if there are two, and `old` in the one that counts.
    fn new(config: Config, devices: Vec<Device>, old: Env, new: Env) -> Self {
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

    fn store(&self) -> Store {
        let devices = self.devices.clone();
        Store::on(self.config.clone(), move |path: &Path, access: Access| {
            Ok(Box::new(
                devices[usize::from(path == Path::new("b"))].open(access),
            ))
        })
    }

    fn write(&self, env: &Env) {
        let store = self.store();
        store.write(&store.lock().unwrap(), env).unwrap();
        assert_eq!(store.read().unwrap().env.as_ref(), Some(env));
    }

    /// The same with one of the devices in another state.
    fn with(&self, device: usize, state: State) -> Self {
        let mut bench = self.clone();
        bench.devices[device] = Device::of(state);
        bench
    }

    /// The same on devices of its own.
    fn copy(&self) -> Self {
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

fn config(size: usize, first: Place, second: Option<Place>) -> Config {
    let config = Config::new(size as u64, first, second).unwrap();
    let lock = Lock {
        path: "/nonexistent/lock".into(),
        ..Lock::default()
    };
    config.with_lock(lock)
}

fn env_of(text: &str) -> Env {
    Env::from_text(text.as_bytes()).unwrap()
}

/// An environment of about so many bytes.
fn old_of(size: usize) -> Env {
    env_of(&format!(
        "bootcount=1\nmender_boot_part=2\nupgrade_available=0\nz={}\n",
        "o".repeat(size)
    ))
}

fn new_of(size: usize) -> Env {
    env_of(&format!(
        "bootcount=0\nmender_boot_part=3\nupgrade_available=1\nz={}\n",
        "n".repeat(size)
    ))
}

/// How many states were tried, and how many of them had the old environment, the new one, and none.
#[derive(Default)]
struct Outcomes {
    tried: usize,
    old: usize,
    new: usize,
    lost: usize,
}

impl Outcomes {
    #[track_caller]
    fn check(&mut self, bench: &Bench) {
        self.tried += 1;
        *match check_state(bench) {
            None => &mut self.lost,
            Some(env) if env == bench.old => &mut self.old,
            Some(env) if env == bench.new => &mut self.new,
            Some(env) => panic!("neither old nor new: {env:?}"),
        } += 1;
    }

    fn report(&self, name: &str) {
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
fn cut_everywhere(bench: &Bench, random: &mut Random, outcomes: &mut Outcomes) {
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
fn check_state(bench: &Bench) -> Option<Env> {
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

#[test]
fn two_copies_on_a_block_device_survive_every_cut() {
    let mut random = Random(1);
    let config = config(
        0x1000,
        Place::new("a", 0x1000),
        Some(Place::new("a", 0x3000)),
    );
    let devices = vec![Device::new(Kind::Block, vec![0; 0x5000])];
    let bench = Bench::new(config, devices, old_of(3000), new_of(3500));
    let mut outcomes = Outcomes::default();
    // Into either copy, and over the wrap of the flags.
    for _ in 0..130 {
        cut_everywhere(&bench, &mut random, &mut outcomes);
        bench.write(&bench.new);
        bench.write(&bench.new);
        bench.write(&bench.old);
        bench.devices[0].change(|state| state.log.clear());
    }
    outcomes.report("block device, 2 x 4 KiB");
    assert_eq!(outcomes.lost, 0);
}

#[test]
fn two_copies_on_nor_survive_every_cut() {
    let mut random = Random(2);
    for (name, size, first, second) in [
        ("NOR, whole erase blocks", 0x200, 0x200, 0x600),
        ("NOR, copies amid other data", 0x180, 0x240, 0x5c0),
    ] {
        let kind = Kind::Nor { erase_size: 0x200 };
        let config = config(size, Place::new("a", first), Some(Place::new("a", second)));
        let devices = vec![Device::new(kind, vec![0xA5; 0xA00])];
        let bench = Bench::new(config, devices, old_of(200), new_of(250));
        let mut outcomes = Outcomes::default();
        for _ in 0..2 {
            cut_everywhere(&bench, &mut random, &mut outcomes);
            bench.write(&bench.old);
        }
        outcomes.report(name);
        assert_eq!(outcomes.lost, 0);
        // Nothing but the copies has changed.
        let content = bench.devices[0].state().content;
        for at in 0..content.len() as i64 {
            let within = |copy: i64| (copy..copy + size as i64).contains(&at);
            if !within(first) && !within(second) {
                assert_eq!(content[at as usize], 0xA5, "{at:#x}");
            }
        }
    }
}

#[test]
fn two_copies_on_nand_with_bad_blocks_survive_every_cut() {
    let mut outcomes = Outcomes::default();
    let mut refused = 0;
    for seed in 0..60 {
        let mut random = Random(seed);
        let kind = Kind::Nand {
            erase_size: 0x200,
            page_size: 0x80,
        };
        let device = Device::new(kind, vec![0xFF; 0x2000]);
        let bad = (0..0x10)
            .filter(|_| random.below(4) == 0)
            .map(|block| block * 0x200)
            .collect();
        device.change(|state| state.bad = bad);
        // Two blocks and a bit each, in six.
        let place = |offset| Place {
            sectors: Some(6),
            ..Place::new("a", offset)
        };
        let config = config(0x440, place(0x400), Some(place(0x1000)));
        let bad = device.state().bad;
        if [0x400, 0x1000]
            .iter()
            .any(|start| bad.range(start..&(start + 6 * 0x200)).count() > 3)
        {
            let bench = Bench {
                config,
                devices: vec![device],
                old: old_of(0),
                new: new_of(0),
            };
            let store = bench.store();
            let guard = store.lock().unwrap();
            // The device would panic if anything were written outside of what is set aside.
            let results = [
                store.write(&guard, &bench.old),
                store.write(&guard, &bench.new),
            ];
            assert!(results.iter().any(Result::is_err));
            refused += 1;
        } else {
            let bench = Bench::new(config, vec![device], old_of(700), new_of(800));
            cut_everywhere(&bench, &mut random, &mut outcomes);
        }
    }
    outcomes.report("NAND with bad blocks");
    eprintln!("NAND: {refused} of 60 devices had too many bad blocks and were refused");
    assert_eq!(outcomes.lost, 0);
    assert!(outcomes.tried > 0 && refused > 0);
}

#[test]
fn two_ubi_volumes_survive_every_cut() {
    let config = config(0x1000, Place::new("a", 0), Some(Place::new("b", 0)));
    let volumes = vec![Device::new(Kind::Volume, vec![0xFF; 0x1800]); 2];
    let volumes = volumes
        .into_iter()
        .map(|volume| Device::of(volume.state()))
        .collect();
    let bench = Bench::new(config, volumes, old_of(3000), new_of(3500));
    let mut outcomes = Outcomes::default();
    for _ in 0..2 {
        cut_everywhere(&bench, &mut Random(4), &mut outcomes);
        bench.write(&bench.old);
    }
    outcomes.report("UBI, two volumes");
    assert_eq!(outcomes.lost, 0);
}

#[test]
fn a_single_copy_is_lost_by_some_cuts_and_never_when_it_is_a_whole_file() {
    for (name, kind, offset, length, is_lost) in [
        (
            "single copy, block device",
            Kind::Block,
            0x1000,
            0x3000,
            true,
        ),
        ("single copy, whole file", Kind::File, 0, 0x1000, false),
        (
            "single copy, file with more in it",
            Kind::File,
            0,
            0x1001,
            true,
        ),
        ("single copy, later in a file", Kind::File, 1, 0x1001, true),
    ] {
        let place = Place::new("a", offset);
        let devices = vec![Device::new(kind, vec![0; length])];
        let bench = Bench::new(
            config(0x1000, place.clone(), None),
            devices,
            old_of(3000),
            new_of(3500),
        );
        assert!(
            bench
                .store()
                .read()
                .unwrap()
                .warnings
                .contains(&Warning::SingleCopy(place))
        );
        let mut outcomes = Outcomes::default();
        cut_everywhere(&bench, &mut Random(3), &mut outcomes);
        outcomes.report(name);
        assert_eq!(outcomes.lost > 0, is_lost);
        assert!(outcomes.old > 0 && outcomes.new > 0);
    }
}

/// Every operation of a change fails once, and with it all that follow.
#[test]
fn a_device_that_fails_at_any_operation_keeps_the_old_or_has_the_new() {
    for (kind, filling) in [
        (Kind::Block, 0),
        (Kind::Nor { erase_size: 0x400 }, 0xFF),
        (
            Kind::Nand {
                erase_size: 0x400,
                page_size: 0x200,
            },
            0xFF,
        ),
    ] {
        for protected in [false, true] {
            let config = config(0x400, Place::new("a", 0), Some(Place::new("a", 0x400)));
            let devices = vec![Device::new(kind, vec![filling; 0x800])];
            let start = Bench::new(config, devices, old_of(600), new_of(700));
            for failing in 0.. {
                let bench = start.copy();
                let device = &bench.devices[0];
                device.change(|state| {
                    state.fails_at = Some(failing);
                    state.protected = protected;
                });
                let store = bench.store();
                let result = store.write(&store.lock().unwrap(), &bench.new);
                let after = device.state();
                device.change(|state| {
                    state.fails_at = None;
                    state.protected = false;
                });
                let found = check_state(&bench).unwrap();
                match result {
                    Ok(written) if written.warnings.is_empty() => {
                        assert_eq!(found, bench.new);
                        assert_eq!(after.protected, protected, "protection was not restored");
                        break;
                    }
                    Ok(written) => {
                        let [Warning::NotProtectedAgain(..)] = written.warnings.as_slice() else {
                            panic!("{written:?}");
                        };
                        assert_eq!(found, bench.new);
                    }
                    // The write may have gone through and only the sync not.
                    Err(Error::Write { .. } | Error::Obsolete { .. }) => {
                        assert!(found == bench.old || found == bench.new);
                    }
                    Err(err) => panic!("{err}"),
                }
            }
        }
    }
}

/// Changes a bit of whatever is written.
struct Forgetful(memory::Handle);

impl Medium for Forgetful {
    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buffer)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut bytes = bytes.to_vec();
        bytes[0x300] ^= 1;
        self.0.write_at(offset, &bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }
}

fn two_kilobytes() -> Bench {
    let config = config(0x400, Place::new("a", 0), Some(Place::new("a", 0x400)));
    let devices = vec![Device::new(Kind::Block, vec![0; 0x800])];
    Bench::new(config, devices, old_of(600), new_of(700))
}

#[test]
fn a_medium_that_does_not_keep_what_was_written_is_noticed() {
    let bench = two_kilobytes();
    let device = bench.devices[0].clone();
    let store = Store::on(bench.config.clone(), move |_: &Path, access: Access| {
        Ok(Box::new(Forgetful(device.open(access))))
    });
    let result = store.write(&store.lock().unwrap(), &bench.new);
    assert!(matches!(result, Err(Error::Verify { .. })), "{result:?}");
    assert_eq!(check_state(&bench), Some(bench.old));
}

#[test]
fn one_call_is_one_write_and_no_change_is_none() {
    let bench = two_kilobytes();
    let device = &bench.devices[0];
    let store = bench.store();
    let guard = store.lock().unwrap();
    let start = device.state().log.len();
    let changes = [
        ("mender_boot_part", Some("3")),
        ("bootcount", Some("0")),
        ("z", None),
    ];
    assert_eq!(store.set_many(&guard, &changes).unwrap().copy, Some(1));
    let log = device.state().log;
    let [Operation::Write { at: 0x400, .. }, Operation::Sync] = &log[start..] else {
        panic!("{log:?}");
    };

    assert_eq!(store.set_many(&guard, &changes).unwrap().copy, None);
    let refused = store.set_many(&guard, &[("ok", Some("1")), ("not=ok", Some("1"))]);
    assert!(matches!(refused, Err(Error::Name { .. })), "{refused:?}");
    let refused = store.set_many(&guard, &[("big", Some("v".repeat(0x400)))]);
    assert!(matches!(refused, Err(Error::TooBig { .. })), "{refused:?}");
    assert_eq!(device.state().log.len(), log.len());

    device.change(|state| state.content[0x50] ^= 1);
    let found = store.read().unwrap();
    assert!(matches!(
        found.copies.as_slice(),
        [Health::Damaged(_), Health::Good]
    ));
    let written = store.set_many(&guard, &changes).unwrap();
    assert_eq!(written.copy, Some(0));
    assert!(
        matches!(written.warnings.as_slice(), [Warning::Repaired(..)]),
        "{written:?}"
    );
    assert!(!store.read().unwrap().damaged());
}

#[test]
fn with_no_good_copy_nothing_is_changed_but_a_whole_environment_can_be_written() {
    let bench = two_kilobytes();
    let device = &bench.devices[0];
    device.change(|state| state.content.fill(0));
    let log = device.state().log;
    let store = bench.store();
    let guard = store.lock().unwrap();
    // A few variables without U-Boot's defaults would make a device that does not boot.
    let refused = store.set_many(&guard, &[("upgrade_available", Some("1"))]);
    assert!(
        matches!(refused, Err(Error::NoGoodCopy { .. })),
        "{refused:?}"
    );
    assert_eq!(device.state().log, log);
    assert_eq!(store.write(&guard, &bench.new).unwrap().copy, Some(1));
    assert_eq!(store.read().unwrap().env, Some(bench.new));
}

#[test]
fn copies_that_would_destroy_each_other_are_refused() {
    let nor = Kind::Nor { erase_size: 0x400 };
    for (kind, first, second, refused) in [
        (Kind::Block, 0, 0x1ff, true),
        (Kind::Block, 0x200, 0x200, true),
        (Kind::Block, 0x200, 0x000, false),
        (Kind::Block, 0, 0x200, false),
        (nor, 0, 0x200, true),
        (nor, 0, 0x400, false),
    ] {
        let config = config(0x200, Place::new("a", first), Some(Place::new("a", second)));
        let devices = vec![Device::new(kind, vec![0xFF; 0x800])];
        let bench = Bench {
            config,
            devices,
            old: Env::new(),
            new: Env::new(),
        };
        let found = bench.store().read();
        assert_eq!(
            matches!(found, Err(Error::Overlap(_))),
            refused,
            "{kind:?} {first} {second}"
        );
    }
}
