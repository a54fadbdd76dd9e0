//! The programs whose updates are recorded beside each other, each as its own documentation says
//! for U-Boot with a redundant environment: how it is configured, what is run to install and to
//! keep an update, how the boot loader decides, and what it says is installed.

mod mender;
mod rauc;
mod swupdate;
mod tandem;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ValueEnum;
use tandem_e2e::boot_loader::{count_boot, fall_back, number};
use tandem_e2e::peers::Keys;
use tandem_e2e::{installed, program};
use tandem_uboot_env::Env;

/// A program that installs updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// The agent
    Tandem,
    /// Mender's client up to version 3
    Mender,
    /// SWUpdate
    Swupdate,
    /// RAUC
    Rauc,
}

/// What artifacts are made from and with.
pub(crate) struct Materials<'a> {
    /// A directory for what is needed on the way.
    pub(crate) dir: &'a Path,
    /// The signer.
    pub(crate) keys: &'a Keys,
    /// The name of the release.
    pub(crate) release: &'a str,
    /// Its root file system.
    pub(crate) image: &'a Path,
}

/// A command of several words.
pub(crate) type Words = Vec<String>;

impl Peer {
    /// Its name in tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Peer::Tandem => "tandem",
            Peer::Mender => "mender-client",
            Peer::Swupdate => "swupdate",
            Peer::Rauc => "rauc",
        }
    }

    /// Whether the machine has it.
    ///
    /// # Errors
    /// When it must have it and has not.
    pub(crate) fn present(self) -> Result<bool> {
        match self {
            Peer::Tandem => Ok(program("tandem").is_ok()),
            Peer::Mender => installed("mender"),
            Peer::Swupdate => installed("swupdate"),
            Peer::Rauc => installed("rauc"),
        }
    }

    /// Puts its configuration into the files of a root file system, and what it keeps into those of
    /// the data partition.
    pub(crate) fn configure(self, root: &Path, data: &Path, keys: &Keys) -> Result<()> {
        match self {
            Peer::Tandem => tandem::configure(root, data, keys),
            Peer::Mender => mender::configure(root, data, keys),
            Peer::Swupdate => swupdate::configure(root, keys),
            Peer::Rauc => rauc::configure(root, keys),
        }
    }

    /// Says in the files of a root file system which release they are, where it looks for that.
    pub(crate) fn label(self, root: &Path, release: &str) -> Result<()> {
        match self {
            Peer::Mender => mender::label(root, release),
            Peer::Tandem | Peer::Swupdate | Peer::Rauc => Ok(()),
        }
    }

    /// The artifact in its format.
    pub(crate) fn artifact(self, materials: &Materials) -> Result<PathBuf> {
        match self {
            Peer::Tandem | Peer::Mender => tandem::artifact(materials),
            Peer::Swupdate => swupdate::image(materials),
            Peer::Rauc => rauc::bundle(materials),
        }
    }

    /// The boot environment of a new device that runs from root part A.
    pub(crate) fn factory(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Peer::Tandem | Peer::Mender => &tandem::FACTORY,
            Peer::Swupdate => &swupdate::FACTORY,
            Peer::Rauc => &rauc::FACTORY,
        }
    }

    /// Installs an artifact while root part `running` runs.
    pub(crate) fn install(self, artifact: &str, running: u32) -> Words {
        match self {
            Peer::Tandem => words(&["/program/tandem", "install", artifact]),
            Peer::Mender => words(&["mender", "--log-level", "warning", "install", artifact]),
            Peer::Swupdate => swupdate::install(artifact, running),
            Peer::Rauc => rauc::on_bus(running, "rauc install \"$1\"", artifact),
        }
    }

    /// Keeps the system on root part `running`, which has been found good.
    pub(crate) fn keep(self, running: u32) -> Words {
        match self {
            Peer::Tandem => words(&["/program/tandem", "commit"]),
            Peer::Mender => words(&["mender", "--log-level", "warning", "commit"]),
            Peer::Swupdate => words(&["sh", "-c", swupdate::KEEP]),
            Peer::Rauc => rauc::on_bus(running, "rauc status mark-good", ""),
        }
    }

    /// What its documentation has run when the system is up again after a power cut: on the `new`
    /// system, which is found good, or on the old one.
    pub(crate) fn recover(self, running: u32, new: bool) -> Vec<Words> {
        match (self, new) {
            (Peer::Tandem, true) => vec![self.keep(running), words(&["/program/tandem", "resume"])],
            (Peer::Tandem, false) => vec![words(&["/program/tandem", "resume"])],
            (Peer::Mender, false) => {
                vec![words(&["mender", "--log-level", "warning", "rollback"])]
            }
            // There is nothing to undo.
            (Peer::Swupdate, false) => Vec::new(),
            (Peer::Mender | Peer::Swupdate, true) | (Peer::Rauc, _) => vec![self.keep(running)],
        }
    }

    /// Asks which release is installed; none for who keeps no record of that.
    pub(crate) fn ask(self, running: u32) -> Option<Words> {
        match self {
            Peer::Tandem => Some(words(&["/program/tandem", "show-artifact"])),
            Peer::Mender => Some(words(&["mender", "--log-level", "error", "show-artifact"])),
            Peer::Swupdate => None,
            Peer::Rauc => Some(rauc::on_bus(running, rauc::STATUS, "")),
        }
    }

    /// The release in the answer.
    pub(crate) fn told(self, answer: &str, running: u32) -> Option<String> {
        match self {
            Peer::Tandem | Peer::Mender => Some(answer.trim().to_owned()),
            Peer::Swupdate => None,
            Peer::Rauc => rauc::version(answer, running),
        }
    }

    /// The boot loader, from reset: the root part that it starts; none if it resets the device.
    pub(crate) fn boot(
        self,
        env: &mut Env,
        save: impl Fn(&Env) -> Result<()>,
    ) -> Result<Option<u32>> {
        match self {
            Peer::Tandem | Peer::Mender => {
                if count_boot(env, &save)? {
                    fall_back(env)?;
                    save(env)?;
                }
                Ok(Some(number(env, "mender_boot_part")))
            }
            Peer::Swupdate => swupdate::boot(env, save),
            Peer::Rauc => rauc::boot(env, save),
        }
    }
}

fn words(words: &[&str]) -> Words {
    words.iter().map(ToString::to_string).collect()
}
