//! Payloads of type `rootfs-image`: into the passive root part, which then starts on trial. The
//! behaviour is that of Mender's update module of that name; the decisions are in
//! [`crate::boot::contract`].

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use log::{info, warn};
use tandem_artifact::framed::Framed;
use tandem_artifact::{Artifact, PayloadFileInfo};

use crate::adaptive::{self, End};
use crate::boot::BootLoader;
use crate::boot::contract::Facts;
use crate::install;
use crate::machine::{Call, Mode, Outcome};
use crate::partition::Partition;
use crate::progress::{Progress, rate};
use crate::record::Reboot;
use crate::same_again;
use crate::slots::{Passive, Slot};
use crate::source::Pieces;
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
/// With `pieces` of the artifact, only what the device does not have is fetched of it, if it is
/// framed; nothing if it has the sum `installed`, that of what runs. All of a framed one is fetched
/// only where `fallback` allows it.
///
/// # Errors
/// When the image does not fit, the artifact is not what it promises, or the device fails; when all of
/// it would have to be fetched, and may not.
pub(crate) fn fetch<R: Read>(
    mut artifact: Artifact<R>,
    pieces: Option<Pieces>,
    target: Slot,
    installed: Option<&str>,
    fallback: bool,
    boot: &BootLoader,
    stop: &Stop,
) -> Result<()> {
    if let Some(pieces) = pieces {
        if let Some(framed) = artifact.framed()? {
            let known = installed.is_some_and(|sum| sum == framed.file.sha256.to_string());
            if known && same_again(&framed.file, passive(target, boot)?, boot, stop)? {
                return Ok(());
            }
            let passive = passive(target, boot)?;
            let Some(why) = adaptive(&framed, pieces, passive, boot, stop)? else {
                return Ok(());
            };
            ensure!(
                fallback,
                "{why}; the configuration forbids to fetch the whole artifact (whole_artifact_fallback)"
            );
            warn!("{why}; fetching the whole artifact");
        }
    }
    let passive = passive(target, boot)?;
    let image = artifact.next_file()?.context("the artifact has no image")?;
    let info = image.info().clone();
    tell(&info, &passive);
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
    ensure!(
        is_right(&mut partition, &info, progress)?,
        "rootfs part {target} does not give back what was written to it: the storage device is failing"
    );
    Ok(())
}

fn passive(target: Slot, boot: &BootLoader) -> Result<Passive> {
    let passive = boot.slots().passive(boot.facts()?)?;
    ensure!(
        passive.slot() == target,
        "rootfs part {target} was to be written, but {} is the passive one now",
        passive.slot()
    );
    Ok(passive)
}

/// Writes a framed image from what the device has and lacks; if the right one does not stand there
/// afterwards, why. The artifact can still be read as a whole then.
fn adaptive(
    framed: &Framed,
    mut pieces: Pieces,
    passive: Passive,
    boot: &BootLoader,
    stop: &Stop,
) -> Result<Option<String>> {
    let running = boot.slots().path(passive.slot().other())?;
    tell(&framed.file, &passive);
    let mut partition = Partition::open(passive, framed.file.size)?;
    let mut progress = Progress::new("writing", framed.file.size);
    let end = adaptive::install(
        framed,
        &mut pieces,
        &running,
        &mut partition,
        &mut progress,
        stop,
    )?;
    if let End::Whole(why) = end {
        return Ok(Some(why));
    }
    let right = is_right(&mut partition, &framed.file, progress)?;
    let why = "what was put together is not what was signed for: the index of the artifact is wrong, or the storage device is failing";
    Ok((!right).then(|| why.to_owned()))
}

/// Writes the image that runs once more; whether the right one stands there now.
fn same_again(
    image: &PayloadFileInfo,
    passive: Passive,
    boot: &BootLoader,
    stop: &Stop,
) -> Result<bool> {
    let running = boot.slots().path(passive.slot().other())?;
    if !same_again::runs(image, &running, stop)? {
        return Ok(false);
    }
    info!("fetching nothing: this very image runs");
    tell(image, &passive);
    let mut partition = Partition::open(passive, image.size)?;
    let mut progress = Progress::new("writing", image.size);
    same_again::copy(image, &running, &mut partition, &mut progress, stop)?;
    is_right(&mut partition, image, progress)
}

fn tell(image: &PayloadFileInfo, passive: &Passive) {
    info!(
        "writing {} ({} MiB) to rootfs part {} ({})",
        image.name,
        image.size >> 20,
        passive.slot(),
        passive.path().display()
    );
}

/// Makes what was written durable before anything counts on it; then whether the device, not what
/// was sent to it, has the image.
fn is_right(partition: &mut Partition, image: &PayloadFileInfo, writing: Progress) -> Result<bool> {
    partition.flush()?;
    let taken = writing.elapsed();
    drop(writing);
    info!(
        "wrote {} MiB in {:.2} s ({} MiB/s), {} MiB of them were there already",
        image.size >> 20,
        taken.as_secs_f64(),
        rate(image.size, taken) >> 20,
        partition.equal_bytes() >> 20
    );
    let progress = Progress::new("reading back", image.size);
    let right = partition.read_back(image.size)? == image.sha256;
    if right {
        info!(
            "read it back in {:.2} s: it is what was signed for",
            progress.elapsed().as_secs_f64()
        );
    }
    Ok(right)
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
