//! `bench size`: how large the programs are, and whether memory grows with the artifact.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::budget::{GROWTH_MIB, PROGRAM_SIZE, Verdict};
use crate::case::{Case, Source};
use crate::cli::Size;
use crate::contender::Kind;
use crate::idle::idle;
use crate::interrupt::Interrupt;
use crate::lab::Lab;
use crate::program;
use crate::report::Report;
use crate::sample::Image;
use crate::table::Table;

/// The programs that may go onto a device. Only the agent has a limit; it has to be there.
const PROGRAMS: [&str; 4] = ["tandem", "fw_printenv", "fw_setenv", "tandem-artifact"];

/// How much larger the larger artifact is.
const TIMES: u64 = 4;

/// Runs both; the report, and what the budget says to it.
pub(crate) fn size(options: &Size, interrupt: &Interrupt) -> Result<(String, Vec<Verdict>)> {
    let common = &options.common;
    let agent = program(common.tandem.as_deref(), "tandem")?;
    let mut report = Report::begin("Sizes")?;
    report.note_load()?;
    let mut verdicts = Vec::new();

    let mut table = Table::new(&["program", "KiB", "static", "stripped"]);
    for name in PROGRAMS {
        let path = agent.with_file_name(name);
        if path.exists() {
            let program = Weighed::weigh(&path, interrupt)?;
            table.row(&[
                name,
                &format!("{}", program.size >> 10),
                yes_or_no(program.is_static),
                yes_or_no(program.is_stripped),
            ]);
        }
    }
    report.section("Programs", &table.to_string())?;
    let weighed = Weighed::weigh(&agent, interrupt)?;
    verdicts.push(Verdict {
        what: "tandem, static and stripped, KiB".to_owned(),
        at_most: kib(PROGRAM_SIZE),
        // What still needs libraries has not shown its weight.
        found: (weighed.is_static && weighed.is_stripped).then(|| kib(weighed.size)),
    });

    verdicts.extend(idle(&agent, interrupt)?.verdicts());

    let (table, growth) = growth(options, &agent, interrupt)?;
    report.section("Peak memory of an installation, MiB", &table.to_string())?;
    verdicts.extend(growth);
    report.verdicts(&verdicts)?;
    Ok((report.end(common.out.as_deref())?, verdicts))
}

/// Installs a small artifact and one that is four times as large.
fn growth(options: &Size, agent: &Path, interrupt: &Interrupt) -> Result<(Table, Vec<Verdict>)> {
    let common = &options.common;
    let lab = Lab::set_up(common, interrupt)?;
    let tandem = Kind::Tandem.at(agent)?;
    let sizes = [common.size_mib / TIMES, common.size_mib];
    let mut table = Table::new(&[
        "compression",
        &format!("{} MiB", sizes[0]),
        &format!("{} MiB", sizes[1]),
    ]);
    let mut verdicts = Vec::new();
    for &compression in common.compressions() {
        let mut peaks = [0.0; 2];
        for (peak, mib) in peaks.iter_mut().zip(sizes) {
            let image = Image::make(&lab.workplace, mib, interrupt)?;
            let artifact = tandem.artifact(&lab, &image, compression)?;
            let case = Case {
                compression,
                source: Source::File,
            };
            let run = lab.run(&tandem, &artifact, &image, (case, 1))?;
            ensure!(run.right, "an installation is not right");
            *peak = run.cost.peak;
        }
        let [small, large] = peaks;
        let cells = [
            compression.to_string(),
            format!("{small:.2}"),
            format!("{large:.2}"),
        ];
        table.row(&cells);
        verdicts.push(Verdict {
            what: format!("growth of peak memory, {compression}, MiB"),
            at_most: GROWTH_MIB,
            found: Some(large - small),
        });
    }
    Ok((table, verdicts))
}

/// A program, weighed.
struct Weighed {
    /// Bytes.
    size: u64,
    /// It needs no library on the device.
    is_static: bool,
    /// It has no symbols.
    is_stripped: bool,
}

impl Weighed {
    fn weigh(path: &Path, interrupt: &Interrupt) -> Result<Weighed> {
        let mut readelf = Command::new("readelf");
        readelf
            .args(["--wide", "--segments", "--sections"])
            .arg(path);
        let headers = interrupt.run(&mut readelf)?;
        let headers = String::from_utf8_lossy(&headers);
        Ok(Weighed {
            size: fs::metadata(path)?.len(),
            is_static: !headers.contains(" INTERP "),
            is_stripped: !headers.contains(" SYMTAB "),
        })
    }
}

fn yes_or_no(is: bool) -> &'static str {
    match is {
        true => "yes",
        false => "no",
    }
}

fn kib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0
}
