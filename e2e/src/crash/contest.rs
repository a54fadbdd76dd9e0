//! One whole update by each of the peers and by the agent, recorded in the same way, and what the
//! same kinds of power cuts make of it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tandem_e2e::texts;

use crate::cli::Cli;
use crate::cuts::{Caches, Cut, Draws, each_cut};
use crate::log::{Log, Medium};
use crate::machine::{Attached, Machine, Model, NEW, OLD, Power, RESETS};
use crate::phase::Phase;
use crate::recorder::{Hold, Recorder};
use crate::scene::MOUNT_OPTIONS;

/// What the power cuts left.
#[derive(Clone, Copy, Debug, Default)]
struct Outcomes {
    images: usize,
    /// Not a copy of the environment is good, or nothing that is whole is ever started.
    lost: usize,
    /// What is started first is neither the whole old system nor the whole new one. If it does not
    /// come up, the boot loader's counter brings a whole one back.
    torn: usize,
    /// What was reported as installed is not started, or what was reported as kept has not stayed.
    undone: usize,
    /// What is said to be installed is not what runs.
    untrue: usize,
}

/// How many cuts of a kind are told in full.
const TOLD: usize = 3;

/// Prints a table.
pub(crate) fn compare(cli: &Cli, work: &Path, out: &mut impl Write) -> Result<()> {
    for &peer in &cli.peers {
        if !peer.present()? {
            writeln!(out, "{}: NOT RUN, it is not installed", peer.name())?;
            continue;
        }
        let dir = work.join(peer.name());
        let attempt = || format!("cannot try {}", peer.name());
        let model =
            Model::create(peer, &dir.join("model"), cli.tandem.as_deref()).with_context(attempt)?;
        for option in MOUNT_OPTIONS {
            if cli.mount_option.as_deref().is_some_and(|o| o != option) {
                continue;
            }
            let log = record(&model, &dir.join(option), option).with_context(attempt)?;
            let (writes, flushes) = log.counts();
            for (caches, disk) in [(Caches::One, "one"), (Caches::Each, "separate")] {
                let place = dir.join(format!("{option}-{disk}"));
                let draws = Draws {
                    caches,
                    ..cli.draws()
                };
                let mut jury = Jury::new(&model, &place, option)?;
                jury.hear(&log, draws, cli, out).with_context(attempt)?;
                let Outcomes {
                    images,
                    lost,
                    torn,
                    undone,
                    untrue,
                } = jury.outcomes;
                let untrue = match peer.ask(2) {
                    Some(_) => untrue.to_string(),
                    None => "-".to_owned(),
                };
                writeln!(
                    out,
                    "{:<14}{option:<16} {disk:<9} {writes:4} writes {flushes:4} flushes \
                     {images:5} crash images {lost:4} lost {torn:4} torn {undone:4} undone \
                     {untrue:>4} untrue",
                    peer.name(),
                )?;
                out.flush()?;
            }
        }
    }
    Ok(())
}

/// Install, boot, keep; recorded.
fn record(model: &Model, dir: &Path, option: &str) -> Result<Log> {
    let machine = Machine::new(model, dir)?;
    let recorder = Recorder::start(&machine.path(""), model.before.clone(), Hold::Closed)?;
    let block = std::fs::canonicalize(machine.path("disk").join(Medium::Data.file()))?;
    ensure!(
        machine.power_up()? == Power::Starts(2),
        "the device starts on root part A"
    );
    let data = machine.mount(&block, option)?;
    recorder.mark(Phase::Installing);
    machine.must(2, &model.install(NEW, 2)?)?;
    recorder.mark(Phase::Installed);
    data.unmount()?;
    recorder.mark(Phase::Starting);
    ensure!(
        machine.power_up()? == Power::Starts(3),
        "the new system is tried"
    );
    recorder.mark(Phase::Trial);
    let data = machine.mount(&block, option)?;
    recorder.mark(Phase::Committing);
    machine.must(3, &model.peer().keep(3))?;
    recorder.mark(Phase::Committed);
    data.unmount()?;
    recorder.stop()
}

/// Who looks at what a power cut left.
struct Jury<'a> {
    model: &'a Model,
    machine: Machine<'a>,
    media: Attached,
    option: &'a str,
    outcomes: Outcomes,
    /// What became of environments and data partitions that have been seen: in most cuts only the
    /// root part that is being written differs. Whether what was said was true, and what ran.
    seen: HashMap<u64, (bool, &'static str)>,
}

