//! Payloads of type `rootfs-image`: into the passive root part, which then starts on trial. The
//! behaviour is that of Mender's update module of that name; the decisions are in
//! [`crate::boot::contract`].

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use log::info;
use tandem_artifact::Artifact;

use crate::boot::BootLoader;
use crate::boot::contract::Facts;
use crate::install;
use crate::machine::{Call, Mode, Outcome};
use crate::partition::Partition;
use crate::progress::{Progress, rate};
use crate::record::Reboot;
use crate::slots::Slot;
use crate::stop::Stop;

/// The type's name in an artifact.
pub(crate) const TYPE: &str = "rootfs-image";

/// The root part that an artifact would be written to now.
///
/// # Errors
/// When none may be written.
pub(crate) fn target(boot: &BootLoader) -> Result<Slot> {
    Ok(boot.slots().passive(boot.facts()?)?.slot())
}

/// Writes the image, and reads it back from the device. Nothing selects the root part yet.
///
/// # Errors
/// When the image does not fit, the artifact is not what it promises, or the device fails.
pub(crate) fn fetch<R: Read>(
    mut artifact: Artifact<R>,
    target: Slot,
    boot: &BootLoader,
    stop: &Stop,
) -> Result<()> {
    let passive = boot.slots().passive(boot.facts()?)?;
    ensure!(
        passive.slot() == target,
        "rootfs part {target} was to be written, but {} is the passive one now",
        passive.slot()
    );
    let image = artifact.next_file()?.context("the artifact has no image")?;
    let info = image.info().clone();
    info!(
        "writing {} ({} MiB) to rootfs part {target} ({})",
        info.name,
        info.size >> 20,
        passive.path().display()
    );
    let mut partition = Partition::open(passive, info.size)?;
    let (mut bytes, check) = image.detach_check()?;
    let mut progress = Progress::new("writing", info.size);
    let proof = install::copy(&mut bytes, check, &mut partition, &mut progress, stop)?;
    artifact.accept(proof)?;
    if let Some(more) = artifact.next_file()? {
        bail!(
            "the artifact has a second payload file, {}",
            more.info().name
        );
    }
    artifact.finish()?;
    // Durable before anything counts on it; then what the device has, not what was sent to it.
    partition.flush()?;
    let taken = progress.elapsed();
    drop(progress);
    info!(
        "wrote {} MiB in {:.2} s ({} MiB/s), {} MiB of them were there already",
        info.size >> 20,
        taken.as_secs_f64(),
        rate(info.size, taken) >> 20,
        partition.equal_bytes() >> 20
    );
    let progress = Progress::new("reading back", info.size);
    let found = partition.read_back(info.size)?;
    ensure!(
        found == info.sha256,
        "rootfs part {target} does not give back what was written to it: the storage device is failing"
    );
    info!(
        "read it back in {:.2} s: it is what was signed for",
        progress.elapsed().as_secs_f64()
    );
    Ok(())
}

/// One call of the update-module protocol, except for the reboots.
///
/// # Errors
/// When the boot environment does not allow it, or cannot be written.
pub(crate) fn call(call: Call, target: Slot, mode: Mode, boot: &BootLoader) -> Result<Outcome> {
    match call {
        Call::Install => boot.apply(boot.facts()?.arm(target)?)?,
        Call::NeedsReboot => return Ok(Outcome::Reboot(Reboot::Automatic)),
        Call::SupportsRollback => return Ok(Outcome::RollbackSupported(true)),
        Call::VerifyReboot => boot.facts()?.verify_trial(target)?,
        Call::Commit => boot.apply(boot.facts()?.commit(target)?)?,
        Call::Rollback => roll_back(target, mode, boot)?,
        Call::VerifyRollbackReboot => boot.facts()?.verify_rolled_back(target)?,
        Call::Reboot | Call::RollbackReboot | Call::Failure | Call::Cleanup => {}
    }
    Ok(Outcome::Done)
}

/// Selects the old root part again.
fn roll_back(target: Slot, mode: Mode, boot: &BootLoader) -> Result<()> {
    let Err(err) = boot.apply(Facts::roll_back(target)) else {
        return Ok(());
    };
    // During a trial the boot loader goes back by itself at the reboot that follows. A person's
    // reboot may come at any time, so they are told.
    let on_trial = boot.facts().is_ok_and(|facts| facts.upgrade_available);
    match (on_trial, mode) {
        (true, Mode::Managed) => {
            log::warn!("{err:#}; the boot loader will go back by itself");
            Ok(())
        }
        _ => Err(err),
    }
}
