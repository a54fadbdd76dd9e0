//! Those who install: the agent, an earlier build of it to compare with, and the peers.

mod mender;
mod rauc;
mod rugix;
mod swupdate;
mod tandem;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use tandem_e2e::installed;

use crate::case::{Case, Source};
use crate::compression::Compression;
use crate::interrupt::Interrupt;
use crate::lab::Lab;
use crate::sample::Image;

pub(crate) use rauc::Service;

/// A kind of program that installs images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The agent.
    #[value(skip)]
    Tandem,
    /// An earlier build of the agent.
    #[value(skip)]
    Before,
    /// Mender's client from version 4 on
    MenderCpp,
    /// Mender's client up to version 3
    MenderGo,
    /// SWUpdate
    Swupdate,
    /// RAUC
    Rauc,
    /// Rugix
    Rugix,
}

/// A program that installs images.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    kind: Kind,
    program: PathBuf,
}

impl Kind {
    /// All that are not the agent.
    pub(crate) const PEERS: [Kind; 5] = [
        Kind::MenderCpp,
        Kind::MenderGo,
        Kind::Swupdate,
        Kind::Rauc,
        Kind::Rugix,
    ];

    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Tandem => "tandem",
            Kind::Before => "tandem before",
            Kind::MenderCpp => "mender C++",
            Kind::MenderGo => "mender Go",
            Kind::Swupdate => "swupdate",
            Kind::Rauc => "rauc",
            Kind::Rugix => "rugix",
        }
    }

    /// Its program, where the machine has it.
    ///
    /// # Errors
    /// When the machine does not have it and must (`TANDEM_REQUIRE_PEERS=1`).
    pub(crate) fn installed(self) -> Result<Option<Contender>> {
        let program = match self {
            Kind::Tandem | Kind::Before => "tandem",
            Kind::MenderCpp => "mender-update",
            Kind::MenderGo => "mender",
            Kind::Swupdate => "swupdate",
            Kind::Rauc => "rauc",
            Kind::Rugix => "rugix-ctrl",
        };
        // Debian 12 has no packages of these: they need not be there.
        let required = !matches!(self, Kind::MenderCpp | Kind::Rugix);
        let path = which(program)?;
        if path.is_none() && required {
            installed(program)?;
        }
        Ok(path.map(|program| Contender {
            kind: self,
            program,
        }))
    }

    /// That program, which must exist.
    pub(crate) fn at(self, program: &Path) -> Result<Contender> {
        let attempt = || format!("there is no program {}", program.display());
        let program = program.canonicalize().with_context(attempt)?;
        ensure!(program.is_file(), attempt());
        Ok(Contender {
            kind: self,
            program,
        })
    }
}

impl Contender {
    /// What it is.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it is.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Its version: that of Debian's package, or what the program says.
    pub(crate) fn version(&self, interrupt: &Interrupt) -> Result<String> {
        let package = match self.kind {
            Kind::Tandem | Kind::Before | Kind::MenderCpp | Kind::Rugix => None,
            Kind::MenderGo => Some("mender-client"),
            Kind::Swupdate => Some("swupdate"),
            Kind::Rauc => Some("rauc"),
        };
        let mut ask = match package {
            None => Command::new(&self.program),
            Some(_) => Command::new("dpkg-query"),
        };
        match package {
            None => ask.arg("--version"),
            Some(package) => ask.args(["--show", "--showformat=${Version}", package]),
        };
        let said = interrupt.run(&mut ask)?;
        Ok(String::from_utf8_lossy(&said).trim().to_owned())
    }

    /// Whether it can do such an installation at all, on this machine.
    pub(crate) fn can(&self, case: Case) -> bool {
        match (self.kind, case.compression, case.source) {
            (Kind::MenderGo, Compression::Zstd, _) | (Kind::Swupdate, Compression::Xz, _) => false,
            // It streams by way of the kernel's network block device, and checks with dm-verity.
            (Kind::Rauc, _, Source::Tls) => false,
            // It can be told of no authority but the public ones.
            (Kind::Rugix, _, Source::Tls) => false,
            (Kind::Rugix, Compression::Gzip | Compression::Zstd, _) => false,
            _ => true,
        }
    }

    /// Whether it says when it reads back what it has written.
    pub(crate) fn reads_back(&self) -> bool {
        matches!(self.kind, Kind::Tandem | Kind::Before)
    }

    /// The artifact, bundle or image in its format; made once.
    pub(crate) fn artifact(
        &self,
        lab: &Lab,
        image: &Image,
        compression: Compression,
    ) -> Result<PathBuf> {
        match self.kind {
            Kind::Tandem | Kind::Before | Kind::MenderCpp | Kind::MenderGo => {
                tandem::artifact(lab, image, compression)
            }
            Kind::Swupdate => swupdate::image(lab, image, compression),
            Kind::Rauc => rauc::bundle(lab, image, compression),
            Kind::Rugix => rugix::bundle(lab, image, compression, self.directory()),
        }
    }

    /// Makes the device one on which it has never installed anything.
    pub(crate) fn reset(&self, lab: &Lab) -> Result<()> {
        match self.kind {
            Kind::Tandem | Kind::Before => tandem::reset(lab),
            Kind::MenderCpp | Kind::MenderGo => mender::reset(lab),
            Kind::Swupdate => swupdate::reset(lab),
            Kind::Rauc => rauc::reset(lab),
            Kind::Rugix => rugix::reset(lab),
        }
    }

    /// Starts the service that does the work for it, if it is not done by the command itself.
    pub(crate) fn start_service(&self, lab: &Lab) -> Result<Option<Service>> {
        match self.kind {
            Kind::Rauc => Service::start(self, lab).map(Some),
            Kind::Tandem
            | Kind::Before
            | Kind::MenderCpp
            | Kind::MenderGo
            | Kind::Swupdate
            | Kind::Rugix => Ok(None),
        }
    }

    /// The command that installs what is at `place`, and its environment.
    pub(crate) fn install(&self, place: String, source: Source) -> (Vec<OsString>, Vec<String>) {
        let (words, env) = match self.kind {
            Kind::Tandem | Kind::Before => (tandem::INSTALL, Vec::new()),
            Kind::MenderCpp => (mender::CPP_INSTALL, mender::cpp_env(self.directory())),
            Kind::MenderGo => (mender::GO_INSTALL, Vec::new()),
            Kind::Swupdate => (swupdate::INSTALL, Vec::new()),
            Kind::Rauc => (rauc::INSTALL, rauc::env()),
            Kind::Rugix => (rugix::INSTALL, Vec::new()),
        };
        let words = words.iter().map(OsString::from);
        let place = match self.kind {
            Kind::Swupdate => swupdate::from(&place, source).to_vec(),
            Kind::Tandem
            | Kind::Before
            | Kind::MenderCpp
            | Kind::MenderGo
            | Kind::Rauc
            | Kind::Rugix => vec![place],
        };
        let place = place.into_iter().map(OsString::from);
        (words.chain(place).collect(), env)
    }

    /// The directory of its program.
    pub(crate) fn directory(&self) -> &Path {
        self.program.parent().unwrap_or(Path::new("/"))
    }
}

/// The path of a program in `PATH`.
fn which(program: &str) -> Result<Option<PathBuf>> {
    let found = Command::new("which")
        .arg(program)
        .output()
        .context("cannot run which")?;
    let path = String::from_utf8(found.stdout)?;
    Ok(found.status.success().then(|| path.trim_end().into()))
}
