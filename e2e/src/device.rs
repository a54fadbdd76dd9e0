//! The virtual device's directory.
//!
//! ```text
//! disk/root2, disk/root3    the root parts A and B
//! disk/environment          the boot environment, two copies
//! data/                     the persistent partition
//! etc/tandem.toml           the agent's configuration
//! etc/fw_env.config         where the environment lies
//! running/                  the files of the running root file system
//! root                      the device that / runs from (a link to its root part)
//! reboot                    the reboot command; leaves the file `rebooting`
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tandem_uboot_env::{Config, Env, Store};

use crate::boot_loader;
use crate::image::make_image;

/// How to make a device.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The files of its first root file system. `boot/vmlinuz` and `sbin/init` must be among them.
    pub tree: PathBuf,
    /// The size of each root part, in bytes.
    pub part_size: u64,
    /// Its device type.
    pub device_type: String,
    /// Lines for its `tandem.toml`, beside those that say where things are.
    pub configuration: String,
    /// The artifact that says what its first root file system is.
    pub bootstrap: Option<PathBuf>,
}

/// A virtual device.
#[derive(Clone, Debug)]
pub struct Device {
    dir: PathBuf,
}

/// The size of a copy of the environment, and the distance between the two.
const ENV_SIZE: u64 = 0x4000;
const ENV_DISTANCE: u64 = 0x10000;

impl Device {
    /// The device in `dir`, made earlier.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn open(dir: &Path) -> Result<Device> {
        let dir = fs::canonicalize(dir)
            .with_context(|| format!("there is no virtual device in {}", dir.display()))?;
        Ok(Device { dir })
    }

    /// Makes a device in `dir`, which is created, and powers it up for the first time.
    ///
    /// # Errors
    /// When something is there already, or a tool is missing.
    #[expect(
        clippy::disallowed_methods,
        reason = "the device is new: nothing can be lost"
    )]
    pub fn create(dir: &Path, setup: &Setup) -> Result<Device> {
        fs::create_dir_all(dir)?;
        let device = Device::open(dir)?;
        for sub in ["disk", "data", "etc", "etc/scripts"] {
            fs::create_dir(device.path(sub))
                .with_context(|| format!("{} is not empty", dir.display()))?;
        }
        fs::set_permissions(device.path("data"), fs::Permissions::from_mode(0o700))?;
        make_image(&device.part(2), &setup.tree, setup.part_size)?;
        fs::File::create(device.part(3))?.set_len(setup.part_size)?;

        let environment = device.path("disk/environment");
        fs::File::create(&environment)?.set_len(ENV_DISTANCE.saturating_add(ENV_SIZE))?;
        fs::write(
            device.path("etc/fw_env.config"),
            format!(
                "{path} 0x0 {ENV_SIZE:#x}\n{path} {ENV_DISTANCE:#x} {ENV_SIZE:#x}\n",
                path = environment.display()
            ),
        )?;
        fs::write(
            device.path("data/device_type"),
            format!("device_type={}\n", setup.device_type),
        )?;
        let dir = device.dir.display();
        fs::write(
            device.path("etc/tandem.toml"),
            format!(
                "data_dir = \"{dir}/data\"\n\
                 rootfs_part_a = \"{dir}/disk/root2\"\n\
                 rootfs_part_b = \"{dir}/disk/root3\"\n\
                 root_device = \"{dir}/root\"\n\
                 uboot_env_config = \"{dir}/etc/fw_env.config\"\n\
                 scripts_dir = \"{dir}/running/etc/tandem/scripts\"\n\
                 reboot_command = \"{dir}/reboot\"\n\
                 {}\n",
                setup.configuration
            ),
        )?;
        let reboot = device.path("reboot");
        fs::write(&reboot, format!("#!/bin/sh\n: > '{dir}/rebooting'\n"))?;
        fs::set_permissions(&reboot, fs::Permissions::from_mode(0o755))?;
        if let Some(bootstrap) = &setup.bootstrap {
            fs::copy(bootstrap, device.path("data/bootstrap.mender"))?;
        }
        device.first_boot()?;
        Ok(device)
    }

    /// What a board does in the factory: U-Boot starts with its defaults and saves them.
    fn first_boot(&self) -> Result<()> {
        boot_loader::boot(self)?;
        let store = Store::new(Config::load(&self.path("etc/fw_env.config"))?);
        let guard = store.lock()?;
        let mut env = Env::new();
        for (name, value) in boot_loader::DEFAULTS {
            env.set(name, value)?;
        }
        // Both copies, as two saves leave them.
        store.write(&guard, &env)?;
        store.write(&guard, &env)?;
        Ok(())
    }

    /// A path inside the device's directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The root part with this number.
    #[must_use]
    pub fn part(&self, number: u32) -> PathBuf {
        self.dir.join(format!("disk/root{number}"))
    }
}
