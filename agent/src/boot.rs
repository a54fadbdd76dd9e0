//! The boot contract over U-Boot's environment: what the boot loader says, and the one atomic
//! write that tells it something. The only file that knows the names of the variables.

pub(crate) mod contract;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use log::{info, warn};
use tandem_uboot_env::{Config as EnvConfig, Env, Snapshot, Store, Warning};

use crate::slots::{Slot, Slots};
use contract::{Change, Facts};

/// The root part that boots next, decimal; the number at the end of its device's path.
const BOOT_PART: &str = "mender_boot_part";
/// The same in lower-case hexadecimal, for commands of U-Boot that take it so.
const BOOT_PART_HEX: &str = "mender_boot_part_hex";
/// 1 while the selected root part is on trial.
const UPGRADE_AVAILABLE: &str = "upgrade_available";
/// How often it has been tried.
const BOOTCOUNT: &str = "bootcount";
/// 1 asks to look at the canary below.
const CHECK_CANARY: &str = "mender_check_saveenv_canary";
/// 1 once U-Boot itself has saved this environment.
const CANARY: &str = "mender_saveenv_canary";

/// The boot loader of this device.
pub(crate) struct BootLoader<'a> {
    store: Store,
    slots: Slots<'a>,
    warned: RefCell<BTreeSet<String>>,
}

impl<'a> BootLoader<'a> {
    /// The boot loader whose environment lies where `config` (`fw_env.config`) says.
    ///
    /// # Errors
    /// When that file is missing or makes no sense.
    pub(crate) fn new(config: &Path, slots: Slots<'a>) -> Result<BootLoader<'a>> {
        let config = EnvConfig::load(config).context(
            "cannot find the boot environment (create fw_env.config, or set uboot_env_config)",
        )?;
        let warned = RefCell::default();
        Ok(BootLoader {
            store: Store::new(config),
            slots,
            warned,
        })
    }

    /// The root parts.
    pub(crate) fn slots(&self) -> &Slots<'a> {
        &self.slots
    }

    /// What the boot environment and the kernel say.
    ///
    /// # Errors
    /// When the environment cannot be read, is not set up, or is not the one U-Boot uses.
    pub(crate) fn facts(&self) -> Result<Facts> {
        let snapshot = self
            .store
            .read()
            .context("cannot read the boot environment")?;
        self.warn(&snapshot.warnings);
        let env = good(&snapshot)?;
        if number(env, CHECK_CANARY)? == Some(1) && number(env, CANARY)? != Some(1) {
            bail!(
                "the boot loader has never saved this environment ({CHECK_CANARY} is 1, {CANARY} is not): it and this system look at different places, so compare its environment location with fw_env.config"
            );
        }
        let part = number(env, BOOT_PART)?.with_context(|| missing(BOOT_PART))?;
        let upgrade =
            number(env, UPGRADE_AVAILABLE)?.with_context(|| missing(UPGRADE_AVAILABLE))?;
        ensure!(
            upgrade <= 1,
            "{UPGRADE_AVAILABLE} is {upgrade} in the boot environment; it must be 0 or 1"
        );
        Ok(Facts {
            selected: self.slots.by_number(part)?,
            upgrade_available: upgrade == 1,
            running: self.slots.running()?,
        })
    }

    /// Tells the boot loader, in one write that happens wholly or not at all, and is durable when
    /// this returns.
    ///
    /// # Errors
    /// When the environment cannot be written; it then says what it said before, unless the
    /// device lies.
    pub(crate) fn apply(&self, change: Change) -> Result<()> {
        let variables = match change {
            Change::Arm(slot) => {
                let mut variables = self.select(slot)?;
                variables.push((UPGRADE_AVAILABLE, "1".to_owned()));
                variables.push((BOOTCOUNT, "0".to_owned()));
                variables
            }
            Change::Commit => vec![(UPGRADE_AVAILABLE, "0".to_owned())],
            Change::Disarm(slot) => {
                let mut variables = self.select(slot)?;
                variables.push((UPGRADE_AVAILABLE, "0".to_owned()));
                variables
            }
        };
        let variables: Vec<(&str, Option<&str>)> = variables
            .iter()
            .map(|(name, value)| (*name, Some(value.as_str())))
            .collect();
        self.write(&variables).or_else(|err| {
            // A write that failed may have hurt the copy that does not count, and the next one
            // mends it. Worth it: a rollback that cannot be written leaves a system on trial.
            warn!("{err:#}; trying once more");
            self.write(&variables)
        })?;
        match change {
            Change::Arm(slot) => info!("the boot loader starts rootfs part {slot} next, on trial"),
            Change::Commit => info!("the boot loader keeps the running rootfs part"),
            Change::Disarm(slot) => info!("the boot loader starts rootfs part {slot} from now on"),
        }
        Ok(())
    }

    fn write(&self, variables: &[(&str, Option<&str>)]) -> Result<()> {
        let attempt = "cannot write the boot environment";
        let guard = self.store.lock().context(attempt)?;
        let written = self.store.set_many(&guard, variables).context(attempt)?;
        self.warn(&written.warnings);
        Ok(())
    }

    /// Tells once what is the matter with the environment; it is looked at often.
    fn warn(&self, warnings: &[Warning]) {
        for warning in warnings {
            if self.warned.borrow_mut().insert(warning.to_string()) {
                warn!("boot environment: {warning}");
            }
        }
    }

    /// The variables that select a root part.
    fn select(&self, slot: Slot) -> Result<Vec<(&'static str, String)>> {
        let number = self.slots.number(slot)?;
        Ok(vec![
            (BOOT_PART, number.to_string()),
            (BOOT_PART_HEX, format!("{number:x}")),
        ])
    }
}

/// The variables, if a copy is good.
fn good(snapshot: &Snapshot) -> Result<&Env> {
    snapshot.env.as_ref().context(
        "no copy of the boot environment is good: start the device once so that the boot loader writes it, or write it with fw_setenv -f",
    )
}

fn missing(name: &str) -> String {
    format!(
        "the boot environment has no {name}: the boot loader is not set up for two rootfs parts, or fw_env.config leads to another environment"
    )
}

/// The number that a variable holds; unset and empty are none.
fn number(env: &Env, name: &str) -> Result<Option<u32>> {
    let Some(value) = env.get(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(value);
    match text.trim().parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => bail!("{name} is {text:?} in the boot environment; it must be a number"),
    }
}
