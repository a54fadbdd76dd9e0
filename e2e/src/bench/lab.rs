//! The device on which everyone installs, and one run of one of them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tandem_e2e::Traffic;
use tandem_e2e::peers::Keys;

use crate::active_root::ActiveRoot;
use crate::case::{Case, Source};
use crate::cli::Common;
use crate::contender::{Contender, Kind};
use crate::inside::{BENCH, Inside};
use crate::interrupt::Interrupt;
use crate::keys;
use crate::measure::Cost;
use crate::sample::Image;
use crate::slot::Slot;
use crate::web::Web;
use crate::workplace::{Workplace, remove_if_there};
use crate::{machine, program, say};

/// The device, and what artifacts are made with.
#[derive(Debug)]
pub(crate) struct Lab<'a> {
    pub(crate) root: ActiveRoot,
    pub(crate) slot: Slot,
    pub(crate) keys: Keys,
    pub(crate) web: Web,
    /// The program that writes artifacts.
    pub(crate) tandem_artifact: PathBuf,
    /// Outlives the devices, which are undone first.
    pub(crate) workplace: Workplace,
    pub(crate) interrupt: &'a Interrupt,
}

/// What one installation came to.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Which program.
    pub(crate) contender: Kind,
    /// What was installed.
    pub(crate) case: Case,
    /// Runs of one round are compared with each other.
    pub(crate) round: usize,
    /// What it cost.
    pub(crate) cost: Cost,
    /// What went to and from the slot's device. Flushes are the program's own.
    pub(crate) slot: Traffic,
    /// MiB of the slot that the program left in the machine's cache.
    pub(crate) cached: f64,
    /// Bytes that came over TLS.
    pub(crate) fetched: Option<u64>,
    /// The program ended well, and the slot holds the image.
    pub(crate) right: bool,
}

impl<'a> Lab<'a> {
    /// Sets everything up.
    pub(crate) fn set_up(options: &Common, interrupt: &'a Interrupt) -> Result<Lab<'a>> {
        let mib = options.size_mib;
        enough_memory(mib)?;
        let tandem_artifact = program(options.tandem_artifact.as_deref(), "tandem-artifact")?;
        let workplace = Workplace::enter(options.dir.as_deref())?;
        let slot = Slot::create(&workplace, mib << 20, interrupt)?;
        let root = ActiveRoot::create(&workplace, &slot, interrupt)?;
        let keys = keys::make(&workplace, interrupt)?;
        let web = Web::start(&workplace, interrupt).context("cannot start nginx")?;
        root.trust(&web.certificate, interrupt)?;
        Ok(Lab {
            root,
            slot,
            keys,
            web,
            tandem_artifact,
            workplace,
            interrupt,
        })
    }

    /// Lets `contender` install `artifact`, which has `image` in it.
    pub(crate) fn run(
        &self,
        contender: &Contender,
        artifact: &Path,
        image: &Image,
        (case, round): (Case, usize),
    ) -> Result<Run> {
        let attempt = || format!("cannot run {}", contender.kind().name());
        self.slot.fill(self.interrupt)?;
        self.root.reset_boot_environment()?;
        contender.reset(self).with_context(attempt)?;
        // From memory for everyone.
        io::copy(&mut File::open(artifact)?, &mut io::sink())?;
        let mut service = contender.start_service(self).with_context(attempt)?;

        let (before, cached) = (self.slot.device().traffic()?, machine::cached()?);
        let sent = self.web.sent()?;
        let installing = self.inside(contender, artifact, case.source)?;
        let mut cost = installing.cost(self.interrupt).with_context(attempt)?;
        if let Some(service) = &mut service {
            service.add_to(&mut cost).with_context(attempt)?;
        }
        let flushes = self.slot.device().traffic()?.since(before).flushes;
        drop(service);
        let cached = machine::cached()? - cached;
        // What the program has left in the cache is its doing, too.
        self.slot.settle()?;
        let slot = Traffic {
            flushes,
            ..self.slot.device().traffic()?.since(before)
        };

        let right = cost.success && self.slot.holds(&image.path, self.interrupt)?;
        if !right {
            let log = fs::read_to_string(self.log(contender))?;
            say(&format!(
                "{} did not install:\n{log}",
                contender.kind().name()
            ));
        }
        let fetched = match case.source {
            Source::Tls if cost.success => {
                let now = self.web.sent_after(sent, self.interrupt)?;
                Some(now.saturating_sub(sent))
            }
            Source::File | Source::Tls => None,
        };
        Ok(Run {
            contender: contender.kind(),
            case,
            round,
            cost,
            slot,
            cached,
            fetched,
            right,
        })
    }

    /// The command that installs, with everything around it.
    fn inside(&self, contender: &Contender, artifact: &Path, source: Source) -> Result<Inside> {
        let log = self.log(contender);
        remove_if_there(&log)?;
        let name = artifact.file_name().context("an artifact has a name")?;
        let name = name.to_string_lossy();
        let place = match source {
            Source::File => format!("{BENCH}/{name}"),
            Source::Tls => self.web.url(&name),
        };
        let (command, env) = contender.install(place, source);
        Ok(Inside {
            measure: Some(log),
            listen: contender.reads_back(),
            ..self.enter(contender, command, env)
        })
    }

    /// How to run something on the device.
    pub(crate) fn enter(
        &self,
        contender: &Contender,
        command: Vec<std::ffi::OsString>,
        env: Vec<String>,
    ) -> Inside {
        Inside {
            root: self.root.place().to_owned(),
            bench: self.workplace.path(""),
            program: contender.directory().to_owned(),
            env,
            measure: None,
            listen: false,
            command,
        }
    }

    fn log(&self, contender: &Contender) -> PathBuf {
        let name = contender.kind().name().replace(' ', "-");
        self.workplace.path(&format!("{name}.log"))
    }
}

/// Refuses what would push the machine out of its memory: the slot is in it.
fn enough_memory(mib: u64) -> Result<()> {
    /// For the programs, and for some cache.
    const SPARE: u64 = 1024;
    let info = fs::read_to_string("/proc/meminfo")?;
    let available: u64 = info
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|value| value.split_whitespace().next())
        .context("the kernel does not say how much memory is available")?
        .parse()?;
    let available = available >> 10;
    ensure!(
        available >= mib.saturating_add(SPARE),
        "a slot of {mib} MiB in memory needs {SPARE} MiB beside it, and there are {available} MiB in all: use a smaller --size-mib"
    );
    Ok(())
}
