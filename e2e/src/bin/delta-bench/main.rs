//! `delta-bench`: how many bytes an update from one image to the next costs, beside the peers.
//!
//! ```text
//! wire    nginx with TLS, and a line in front of it that counts
//! ours    the agent itself installs over that line
//! models  what cannot be run here, calculated: RAUC's groups, the floor
//! peers   casync, zchunk, xdelta3, zstd
//! ```

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark's files are nobody's loss"
)]

mod models;
mod ours;
mod peers;
mod wire;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use tempfile::TempDir;

use ours::{Done, Form};

/// What an update costs on the wire, beside casync, zchunk, xdelta3 and a model of RAUC
#[derive(Parser)]
#[command(name = "delta-bench")]
struct Options {
    /// The folder with old.ext4, sec.ext4 and one-lib.ext4, as delta-images.sh makes them
    images: PathBuf,
    /// Only these updates
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "sec,one-lib"
    )]
    only: Vec<String>,
    /// The agent; default: the one beside this program
    #[arg(long, value_name = "PROGRAM")]
    tandem: Option<PathBuf>,
    /// Write the report to this file as well (Markdown)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Bytes that a device fetches.
#[derive(Clone, Debug)]
struct Row {
    name: String,
    bytes: u64,
    /// Requests and connections, where there are any.
    note: String,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let tandem = match &options.tandem {
        Some(path) => path.clone(),
        None => tandem_e2e::program("tandem")?,
    };
    let work = tempfile::tempdir_in(&options.images)?;
    let image = |name: &str| options.images.join(format!("{name}.ext4"));
    let mut report = String::from("# What an update costs on the wire\n\n");
    let old = image("old");
    let artifact = |name: String, new: &Path, form: Form| {
        ours::artifact(&options.images, &format!("{name}.mender"), new, form)
    };
    let noise = work.path().join("noise");
    io::copy(
        &mut File::open("/dev/urandom")?.take(fs::metadata(&old)?.len()),
        &mut File::create(&noise)?,
    )?;
    let mut unchanged = None;
    let mut most_resident: f64 = 0.0;
    for pair in &options.only {
        let new = image(pair);
        let hinted = artifact(format!("{pair}-hinted"), &new, Form::Hinted(&old))?;
        let plain = artifact(format!("{pair}-plain"), &new, Form::Plain)?;
        let whole = artifact(format!("{pair}-whole"), &new, Form::Whole)?;
        let mut rows = Vec::new();
        for (name, artifact) in [(HINTED, &hinted), (PLAIN, &plain), (WHOLE, &whole)] {
            let done = ours::install(&tandem, &old, &new, artifact, &work)?;
            rows.push(row(name, done.wire).noted(&done));
            most_resident = most_resident.max(done.resident);
        }
        // Somebody who has nothing of it.
        let done = ours::install(&tandem, &noise, &new, &hinted, &work)?;
        rows.push(row(FULL_FRAMED, done.wire).noted(&done));
        most_resident = most_resident.max(done.resident);
        rows.push(row(FULL, peers::stream(&new)?));
        rows.extend(others(&old, &new, &work)?);
        table(&mut report, pair, &rows)?;
        report.push_str(&goals(pair, &rows));
        // Who has the image already.
        unchanged = Some(ours::install(&tandem, &new, &new, &hinted, &work)?);
    }
    let unchanged = unchanged.context("there is nothing to compare")?;
    let size = fs::metadata(&old)?.len();
    writeln!(
        report,
        "\nAn image that has not changed costs {} bytes, {:.3} % of its size (goal: 0.2 %).",
        unchanged.wire,
        percent(unchanged.wire, size)
    )?;
    writeln!(
        report,
        "The agent had at most {most_resident:.1} MiB resident (goal: 12)."
    )?;
    if let Some(out) = &options.out {
        fs::write(out, &report).with_context(|| format!("cannot write {}", out.display()))?;
    }
    write!(stdout(), "{report}")?;
    Ok(())
}

const HINTED: &str = "tandem, previous release as hint";
const PLAIN: &str = "tandem, no hint";
const CASYNC: &str = "casync, default chunks";
const RAUC: &str = "RAUC, a model: groups of 64 KiB, 32 bytes of index a block";
const FLOOR: &str = "floor: all new blocks in one zstd -19 stream";
const WHOLE: &str = "tandem, not framed, zstd_best";
const FULL: &str = "everything, one zstd -19 stream";
const FULL_FRAMED: &str = "everything, framed with hint, to who has nothing of it";

fn others(old: &Path, new: &Path, work: &TempDir) -> Result<Vec<Row>> {
    let models = models::of(old, new)?;
    let mut rows = vec![row(RAUC, models.rauc), row(FLOOR, models.floor)];
    rows.extend(peers::of(old, new, work.path())?);
    Ok(rows)
}

impl Row {
    fn noted(mut self, done: &Done) -> Row {
        self.note = format!(
            "{} requests, {} connections, {:.1} s, {:.1} MiB resident",
            done.requests, done.connections, done.seconds, done.resident
        );
        self
    }
}

fn row(name: &str, bytes: u64) -> Row {
    Row {
        name: name.to_owned(),
        bytes,
        note: String::new(),
    }
}

fn table(report: &mut String, pair: &str, rows: &[Row]) -> Result<()> {
    let base = find(rows, HINTED).unwrap_or(1);
    writeln!(report, "\n## {pair}\n\n| what | MB | beside tandem | |")?;
    writeln!(report, "|---|---|---|---|")?;
    for Row { name, bytes, note } in rows {
        writeln!(
            report,
            "| {name} | {:.2} | {:.2} | {note} |",
            percent(*bytes, 100_000_000),
            percent(*bytes, base) / 100.0
        )?;
    }
    Ok(())
}

/// The goals: ours over theirs, and what it may be.
fn goals(pair: &str, rows: &[Row]) -> String {
    let limits: &[(&str, &str, f64)] = match pair {
        "sec" => &[
            (HINTED, CASYNC, 0.60),
            (HINTED, RAUC, 0.65),
            (HINTED, FLOOR, 1.35),
            (PLAIN, CASYNC, 0.75),
            (FULL_FRAMED, FULL, 1.20),
        ],
        _ => &[(HINTED, CASYNC, 0.35), (PLAIN, CASYNC, 0.75)],
    };
    let mut text = String::from("\n| goal | at most | is |\n|---|---|---|\n");
    for (ours, theirs, most) in limits {
        let ratio = match (find(rows, ours), find(rows, theirs)) {
            (Some(ours), Some(theirs)) => percent(ours, theirs) / 100.0,
            _ => {
                text.push_str(&format!("| {ours} / {theirs} | {most} | not measured |\n"));
                continue;
            }
        };
        let word = if ratio <= *most { "met" } else { "MISSED" };
        text.push_str(&format!(
            "| {ours} / {theirs} | {most} | {ratio:.2} {word} |\n"
        ));
    }
    text
}

fn find(rows: &[Row], name: &str) -> Option<u64> {
    rows.iter()
        .find(|row| row.name == name)
        .map(|row| row.bytes)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a figure with three digits needs no more"
)]
fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}
