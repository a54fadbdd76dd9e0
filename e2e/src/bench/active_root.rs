//! The active root part: a real file system on a block device that becomes `/` for every program,
//! so that the question "what do I run from" has a true answer.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use tandem_e2e::peers::plant;
use tandem_e2e::{LoopDevice, make_image};
use tandem_uboot_env::{Config, Env, Store};

use crate::interrupt::Interrupt;
use crate::slot::Slot;
use crate::workplace::{Workplace, write};

/// The active root part, mounted.
#[derive(Debug)]
pub(crate) struct ActiveRoot {
    place: PathBuf,
    device: LoopDevice,
}

/// What the device calls itself.
pub(crate) const DEVICE_TYPE: &str = "bench";
/// The certificate that programs trust, inside.
pub(crate) const TRUSTED: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The passive root part, under a name that is the same in every run.
pub(crate) const PASSIVE: &str = "/etc/passive";

const SIZE: u64 = 64 << 20;

/// The boot environment: two copies.
pub(crate) const ENV: &str = "var/lib/environment";
const ENV_SIZE: u64 = 0x4000;

impl ActiveRoot {
    /// Makes one and mounts it.
    pub(crate) fn create(
        workplace: &Workplace,
        passive: &Slot,
        interrupt: &Interrupt,
    ) -> Result<ActiveRoot> {
        let tree = workplace.path("active");
        if tree.exists() {
            fs::remove_dir_all(&tree)?;
        }
        plant(&tree, &["bench", "opt/program"], |command| {
            interrupt.run(command)
        })?;
        symlink(
            passive.device().path(),
            tree.join(PASSIVE.trim_start_matches('/')),
        )?;
        let image = workplace.path("active.ext4");
        make_image(&image, &tree, SIZE)?;
        fs::remove_dir_all(&tree)?;
        let device = LoopDevice::attach(&image, |command| interrupt.run(command))?;
        let place = workplace.mount("root", device.path(), "ext4", "")?;
        Ok(ActiveRoot { place, device })
    }

    /// Where it is mounted.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// Its device.
    pub(crate) fn device(&self) -> &LoopDevice {
        &self.device
    }

    /// Writes a file, making the directory for it.
    pub(crate) fn write(&self, path: &str, content: &str) -> Result<()> {
        let path = self.place.join(path.trim_start_matches('/'));
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        write(&path, content)
    }

    /// Makes everyone inside trust `certificate`, which is that of `localhost`.
    pub(crate) fn trust(&self, certificate: &Path, interrupt: &Interrupt) -> Result<()> {
        let mut ask = Command::new("openssl");
        ask.args(["x509", "-noout", "-subject_hash", "-in"])
            .arg(certificate);
        let hash = String::from_utf8(interrupt.run(&mut ask)?)?;
        self.write(TRUSTED, &fs::read_to_string(certificate)?)?;
        // OpenSSL looks for one by its name's hash.
        symlink(
            TRUSTED,
            self.place.join(format!("etc/ssl/certs/{}.0", hash.trim())),
        )?;
        self.write("etc/hosts", "127.0.0.1 localhost\n")
    }

    /// Removes a directory and everything in it, if there is one.
    pub(crate) fn forget(&self, path: &str) -> Result<()> {
        let path = self.place.join(path);
        match path.exists() {
            true => Ok(fs::remove_dir_all(path)?),
            false => Ok(()),
        }
    }

    /// Puts the boot environment back to where an update begins: this root part runs, for good.
    pub(crate) fn reset_boot_environment(&self) -> Result<()> {
        let file = self.place.join(ENV);
        let zeros = vec![0; usize::try_from(ENV_SIZE)?];
        write(&file, [zeros.as_slice(), zeros.as_slice()].concat())?;
        let lines = |file: &Path| {
            let file = file.display();
            format!("{file} 0x0 {ENV_SIZE:#x}\n{file} {ENV_SIZE:#x} {ENV_SIZE:#x}\n")
        };
        self.write("etc/fw_env.config", &lines(&Path::new("/").join(ENV)))?;
        let seen_from_here = self.place.join("etc/fw_env.outside");
        write(&seen_from_here, lines(&file))?;

        let number = self.device.number()?;
        let mut env = Env::new();
        for (name, value) in [
            ("bootcount", "0"),
            ("bootlimit", "1"),
            ("mender_boot_part", &number.to_string()),
            ("mender_boot_part_hex", &format!("{number:x}")),
            ("upgrade_available", "0"),
        ] {
            env.set(name, value)?;
        }
        let store = Store::new(Config::load(&seen_from_here)?);
        let guard = store.lock()?;
        // Both copies, as two saves leave them.
        store.write(&guard, &env)?;
        store.write(&guard, &env)?;
        Ok(())
    }
}
