//! Media that fail or forget, and environments that must not be changed.

use std::io;
use std::path::Path;

use tandem_uboot_env::medium::{Access, Geometry, Kind, Medium};
use tandem_uboot_env::{Env, Error, Health, Place, Store, Warning};

use super::bench::{Bench, check_state, config, new_of, old_of};
use crate::memory::{self, Device, Operation};

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
