//! `normalise`: the same image for the same files.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;

use anyhow::Context as _;

use crate::cli::Normalise;
use crate::ext4::{Geometry, SUPERBLOCK_AT, SUPERBLOCK_SIZE};

pub(crate) fn run(normalise: &Normalise) -> anyhow::Result<()> {
    let path = &normalise.image;
    let image = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {path:?}"))?;
    set_times(&image, normalise.time).with_context(|| format!("cannot normalise {path:?}"))
}

fn set_times(image: &File, time: u32) -> anyhow::Result<()> {
    let mut superblock = vec![0; SUPERBLOCK_SIZE];
    image.read_exact_at(&mut superblock, SUPERBLOCK_AT)?;
    let geometry = Geometry::read(&superblock)?;
    let at = |block: u64| block.saturating_mul(geometry.block_size);

    let mut descriptor = vec![0; geometry.descriptor_size];
    let mut table = vec![0; geometry.table_size()];
    let mut number = 1_u32;
    for group in 0..geometry.groups {
        let first = geometry
            .first_block
            .saturating_add(group.saturating_mul(geometry.blocks_per_group));
        let place = if group == 0 { SUPERBLOCK_AT } else { at(first) };
        // Only some groups have a copy.
        if image.read_exact_at(&mut superblock, place).is_ok()
            && geometry.is_superblock(&superblock, group)
        {
            change(image, place, &mut superblock, |bytes| {
                geometry.set_superblock_times(bytes, time);
            })?;
        }
        let descriptors = at(geometry.first_block.saturating_add(1));
        let offset = group.saturating_mul(geometry.descriptor_size as u64);
        image.read_exact_at(&mut descriptor, descriptors.saturating_add(offset))?;
        let place = at(geometry
            .table(&descriptor)
            .context("the description of a group is damaged")?);
        image.read_exact_at(&mut table, place)?;
        change(image, place, &mut table, |table| {
            for inode in table.chunks_exact_mut(geometry.inode_size) {
                geometry.set_inode_times(inode, number, time);
                number = number.saturating_add(1);
            }
        })?;
    }
    Ok(image.sync_all()?)
}

/// Writes what `how` makes of `bytes`, if that is anything else.
fn change(image: &File, at: u64, bytes: &mut [u8], how: impl FnOnce(&mut [u8])) -> io::Result<()> {
    let before = bytes.to_vec();
    how(bytes);
    if *bytes == *before {
        return Ok(());
    }
    image.write_all_at(bytes, at)
}
