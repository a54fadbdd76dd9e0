//! A stand-in for U-Boot with `CONFIG_BOOTCOUNT_ENV`, `CONFIG_BOOTCOUNT_LIMIT` and a redundant
//! environment, running the boot logic that Mender's and Tandem's integrations share. What it
//! reads and writes are the bytes that U-Boot reads and writes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tandem_uboot_env::{Config, Env, Store};

use crate::device::Device;
use crate::image;

/// What is compiled into the boot loader, for when no copy of the environment is good.
pub(crate) const DEFAULTS: [(&str, &str); 5] = [
    ("bootcount", "0"),
    ("bootlimit", "1"),
    ("mender_boot_part", "2"),
    ("mender_boot_part_hex", "2"),
    ("upgrade_available", "0"),
];

/// How often a device may reset before it counts as dead. One trial and one fallback are normal.
const MAX_RESETS: usize = 4;

/// How the device came up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booted {
    /// The number of the root part that runs.
    pub part: u32,
    /// What the console showed.
    pub console: Vec<String>,
}

/// Powers the device up: from reset until a root file system runs.
///
/// # Errors
/// When none starts: the device is bricked.
pub fn boot(device: &Device) -> Result<Booted> {
    let mut console = Vec::new();
    for _ in 0..MAX_RESETS {
        if let Some(part) = attempt(device, &mut console)? {
            return Ok(Booted { part, console });
        }
        console.push("resetting ...".to_owned());
    }
    anyhow::bail!(
        "the device does not start any more:\n{}",
        console.join("\n")
    );
}

/// One run from reset: the root part that runs, or nothing if the kernel resets the device.
fn attempt(device: &Device, console: &mut Vec<String>) -> Result<Option<u32>> {
    let store = Store::new(Config::load(&device.path("etc/fw_env.config"))?);
    let snapshot = store.read()?;
    let mut env = match snapshot.env {
        Some(env) => env,
        None => {
            console.push("*** Warning - bad CRC, using default environment".to_owned());
            let mut env = Env::new();
            for (name, value) in DEFAULTS {
                env.set(name, value)?;
            }
            env
        }
    };
    let save = |env: &Env| -> Result<()> {
        let guard = store.lock()?;
        store.write(&guard, env)?;
        Ok(())
    };
    if count_boot(&mut env, save)? {
        let limit = number(&env, "bootlimit");
        console.push(format!(
            "Warning: Bootlimit ({limit}) exceeded. Using altbootcmd."
        ));
        fall_back(&mut env)?;
        save(&env)?;
    }
    let part = number(&env, "mender_boot_part");
    console.push(format!(
        "booting root part {part} (upgrade_available={}, bootcount={})",
        number(&env, "upgrade_available"),
        number(&env, "bootcount")
    ));
    match start(device, part) {
        Ok(()) => Ok(Some(part)),
        Err(err) => {
            console.push(format!("Kernel panic - not syncing: {err:#}"));
            Ok(None)
        }
    }
}

/// What U-Boot does with `CONFIG_BOOTCOUNT_ENV` before it looks for something to boot: while an
/// update is on trial it counts, and saves the count. Whether `altbootcmd` is to be run.
///
/// # Errors
/// Those of `save`.
pub fn count_boot(env: &mut Env, save: impl Fn(&Env) -> Result<()>) -> Result<bool> {
    if number(env, "upgrade_available") == 0 {
        return Ok(false);
    }
    let count = number(env, "bootcount").saturating_add(1);
    env.set("bootcount", count.to_string())?;
    save(env)?;
    let limit = number(env, "bootlimit");
    Ok(limit != 0 && count > limit)
}

/// `mender_altbootcmd`, but for its `saveenv`: the other root part, for good.
///
/// # Errors
/// When the variables do not fit.
pub fn fall_back(env: &mut Env) -> Result<()> {
    let other = other_part(number(env, "mender_boot_part"));
    env.set("mender_boot_part", other.to_string())?;
    env.set("mender_boot_part_hex", format!("{other:x}"))?;
    env.set("upgrade_available", "0")?;
    Ok(())
}

/// The number of the root part that this one is not.
#[must_use]
pub const fn other_part(part: u32) -> u32 {
    if part == 2 { 3 } else { 2 }
}

/// The kernel's part: mounts the root file system and runs what is in it.
fn start(device: &Device, part: u32) -> Result<()> {
    let image = device.part(part);
    let running = device.path("running");
    match fs::remove_dir_all(&running) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => return Err(err.into()),
        _ => fs::create_dir(&running)?,
    }
    image::extract(&image, &running)?;
    for file in ["boot/vmlinuz", "sbin/init"] {
        ensure!(
            running.join(file).exists(),
            "root part {part} has no /{file}"
        );
    }
    point_root_at(&device.path("root"), &image)
}

/// What the kernel would answer when asked what `/` runs from.
fn point_root_at(root: &Path, image: &Path) -> Result<()> {
    let new: PathBuf = root.with_extension("new");
    match fs::remove_file(&new) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => return Err(err.into()),
        _ => {}
    }
    std::os::unix::fs::symlink(image, &new).context("cannot mark the running root part")?;
    #[expect(
        clippy::disallowed_methods,
        reason = "what runs is not kept over a power cut"
    )]
    fs::rename(&new, root).context("cannot mark the running root part")
}

/// The number in a variable; U-Boot takes what is unset or no number as 0.
#[must_use]
pub fn number(env: &Env, name: &str) -> u32 {
    let text = env
        .get(name)
        .map(String::from_utf8_lossy)
        .unwrap_or_default();
    text.parse().unwrap_or(0)
}
