//! Installing the very image that runs: when the record says so and the running root part agrees, nothing is fetched.

use std::path::Path;

use anyhow::{Result, ensure};
use tandem_artifact::{PayloadFileInfo, Sha256};

use crate::block::{BLOCK, Block};
use crate::partition::Partition;
use crate::progress::Progress;
use crate::seed::Seed;
use crate::stop::Stop;

/// Whether the running root part has `image`, byte for byte. One that is mounted for writing has not.
///
/// # Errors
/// When it cannot be read, or the program is asked to stop.
pub(crate) fn runs(image: &PayloadFileInfo, running: &Path, stop: &Stop) -> Result<bool> {
    let mut sum = Sha256::new();
    Seed::open(running)?.scan(image.size, |bytes| {
        ensure!(!stop.requested(), "interrupted");
        sum.update(bytes);
        Ok(())
    })?;
    Ok(sum.finish() == image.sha256)
}

/// Copies it to `partition`, but for what stands there already.
///
/// # Errors
/// When one cannot be read or the other not be written, or the program is asked to stop.
pub(crate) fn copy(
    image: &PayloadFileInfo,
    running: &Path,
    partition: &mut Partition,
    progress: &mut Progress,
    stop: &Stop,
) -> Result<()> {
    let seed = Seed::open(running)?;
    let mut block = Block::new();
    let mut offset: u64 = 0;
    while offset < image.size {
        ensure!(!stop.requested(), "interrupted");
        let len = image.size.saturating_sub(offset).min(BLOCK as u64);
        block.clear();
        seed.read_into(&mut block, offset, usize::try_from(len)?)?;
        ensure!(
            block.bytes().len() as u64 == len,
            "the running rootfs part has become shorter"
        );
        match block.bytes().iter().all(|byte| *byte == 0) {
            true => partition.put_zeros(offset, len)?,
            false => partition.write(&block, offset)?,
        }
        offset = offset.saturating_add(len);
        progress.at(offset);
    }
    Ok(())
}
