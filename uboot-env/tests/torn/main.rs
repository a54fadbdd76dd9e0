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

mod bench;
mod faults;
#[path = "../memory/mod.rs"]
mod memory;
#[path = "../peers/mod.rs"]
mod peers;

use bench::{Bench, Outcomes, config, cut_everywhere, new_of, old_of};
use memory::Device;
use peers::Random;
use tandem_uboot_env::medium::Kind;
use tandem_uboot_env::{Place, Warning};

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
