//! U-Boot's environment, where `fw_env.config` says.

use std::path::Path;

use anyhow::{Context, Result};
use tandem_uboot_env::{Config, Store, Warning};

use super::environment::{Environment, Reading};

/// The environment of U-Boot.
pub(super) struct Uboot {
    store: Store,
}

impl Uboot {
    /// The environment that `config` (`fw_env.config`) describes.
    ///
    /// # Errors
    /// When that file is missing or makes no sense.
    pub(super) fn new(config: &Path) -> Result<Uboot> {
        let config = Config::load(config).context(
            "cannot find the boot environment (create fw_env.config, or set uboot_env_config)",
        )?;
        Ok(Uboot {
            store: Store::new(config),
        })
    }
}

impl Environment for Uboot {
    fn read(&self) -> Result<Reading> {
        let snapshot = self.store.read()?;
        let env = snapshot.env.context(
            "no copy is good: start the device once so that the boot loader writes it, or write it with fw_setenv -f",
        )?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Reading {
            variables: env
                .iter()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
            warnings: told(&snapshot.warnings),
        })
    }

    fn write(&self, variables: &[(&str, String)]) -> Result<Vec<String>> {
        let variables: Vec<(&str, Option<&str>)> = variables
            .iter()
            .map(|(name, value)| (*name, Some(value.as_str())))
            .collect();
        let guard = self.store.lock()?;
        let written = self.store.set_many(&guard, &variables)?;
        Ok(told(&written.warnings))
    }

    fn in_hexadecimal(&self) -> bool {
        true
    }

    fn configured_by(&self) -> &'static str {
        "uboot_env_config"
    }
}

fn told(warnings: &[Warning]) -> Vec<String> {
    warnings.iter().map(Warning::to_string).collect()
}
