//! The report, in Markdown.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};

use crate::budget::{Verdict, judge};
use crate::case::Case;
use crate::compare::Measured;
use crate::contender::Kind;
use crate::figures::{Figure, Spread, ratios, runs_of};
use crate::lab::Run;
use crate::plot::{Bar, Plot};
use crate::stage::Alone;
use crate::table::Table;
use crate::weight::Weight;
use crate::{machine, workplace};

/// A report in the making.
#[derive(Debug)]
pub(crate) struct Report {
    text: String,
    load_before: String,
    /// Name of the file behind that of the report, and the picture.
    plots: Vec<(&'static str, Plot)>,
}

/// How the figures come about.
const METHOD: &str = "\
Every program installs the same image into the same slot, in turn, from a signed artifact: a local file
that is in the cache, or over TLS from nginx on the same machine, which takes a processor of its own.
The slot is a loop device in memory and is overwritten before each run; afterwards it is compared with
the image, byte by byte. Figures are medians (least-most).

- CPU is user and system time with all children that were waited for; for RAUC that of its service
  and of the command. The kernel's own threads, and nginx, are in nobody's figure.
- Peak memory is that of the largest process, mapped files included.
- Written is what went to the slot's device, MiB; flushes are those that the program itself sends to
  it; cached is what it leaves of the slot in the machine's memory when it ends.
- Fetched is what nginx has sent, MiB, without TLS's own.
- tandem reads back what it has written, from the device, before it selects the slot. No peer does,
  so this is left out of wall and CPU and shown in a column of its own: the time between the two lines
  of its log that say `wrote` and `read it back`, and the processor time (/proc/PID/stat, to 0.01 s)
  that the process has used between them.
- Ratios compare runs of the same round; those against the slowest stage, too.
- RAUC streams with the kernel's network block device and dm-verity only; without them it installs
  from files. SWUpdate of Debian knows no xz, Mender's client in Go no zstd. Rugix compresses with
  xz only, trusts public authorities only, and checks no signature here.
";

impl Report {
    /// Begins one.
    pub(crate) fn begin(title: &str) -> Result<Report> {
        let mut text = format!("# {title}\n\n");
        for line in machine::description()? {
            writeln!(text, "- {line}")?;
        }
        Ok(Report {
            text,
            load_before: machine::load()?,
            plots: Vec::new(),
        })
    }

    /// Adds one more line about the circumstances.
    pub(crate) fn note(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.text, "- {line}")?)
    }

    /// Ends the circumstances.
    pub(crate) fn note_load(&mut self) -> Result<()> {
        let (before, after) = (&self.load_before, machine::load()?);
        Ok(writeln!(
            self.text,
            "- Load average (1, 5, 15 minutes): {before} before, {after} after"
        )?)
    }

    /// Adds a heading and what is below it.
    pub(crate) fn section(&mut self, heading: &str, content: &str) -> Result<()> {
        Ok(writeln!(
            self.text,
            "\n## {heading}\n\n{}",
            content.trim_end()
        )?)
    }

    /// Adds the lines of the budget.
    pub(crate) fn verdicts(&mut self, verdicts: &[Verdict]) -> Result<()> {
        let mut table = Table::new(&["what", "at most", "found", "verdict"]);
        for verdict in verdicts {
            let found = verdict
                .found
                .map_or("-".into(), |found| format!("{found:.2}"));
            let at_most = format!("{:.2}", verdict.at_most);
            table.row(&[&verdict.what, &at_most, &found, &verdict.to_string()]);
        }
        self.section("Budget", &table.to_string())
    }

    /// Adds everything about a comparison.
    pub(crate) fn comparison(
        &mut self,
        measured: &Measured,
        contenders: &[Kind],
        cases: &[Case],
    ) -> Result<Vec<Verdict>> {
        let Measured { runs, alone, tools } = measured;
        self.section("How", METHOD)?;
        for &case in cases {
            let figures = figures(runs, contenders, case).to_string();
            let ratios = ratio_table(runs, contenders, case).to_string();
            self.section(
                &format!("Compression: {case}"),
                &format!("{figures}\n{ratios}"),
            )?;
        }
        self.section("Stages, each alone", &stages(alone).to_string())?;
        let costs = tools.iter().map(|(name, cost)| (name.as_str(), cost));
        let mut table = Table::new(&["tool", "wall s", "CPU s"]);
        let mut seen: Vec<&str> = Vec::new();
        for (name, _) in costs.clone() {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            let of_it = costs.clone().filter(|(tool, _)| *tool == name);
            table.row(&[
                name.to_owned(),
                spread(of_it.clone().map(|(_, cost)| cost.wall)),
                spread(of_it.map(|(_, cost)| cost.cpu)),
            ]);
        }
        self.section("Single tools", &table.to_string())?;
        for (name, title, value) in PLOTS {
            self.plots
                .push((name, plot(title, value, runs, contenders, cases)));
        }
        Ok(judge(runs, alone, cases))
    }

    /// Adds what the programs take of a device's storage.
    pub(crate) fn weights(&mut self, weights: &[(&str, Weight)]) -> Result<()> {
        let mut table = Table::new(&["program", "KiB", "its libraries, KiB", "how many"]);
        for (name, weight) in weights {
            table.row(&[
                (*name).to_owned(),
                format!("{}", weight.program >> 10),
                format!("{}", weight.libraries >> 10),
                weight.count.to_string(),
            ]);
        }
        self.section(
            "Size on disk, without the C library and what is called as a program",
            &table.to_string(),
        )
    }

    /// The report, also written to `out`, with its pictures beside it.
    pub(crate) fn end(mut self, out: Option<&Path>) -> Result<String> {
        let Some(out) = out else {
            return Ok(self.text);
        };
        let stem = out.file_stem().context("a report has a name")?;
        let stem = stem.to_string_lossy();
        let mut pictures = String::new();
        for (name, plot) in &self.plots {
            let file = format!("{stem}-{name}.svg");
            workplace::write(&out.with_file_name(&file), plot.svg())?;
            writeln!(pictures, "![{name}]({file})\n")?;
        }
        if !pictures.is_empty() {
            self.section("Pictures", &pictures)?;
        }
        workplace::write(out, &self.text)?;
        Ok(self.text)
    }
}

