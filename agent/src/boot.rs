//! The boot contract over the boot loader's environment: what the boot loader says, and the one
//! atomic write that tells it something. The only file that knows the names of the variables.

pub(crate) mod contract;
mod environment;
mod grub;
mod uboot;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use log::{info, warn};

use crate::config::BootEnvironment;
use crate::slots::{Slot, Slots};
use contract::{Change, Facts};
use environment::{Environment, Reading};
use grub::Grub;
use uboot::Uboot;

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
    environment: Box<dyn Environment>,
    slots: Slots<'a>,
    warned: RefCell<BTreeSet<String>>,
}

impl<'a> BootLoader<'a> {
    /// The boot loader whose environment lies where the configuration says.
    ///
    /// # Errors
    /// When that cannot be, or the root parts have no numbers.
    pub(crate) fn new(place: &BootEnvironment, slots: Slots<'a>) -> Result<BootLoader<'a>> {
        let environment: Box<dyn Environment> = match place {
            BootEnvironment::Uboot(config) => Box::new(Uboot::new(config)?),
            BootEnvironment::Grub(dir) => {
                let parts = [slots.number(Slot::A)?, slots.number(Slot::B)?];
                Box::new(Grub::new(dir, parts))
            }
        };
        Ok(BootLoader {
            environment,
            slots,
            warned: RefCell::default(),
        })
    }

    /// The root parts.
    pub(crate) fn slots(&self) -> &Slots<'a> {
        &self.slots
    }

    /// What the boot environment and the kernel say.
    ///
    /// # Errors
    /// When the environment cannot be read, is not set up, or is not the one the boot loader uses.
    pub(crate) fn facts(&self) -> Result<Facts> {
        let Reading {
            variables,
            warnings,
        } = self
            .environment
            .read()
            .context("cannot read the boot environment")?;
        self.warn(warnings);
        if number(&variables, CHECK_CANARY)? == Some(1) && number(&variables, CANARY)? != Some(1) {
            bail!(
                "the boot loader has never saved this environment ({CHECK_CANARY} is 1, {CANARY} is not): it and this system look at different places, so compare its environment location with fw_env.config"
            );
        }
        let required = |name| {
            number(&variables, name)?.with_context(|| {
                format!(
                    "the boot environment has no {name}: the boot loader is not set up for two rootfs parts, or {} leads to another environment",
                    self.environment.configured_by()
                )
            })
        };
        let part = required(BOOT_PART)?;
        let upgrade = required(UPGRADE_AVAILABLE)?;
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

    fn write(&self, variables: &[(&str, String)]) -> Result<()> {
        let warnings = self
            .environment
            .write(variables)
            .context("cannot write the boot environment")?;
        self.warn(warnings);
        Ok(())
    }

    /// Tells once what is the matter with the environment; it is looked at often.
    fn warn(&self, warnings: Vec<String>) {
        for warning in warnings {
            if !self.warned.borrow().contains(&warning) {
                warn!("boot environment: {warning}");
                self.warned.borrow_mut().insert(warning);
            }
        }
    }

    /// The variables that select a root part.
    fn select(&self, slot: Slot) -> Result<Vec<(&'static str, String)>> {
        let number = self.slots.number(slot)?;
        let mut variables = vec![(BOOT_PART, number.to_string())];
        if self.environment.in_hexadecimal() {
            variables.push((BOOT_PART_HEX, format!("{number:x}")));
        }
        Ok(variables)
    }
}

/// The number that a variable holds; unset and empty are none.
fn number(variables: &BTreeMap<String, String>, name: &str) -> Result<Option<u32>> {
    let Some(text) = variables.get(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    match text.trim().parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => bail!("{name} is {text:?} in the boot environment; it must be a number"),
    }
}
