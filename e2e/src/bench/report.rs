//! The report, in Markdown.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use crate::budget::{Verdict, judge};
use crate::compression::Compression;
use crate::contender::Kind;
use crate::figures::{Figure, Spread, ratios, runs_of};
use crate::lab::Run;
use crate::table::Table;
use crate::{machine, workplace};

/// A report in the making.
#[derive(Debug)]
pub(crate) struct Report {
    text: String,
    load_before: String,
}

/// How the figures come about.
const METHOD: &str = "\
Every program installs the same image into the same slot, in turn, from a signed local file that is
in the cache. The slot is a loop device in memory and is overwritten before each run; afterwards it is
compared with the image, byte by byte. Figures are medians (least-most).

- CPU is user and system time with all children that were waited for; for RAUC that of its service
  and of the command. The kernel's own threads are in nobody's figure.
- Peak memory is that of the largest process, mapped files included.
- Flushes are those that the program itself sends to the slot's device.
- tandem reads back what it has written, from the device, before it selects the slot. No peer does,
  so this is left out of wall and CPU and shown in a column of its own: the time between the two lines
  of its log that say `wrote` and `read it back`, and the processor time (/proc/PID/stat, to 0.01 s)
  that the process has used between them.
- Ratios compare runs of the same round.
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
        runs: &[Run],
        contenders: &[Kind],
        compressions: &[Compression],
    ) -> Result<Vec<Verdict>> {
        self.section("How", METHOD)?;
        for &compression in compressions {
            let figures = figures(runs, contenders, compression).to_string();
            let ratios = ratio_table(runs, contenders, compression).to_string();
            self.section(
                &format!("Compression: {compression}"),
                &format!("{figures}\n{ratios}"),
            )?;
        }
        let verdicts = judge(runs, compressions);
        self.verdicts(&verdicts)?;
        Ok(verdicts)
    }

    /// The report, also written to `out`.
    pub(crate) fn end(self, out: Option<&Path>) -> Result<String> {
        if let Some(out) = out {
            workplace::write(out, &self.text)?;
        }
        Ok(self.text)
    }
}

/// What each program took.
fn figures(runs: &[Run], contenders: &[Kind], compression: Compression) -> Table {
    let mut table = Table::new(&[
        "program",
        "wall s",
        "CPU s",
        "peak MiB",
        "flushes",
        "reading back: wall s",
        "CPU s",
        "slot right",
    ]);
    for &contender in contenders {
        let runs: Vec<&Run> = runs_of(runs, contender, compression).collect();
        if runs.is_empty() {
            continue;
        }
        let spread = |value: &dyn Fn(&Run) -> Option<f64>| {
            let values = runs.iter().filter_map(|run| value(run));
            Spread::of(values).map_or("-".to_owned(), |spread| spread.to_string())
        };
        let whole = |value: &dyn Fn(&Run) -> f64| {
            let spread = Spread::of(runs.iter().map(|run| value(run)));
            spread.map_or(String::new(), |spread| format!("{:.0}", spread.median))
        };
        let right = runs.iter().filter(|run| run.right).count();
        table.row(&[
            contender.name().to_owned(),
            spread(&|run| Some(Figure::Wall.of(run))),
            spread(&|run| Some(Figure::Cpu.of(run))),
            spread(&|run| Some(run.cost.peak)),
            whole(&|run| run.flushes as f64),
            spread(&|run| run.cost.read_back.map(|part| part.wall)),
            spread(&|run| run.cost.read_back.map(|part| part.cpu)),
            format!("{right} of {}", runs.len()),
        ]);
    }
    table
}

/// What tandem takes for each unit that the others take.
fn ratio_table(runs: &[Run], contenders: &[Kind], compression: Compression) -> Table {
    let mut table = Table::new(&["tandem / ...", "wall", "CPU"]);
    for &contender in contenders.iter().filter(|kind| **kind != Kind::Tandem) {
        let ratio = |figure| {
            ratios(runs, compression, figure, Kind::Tandem, &[contender])
                .map(|ratio| ratio.to_string())
        };
        if let (Some(wall), Some(cpu)) = (ratio(Figure::Wall), ratio(Figure::Cpu)) {
            table.row(&[contender.name(), &wall, &cpu]);
        }
    }
    table
}