/// The pictures: the name of the file, the title, and the figure.
type Value = fn(&Run) -> f64;
const PLOTS: [(&str, &str, Value); 3] = [
    ("wall", "Installing: time, seconds", |run| {
        Figure::Wall.of(run)
    }),
    ("cpu", "Installing: processor time, seconds", |run| {
        Figure::Cpu.of(run)
    }),
    ("memory", "Installing: peak memory, MiB", |run| {
        run.cost.peak
    }),
];

fn plot(title: &str, value: Value, runs: &[Run], contenders: &[Kind], cases: &[Case]) -> Plot {
    let mut plot = Plot::new(title);
    for &case in cases {
        let bars = contenders.iter().filter_map(|&contender| {
            Some(Bar {
                name: contender.name().to_owned(),
                value: Spread::of(runs_of(runs, contender, case).map(value))?,
                ours: contender == Kind::Tandem,
            })
        });
        plot.group(&case.to_string(), bars.collect());
    }
    plot
}

/// Median and range in words; a dash without values.
fn spread(values: impl Iterator<Item = f64>) -> String {
    Spread::of(values).map_or("-".to_owned(), |spread| spread.to_string())
}

/// What each program took.
fn figures(runs: &[Run], contenders: &[Kind], case: Case) -> Table {
    let mut table = Table::new(&[
        "program",
        "wall s",
        "CPU s",
        "peak MiB",
        "written",
        "flushes",
        "cached",
        "fetched",
        "reading back: wall s",
        "CPU s",
        "slot right",
    ]);
    for &contender in contenders {
        let runs: Vec<&Run> = runs_of(runs, contender, case).collect();
        if runs.is_empty() {
            continue;
        }
        let range =
            |value: &dyn Fn(&Run) -> Option<f64>| spread(runs.iter().filter_map(|run| value(run)));
        let whole = |value: &dyn Fn(&Run) -> Option<f64>| {
            let values = Spread::of(runs.iter().filter_map(|run| value(run)));
            values.map_or("-".to_owned(), |values| format!("{:.0}", values.median))
        };
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let right = runs.iter().filter(|run| run.right).count();
        table.row(&[
            contender.name().to_owned(),
            range(&|run| Some(Figure::Wall.of(run))),
            range(&|run| Some(Figure::Cpu.of(run))),
            range(&|run| Some(run.cost.peak)),
            whole(&|run| Some(mib(run.slot.written))),
            whole(&|run| Some(run.slot.flushes as f64)),
            whole(&|run| Some(run.cached.max(0.0))),
            whole(&|run| run.fetched.map(mib)),
            range(&|run| run.cost.read_back.map(|part| part.wall)),
            range(&|run| run.cost.read_back.map(|part| part.cpu)),
            format!("{right} of {}", runs.len()),
        ]);
    }
    table
}

/// What the stages took.
fn stages(alone: &[Alone]) -> Table {
    let mut table = Table::new(&["stage", "wall s"]);
    let mut seen = Vec::new();
    for Alone { stage, .. } in alone {
        if !seen.contains(stage) {
            seen.push(*stage);
            let of_it = alone.iter().filter(|other| other.stage == *stage);
            table.row(&[stage.to_string(), spread(of_it.map(|one| one.wall))]);
        }
    }
    table
}

/// What tandem takes for each unit that the others take.
fn ratio_table(runs: &[Run], contenders: &[Kind], case: Case) -> Table {
    let mut table = Table::new(&["tandem / ...", "wall", "CPU"]);
    for &contender in contenders.iter().filter(|kind| **kind != Kind::Tandem) {
        let ratio = |figure| {
            ratios(runs, case, figure, Kind::Tandem, &[contender]).map(|ratio| ratio.to_string())
        };
        if let (Some(wall), Some(cpu)) = (ratio(Figure::Wall), ratio(Figure::Cpu)) {
            table.row(&[contender.name(), &wall, &cpu]);
        }
    }
    table
}