impl<'a> Jury<'a> {
    fn new(model: &'a Model, dir: &Path, option: &'a str) -> Result<Jury<'a>> {
        let (machine, media) = Attached::new(model, dir)?;
        Ok(Jury {
            model,
            machine,
            media,
            option,
            outcomes: Outcomes::default(),
            seen: HashMap::new(),
        })
    }

    /// Looks at every cut.
    fn hear(&mut self, log: &Log, draws: Draws, cli: &Cli, out: &mut impl Write) -> Result<()> {
        let mut failed = None;
        let mut number: usize = 0;
        each_cut(log, draws, cli.seed, |cut| {
            if !cli.phases.is_empty() && !cli.phases.contains(&cut.phase) {
                return true;
            }
            number = number.saturating_add(1);
            if number.checked_rem(cli.every.max(1)) != Some(0) {
                return true;
            }
            let told = self.judge(&cut).and_then(|verdict| match verdict {
                Some(words) => Ok(writeln!(out, "  {}: {words}", cut.name)?),
                None => Ok(()),
            });
            failed = told.with_context(|| cut.name).err();
            failed.is_none()
        });
        match failed {
            Some(err) => Err(err),
            None => Ok(()),
        }
    }

    /// Switches the power on and counts what there is to see; the words for it, the first few times.
    fn judge(&mut self, cut: &Cut) -> Result<Option<String>> {
        self.outcomes.images = self.outcomes.images.saturating_add(1);
        self.media.fill(&cut.media)?;
        let Power::Starts(part) = self.machine.power_up()? else {
            let count = &mut self.outcomes.lost;
            return Ok(counted(count, || "no environment is good".into()));
        };
        let Some(runs) = self.runs(part)? else {
            let words = || format!("root part {part} is started");
            let count = match self.falls_back()? {
                true => &mut self.outcomes.torn,
                false => &mut self.outcomes.lost,
            };
            return Ok(counted(count, words));
        };
        let mut words = None;
        if cut.phase == Phase::Installed && runs != NEW {
            words = counted(&mut self.outcomes.undone, || format!("starts {runs}"));
        }
        let [environment, _, _, data] = &cut.media;
        let mut hasher = DefaultHasher::new();
        (environment, data, runs).hash(&mut hasher);
        let key = hasher.finish();
        let (is_true, stays) = match self.seen.get(&key) {
            Some(seen) => *seen,
            None => {
                let data = self.media.block(Medium::Data)?.to_owned();
                let data = self.machine.mount(&data, self.option)?;
                let done = self.settle(part);
                data.unmount()?;
                let (is_true, stays, said) = done?;
                if !is_true {
                    words = Some(said);
                }
                self.seen.insert(key, (is_true, stays));
                (is_true, stays)
            }
        };
        if cut.phase == Phase::Committed && stays != NEW {
            words = counted(&mut self.outcomes.undone, || format!("ends with {stays}"));
        }
        if !is_true {
            self.outcomes.untrue = self.outcomes.untrue.saturating_add(1);
            words = words.filter(|_| self.outcomes.untrue <= TOLD);
        }
        Ok(words)
    }

    /// The system that root part `part` holds, if that is the whole old or the whole new one.
    fn runs(&self, part: u32) -> Result<Option<&'static str>> {
        let found = self.model.whole(&self.media.root(part)?);
        Ok(found.filter(|&release| release == OLD || release == NEW))
    }

    /// Whether the boot loader comes to a whole system when what it starts does nothing but reset.
    fn falls_back(&self) -> Result<bool> {
        for _ in 0..RESETS {
            match self.machine.power_up()? {
                Power::Starts(part) if self.runs(part)?.is_some() => return Ok(true),
                Power::Starts(_) => {}
                Power::Lost => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Does what is to be done after a power cut, reboots once more, and asks what is installed:
    /// whether that is true, what runs, and the answer.
    fn settle(&self, mut part: u32) -> Result<(bool, &'static str, String)> {
        let peer = self.model.peer();
        let mut said = String::new();
        let mut runs = OLD;
        for again in [true, false] {
            let whole = self.runs(part)?;
            runs = whole.context("what runs after recovery is not whole")?;
            for command in peer.recover(part, runs == NEW) {
                let (words, log) = texts(&self.machine.run(part, &command)?);
                said.push_str(&words);
                said.push_str(&log);
            }
            if again {
                match self.machine.power_up()? {
                    Power::Starts(next) => part = next,
                    Power::Lost => anyhow::bail!("the environment is lost after recovery"),
                }
            }
        }
        let Some(question) = peer.ask(part) else {
            return Ok((true, runs, said));
        };
        let (answer, log) = texts(&self.machine.run(part, &question)?);
        let told = peer.told(&answer, part);
        let is_true = told.as_deref() == Some(runs);
        let words = format!("runs {runs}, says {told:?}; {log} {said}");
        Ok((is_true, runs, words))
    }
}

/// Counts one more; the words, if it is among the first.
fn counted(count: &mut usize, words: impl FnOnce() -> String) -> Option<String> {
    *count = count.saturating_add(1);
    (*count <= TOLD).then(words)
}
