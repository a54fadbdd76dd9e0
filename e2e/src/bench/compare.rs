//! `bench install`: everyone in turn.

use anyhow::{Context, Result, bail, ensure};

use crate::budget::Verdict;
use crate::cli::Install;
use crate::contender::{Contender, Kind};
use crate::interrupt::Interrupt;
use crate::lab::{Lab, Run};
use crate::report::Report;
use crate::sample::Image;
use crate::{program, say};

/// Runs the comparison; the report, and what the budget says to it.
///
/// # Errors
/// When something cannot be run, or any slot ends up wrong: then there is nothing to compare.
pub(crate) fn compare(options: &Install, interrupt: &Interrupt) -> Result<(String, Vec<Verdict>)> {
    let common = &options.common;
    let contenders = contenders(options)?;
    let mut report = Report::begin("Installing an image: tandem and its peers")?;
    let lab = Lab::set_up(common, interrupt)?;
    let image = Image::make(&lab.workplace, common.size_mib, interrupt)?;
    let runs = in_turn(&lab, &contenders, options, &image)?;

    report.note_load()?;
    report.note(&format!(
        "An image of {} MiB, {} rounds",
        common.size_mib, options.rounds
    ))?;
    for contender in &contenders {
        let version = contender.version(interrupt)?;
        report.note(&format!("{}: {version}", contender.kind().name()))?;
    }
    let kinds: Vec<_> = contenders.iter().map(Contender::kind).collect();
    let verdicts = report.comparison(&runs, &kinds, common.compressions())?;
    let text = report.end(common.out.as_deref())?;
    let wrong = runs.iter().filter(|run| !run.right).count();
    ensure!(
        wrong == 0,
        "{wrong} of {} installations are not right:\n{text}",
        runs.len()
    );
    Ok((text, verdicts))
}

/// Who takes part.
fn contenders(options: &Install) -> Result<Vec<Contender>> {
    let tandem = program(options.common.tandem.as_deref(), "tandem")?;
    let mut contenders = vec![Kind::Tandem.at(&tandem)?];
    if let Some(before) = &options.before {
        contenders.push(Kind::Before.at(before)?);
    }
    for &kind in options.peers.as_deref().unwrap_or(&Kind::PEERS) {
        let found = match (&options.mender_update, kind) {
            (Some(program), Kind::MenderCpp) => Some(kind.at(program)?),
            _ => kind.installed()?,
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

/// A B C, A B C, ... with every compression, so that whatever else the machine does meets all.
fn in_turn(
    lab: &Lab,
    contenders: &[Contender],
    options: &Install,
    image: &Image,
) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    let compressions = options.common.compressions();
    for &compression in compressions {
        for contender in contenders.iter().filter(|one| one.reads(compression)) {
            say(&format!(
                "preparing {} {compression}",
                contender.kind().name()
            ));
            contender
                .artifact(lab, image, compression)
                .with_context(|| {
                    format!("cannot make an artifact for {}", contender.kind().name())
                })?;
        }
    }
    for round in 1..=options.rounds {
        for &compression in compressions {
            for contender in contenders.iter().filter(|one| one.reads(compression)) {
                let artifact = contender.artifact(lab, image, compression)?;
                let run = lab.run(contender, &artifact, image, (compression, round))?;
                let name = run.contender.name();
                say(&format!(
                    "round {round} of {}: {compression:4} {name:13} {:6.2} s, {:6.2} s CPU, {:4.0} MiB",
                    options.rounds, run.cost.wall, run.cost.cpu, run.cost.peak
                ));
                runs.push(run);
            }
        }
    }
    Ok(runs)
}
