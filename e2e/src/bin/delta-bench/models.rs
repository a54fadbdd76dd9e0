//! What is calculated, not run.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::Result;
use tandem_artifact::framed::{BLOCK, Fingerprint};

/// Bytes to fetch.
pub(crate) struct Models {
    /// RAUC's adaptive update: compressed groups of 64 KiB that have a new block, and 32 bytes of index for each.
    pub(crate) rauc: u64,
    /// What no scheme without pairs of versions gets below.
    pub(crate) floor: u64,
}

const LEVEL: i32 = 19;
const GROUP: usize = 64 << 10;

pub(crate) fn of(old: &Path, new: &Path) -> Result<Models> {
    let (old, new) = (fs::read(old)?, fs::read(new)?);
    let known: HashSet<_> = old.chunks(BLOCK).map(Fingerprint::of).collect();
    let is_new = |block: &&[u8]| {
        let print = Fingerprint::of(block);
        print.is_some() && !known.contains(&print)
    };
    let mut rauc = (new.len() / BLOCK).saturating_mul(32) as u64;
    for group in new.chunks(GROUP) {
        if group.chunks(BLOCK).any(|block| is_new(&block)) {
            rauc = rauc.saturating_add(zstd::bulk::compress(group, LEVEL)?.len() as u64);
        }
    }
    let mut seen = HashSet::new();
    let fresh: Vec<u8> = new
        .chunks(BLOCK)
        .filter(is_new)
        .filter(|block| seen.insert(Fingerprint::of(block)))
        .flatten()
        .copied()
        .collect();
    Ok(Models {
        rauc,
        floor: zstd::stream::encode_all(&*fresh, LEVEL)?.len() as u64,
    })
}
