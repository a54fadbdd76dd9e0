//! Where everything lies on the disk.
//!
//! ```text
//! with U-Boot                              with GRUB
//! 0       partition table, board firmware  partition table
//! 1 unit  environment, copy 0              boot (the ESP; it holds the environment)
//! 2 units environment, copy 1
//! 3 units boot (FAT)
//! then    root A, root B (same size), data (ext4)
//! ```
//!
//! A unit is the alignment, 8 MiB unless said otherwise: larger than the erase groups of flash
//! cards, so that writing one thing never puts its neighbour at risk. The places are those of
//! Mender's integration layer for Yocto.

use anyhow::{Result, bail, ensure};

/// One mebibyte.
pub const MIB: u64 = 1 << 20;

/// What the partition table needs behind the last partition: GPT keeps a copy there.
const TABLE: u64 = MIB;

/// How large things are to be, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Everything begins at a multiple of this.
    pub alignment: u64,
    /// One copy of U-Boot's environment; `None` where the boot loader keeps its own elsewhere.
    pub environment: Option<u64>,
    /// The boot partition.
    pub boot: u64,
    /// Each of the two root parts.
    pub root: u64,
    /// The data partition; with `disk`, the least that it may be.
    pub data: u64,
    /// The whole disk. The data partition takes what is left.
    pub disk: Option<u64>,
}

/// A stretch of the disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it begins.
    pub start: u64,
    /// How long it is.
    pub size: u64,
}

impl Part {
    /// The first byte behind it.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.start.saturating_add(self.size)
    }
}

/// The disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The two copies of U-Boot's environment.
    pub environment: Option<[Part; 2]>,
    /// Partition 1.
    pub boot: Part,
    /// Partition 2.
    pub root_a: Part,
    /// Partition 3.
    pub root_b: Part,
    /// Partition 4.
    pub data: Part,
    /// The size of the disk.
    pub disk: u64,
}

impl Layout {
    /// Lays the disk out.
    ///
    /// # Errors
    /// When it cannot be; the message says what to change.
    pub fn new(sizes: &Sizes) -> Result<Layout> {
        let unit = sizes.alignment;
        ensure!(
            unit >= MIB && unit.is_power_of_two(),
            "the alignment is {}; it must be a power of two and at least 1 MiB",
            mib(unit)
        );
        for (what, size) in [
            ("boot partition", sizes.boot),
            ("root parts", sizes.root),
            ("data partition", sizes.data),
        ] {
            ensure!(
                (MIB..=1 << 50).contains(&size),
                "the size of the {what} is {}; it must be at least 1 MiB",
                mib(size)
            );
        }
        let mut next = unit;
        let mut place = |size: u64| {
            let part = Part { start: next, size };
            next = part.end().next_multiple_of(unit);
            part
        };
        let environment = match sizes.environment {
            Some(size) => {
                ensure!(
                    size > 0 && size % 512 == 0 && size <= unit,
                    "the environment is {size:#x} bytes; it must be a multiple of 512 and at most the alignment, {}",
                    mib(unit)
                );
                Some([place(size), place(size)])
            }
            None => None,
        };
        let boot = place(sizes.boot);
        let (root_a, root_b) = (place(sizes.root), place(sizes.root));
        let mut data = place(sizes.data);
        let needed = data.end().saturating_add(TABLE);
        let disk = sizes.disk.unwrap_or(needed);
        if disk < needed {
            bail!(
                "a disk of {} is too small: it must be at least {}, or the root parts ({} each) or the data partition ({}) smaller",
                mib(disk),
                mib(needed),
                mib(sizes.root),
                mib(sizes.data)
            );
        }
        let spare = disk.saturating_sub(needed);
        data.size = data.size.saturating_add(spare & !(MIB.saturating_sub(1)));
        Ok(Layout {
            environment,
            boot,
            root_a,
            root_b,
            data,
            disk,
        })
    }

    /// The partitions in the order of their numbers, from 1.
    #[must_use]
    pub fn partitions(&self) -> [(&'static str, Part); 4] {
        [
            ("boot", self.boot),
            ("root-a", self.root_a),
            ("root-b", self.root_b),
            ("data", self.data),
        ]
    }

    /// A root part by its partition number, 2 or 3.
    #[must_use]
    pub const fn root(&self, number: u32) -> Option<Part> {
        match number {
            2 => Some(self.root_a),
            3 => Some(self.root_b),
            _ => None,
        }
    }
}

/// A size for people.
pub(crate) fn mib(bytes: u64) -> String {
    match bytes % MIB {
        0 => format!("{} MiB", bytes / MIB),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Sizes = Sizes {
        alignment: 8 * MIB,
        environment: Some(0x20000),
        boot: 16 * MIB,
        root: 41 * MIB,
        data: 32 * MIB,
        disk: None,
    };

    #[track_caller]
    fn starts(sizes: Sizes) -> Vec<u64> {
        let layout = Layout::new(&sizes).unwrap();
        let environment = layout.environment.into_iter().flatten();
        let parts = layout.partitions().map(|(_, part)| part);
        let starts = environment.chain(parts).map(|part| part.start / MIB);
        starts.collect()
    }

    #[test]
    fn every_part_begins_where_the_integration_layer_puts_it() {
        assert_eq!(starts(USUAL), [8, 16, 24, 40, 88, 136]);
        let grub = Sizes {
            environment: None,
            ..USUAL
        };
        assert_eq!(starts(grub), [8, 24, 72, 120]);
    }

    #[test]
    fn the_data_partition_takes_what_a_larger_disk_leaves() {
        let sizes = Sizes {
            disk: Some(1024 * MIB),
            ..USUAL
        };
        let layout = Layout::new(&sizes).unwrap();
        assert_eq!(layout.data.end(), 1023 * MIB);
        assert_eq!(layout.disk, 1024 * MIB);
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_way_out() {
        for (sizes, words) in [
            (
                Sizes {
                    disk: Some(100 * MIB),
                    ..USUAL
                },
                "at least 169 MiB",
            ),
            (
                Sizes {
                    alignment: 3 * MIB,
                    ..USUAL
                },
                "power of two",
            ),
            (
                Sizes {
                    environment: Some(9 * MIB),
                    ..USUAL
                },
                "at most the alignment",
            ),
            (Sizes { root: 0, ..USUAL }, "root parts"),
        ] {
            let refusal = Layout::new(&sizes).unwrap_err().to_string();
            assert!(refusal.contains(words), "{refusal}");
        }
    }
}
