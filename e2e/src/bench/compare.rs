//! `bench install`: everyone in turn.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::budget::Verdict;
use crate::case::Case;
use crate::cli::Install;
use crate::compression::Compression;
use crate::contender::{Contender, Kind};
use crate::environment;
use crate::idle::idle;
use crate::interrupt::Interrupt;
use crate::lab::{Lab, Run};
use crate::measure::Cost;
use crate::order::observe;
use crate::report::Report;
use crate::sample::Image;
use crate::stage::{Alone, Stage};
use crate::tool::Tool;
use crate::weight::Weight;
use crate::{program, say};

/// Everything that was measured in turn.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// The installations.
    pub(crate) runs: Vec<Run>,
    /// The stages, each alone.
    pub(crate) alone: Vec<Alone>,
    /// Single tools.
    pub(crate) tools: Vec<(String, Cost)>,
}

/// How often `fw_setenv` is called for each round of installations.
const SETTINGS: usize = 60;

/// Runs the comparison; the report, and what the budget says to it.
///
/// # Errors
/// When something cannot be run, or any slot ends up wrong: then there is nothing to compare.
pub(crate) fn compare(options: &Install, interrupt: &Interrupt) -> Result<(String, Vec<Verdict>)> {
    let common = &options.common;
    let contenders = contenders(options)?;
    let tandem = contenders.first().context("tandem takes part")?;
    let mut report = Report::begin("Installing an image: tandem and its peers")?;
    let lab = Lab::set_up(common, interrupt)?;
    let image = Image::make(&lab.workplace, common.size_mib, interrupt)?;
    let cases = options.cases();
    let measured = in_turn(&lab, &contenders, options, &image)?;

    report.note_load()?;
    report.note(&format!(
        "An image of {} MiB, {} rounds",
        common.size_mib, options.rounds
    ))?;
    let mut weights = Vec::new();
    for contender in &contenders {
        let version = contender.version(interrupt)?;
        report.note(&format!("{}: {version}", contender.kind().name()))?;
        weights.push((
            contender.kind().name(),
            Weight::of(contender.program(), interrupt)?,
        ));
    }
    let kinds: Vec<_> = contenders.iter().map(Contender::kind).collect();
    let mut verdicts = report.comparison(&measured, &kinds, &cases)?;
    report.weights(&weights)?;

    let plain = tandem.artifact(&lab, &image, Compression::None)?;
    let wrong = observe(&lab, tandem, &plain, &image).context("cannot observe an installation")?;
    if let Some(wrong) = &wrong {
        say(&format!("the order of writes is wrong: {wrong}"));
    }
    verdicts.push(Verdict {
        what: "errors in the order: last byte, flush, boot environment".to_owned(),
        at_most: 0.0,
        found: Some(f64::from(u8::from(wrong.is_some()))),
    });
    let rounds = options.rounds.saturating_mul(SETTINGS);
    let ours = tandem.program().with_file_name("fw_setenv");
    if let Some((table, of_it)) = environment::compare(&ours, &lab.workplace, rounds, interrupt)? {
        report.section("The boot environment", &table.to_string())?;
        verdicts.extend(of_it);
    }
    if !common.quick {
        say("watching the daemon while it waits, for a minute");
        verdicts.extend(idle(tandem.program(), interrupt)?.verdicts());
    }
    report.verdicts(&verdicts)?;
    let text = report.end(common.out.as_deref())?;
    let wrong = measured.runs.iter().filter(|run| !run.right).count();
    ensure!(
        wrong == 0,
        "{wrong} of {} installations are not right:\n{text}",
        measured.runs.len()
    );
    Ok((text, verdicts))
}

/// Who takes part; tandem is the first.
fn contenders(options: &Install) -> Result<Vec<Contender>> {
    let tandem = program(options.common.tandem.as_deref(), "tandem")?;
    let mut contenders = vec![Kind::Tandem.at(&tandem)?];
    if let Some(before) = &options.before {
        contenders.push(Kind::Before.at(before)?);
    }
    for &kind in options.peers.as_deref().unwrap_or(&Kind::PEERS) {
        let named = match kind {
            Kind::MenderCpp => &options.mender_update,
            Kind::Rugix => &options.rugix,
            Kind::Tandem | Kind::Before | Kind::MenderGo | Kind::Swupdate | Kind::Rauc => &None,
        };
        let found = match named {
            Some(program) => Some(kind.at(program)?),
            None => kind.installed()?,
        };
        match found {
            Some(contender) => contenders.push(contender),
            None if options.peers.is_none() => {
                say(&format!("{} is not installed: left out", kind.name()));
            }
            None => bail!("{} is not installed", kind.name()),
        }
    }
    Ok(contenders)
}

/// A B C, A B C, ... in every case, so that whatever else the machine does meets all.
fn in_turn(
    lab: &Lab,
    contenders: &[Contender],
    options: &Install,
    image: &Image,
) -> Result<Measured> {
    let cases = options.cases();
    let able = |case: Case| contenders.iter().filter(move |one| one.can(case));
    for &case in &cases {
        for contender in able(case) {
            let name = contender.kind().name();
            say(&format!("preparing {name} {case}"));
            contender
                .artifact(lab, image, case.compression)
                .with_context(|| format!("cannot make an artifact for {name}"))?;
        }
    }
    let tools = tools(lab, options, image)?;
    let mut measured = Measured::default();
    for round in 1..=options.rounds {
        for stage in Stage::all(&cases) {
            let of = match stage {
                Stage::Read(of) | Stage::Receive(of) | Stage::Decode(of) => of,
                Stage::Hash | Stage::Write => Compression::None,
            };
            let tandem = contenders.first().context("tandem takes part")?;
            let artifact = tandem.artifact(lab, image, of)?;
            measured
                .alone
                .push(stage.alone(lab, image, &artifact, round)?);
        }
        // They have little to tell from one round to the next.
        for tool in tools.iter().filter(|_| round % 2 == 1) {
            let cost = tool.run(lab)?;
            measured.tools.push((tool.name.clone(), cost));
        }
        for &case in cases
            .iter()
            .filter(|case| options.takes_part(**case, round))
        {
            for contender in able(case) {
                let artifact = contender.artifact(lab, image, case.compression)?;
                let run = lab.run(contender, &artifact, image, (case, round))?;
                let (name, case) = (run.contender.name(), case.to_string());
                say(&format!(
                    "round {round} of {}: {case:13} {name:13} {:6.2} s, {:6.2} s CPU, {:4.0} MiB",
                    options.rounds, run.cost.wall, run.cost.cpu, run.cost.peak
                ));
                measured.runs.push(run);
            }
        }
    }
    Ok(measured)
}

/// The single tools, with what they read made.
fn tools(lab: &Lab, options: &Install, image: &Image) -> Result<Vec<Tool>> {
    let mut compressed: Vec<(Compression, PathBuf)> = Vec::new();
    for &compression in options.common.compressions() {
        if compression != Compression::None {
            say(&format!("preparing the image alone, {compression}"));
            compressed.push((compression, compression.of_image(lab, image)?));
        }
    }
    Tool::all(lab, &image.path, &compressed)
}
