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

use anyhow::{Context, Result, bail};
use clap::Parser;
use tempfile::TempDir;

use ours::{Done, Form};

/// What an update costs on the wire, beside casync, zchunk, xdelta3 and a model of RAUC
#[derive(Parser)]
#[command(name = "delta-bench")]
struct Options {
    /// The folder with old.ext4, sec.ext4 and so on, as delta-images.sh makes them
    images: PathBuf,
    /// Only these updates; in front of the name, sqfs- or erofs- for another file system
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "sec,one-lib,sqfs-sec,erofs-sec"
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
    let mut report = String::from("# What an update costs on the wire\n\n");
    let mut missed = Vec::new();
    let mut unchanged = None;
    let mut most_resident: f64 = 0.0;
    for pair in &options.only {
        let (old, new) = images(&options.images, pair);
        let artifact = |name: String, form: Form| {
            ours::artifact(&options.images, &format!("{name}.mender"), &new, form)
        };
        let noise = work.path().join("noise");
        io::copy(
            &mut File::open("/dev/urandom")?.take(fs::metadata(&old)?.len()),
            &mut File::create(&noise)?,
        )?;
        let hinted = artifact(format!("{pair}-hinted"), Form::Hinted(&old))?;
        let plain = artifact(format!("{pair}-plain"), Form::Plain)?;
        let whole = artifact(format!("{pair}-whole"), Form::Whole)?;
        let mut rows = Vec::new();
        for (name, artifact) in [(HINTED, &hinted), (PLAIN, &plain), (WHOLE, &whole)] {
            let done = ours::install(&tandem, &old, &new, artifact, None, &work)?;
            if done.connections > CONNECTIONS {
                missed.push(format!("{pair}, {name}: {} connections", done.connections));
            }
            rows.push(row(name, done.wire).noted(&done));
            most_resident = most_resident.max(done.resident);
        }
        // Somebody who has nothing of it.
        let done = ours::install(&tandem, &noise, &new, &hinted, None, &work)?;
        rows.push(row(FULL_FRAMED, done.wire).noted(&done));
        most_resident = most_resident.max(done.resident);
        rows.push(row(FULL, peers::stream(&new)?));
        rows.extend(others(&old, &new, &work)?);
        table(&mut report, pair, &rows)?;
        report.push_str(&goals(pair, &rows, &mut missed));
        if unchanged.is_none() && !is_packed(pair) {
            // Who has the image already.
            let done = ours::install(&tandem, &new, &new, &hinted, None, &work)?;
            let bootstrap = ours::bootstrap(work.path(), &new)?;
            let known = ours::install(&tandem, &new, &new, &hinted, Some(&bootstrap), &work)?;
            unchanged = Some((done.wire, known.wire, fs::metadata(&new)?.len()));
        }
    }
    if let Some((wire, known, size)) = unchanged {
        writeln!(
            report,
            "\nAn image that has not changed costs {wire} bytes, {:.3} % of its size (goal: {UNCHANGED} %); if the \
             device knows what it runs, {known} bytes, {:.3} %.",
            percent(wire, size),
            percent(known, size)
        )?;
        if percent(wire, size) > UNCHANGED {
            missed.push("an image that has not changed".to_owned());
        }
    }
    writeln!(
        report,
        "The agent had at most {most_resident:.1} MiB resident (goal: {RESIDENT})."
    )?;
    if most_resident > RESIDENT {
        missed.push("memory".to_owned());
    }
    if let Some(out) = &options.out {
        fs::write(out, &report).with_context(|| format!("cannot write {}", out.display()))?;
    }
    write!(stdout(), "{report}")?;
    match missed.is_empty() {
        true => Ok(()),
        false => bail!("goals missed: {}", missed.join("; ")),
    }
}

/// Whether it is about a file system that compresses. What a request and an answer cost is a larger part of those.
fn is_packed(pair: &str) -> bool {
    pair.starts_with("sqfs-") || pair.starts_with("erofs-")
}

/// The images before and after the update `pair`.
fn images(folder: &Path, pair: &str) -> (PathBuf, PathBuf) {
    let split = pair.split_once('-');
    let (kind, name) = split
        .filter(|(kind, _)| ["sqfs", "erofs"].contains(kind))
        .unwrap_or(("ext4", pair));
    let image = |name: &str| folder.join(format!("{name}.{kind}"));
    (image("old"), image(name))
}

/// How many connections an update may take.
const CONNECTIONS: u64 = 20;

/// What an image that has not changed may cost, percent of its size.
const UNCHANGED: f64 = 0.2;

/// What the agent may have in memory, MiB.
const RESIDENT: f64 = 12.0;

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
fn goals(pair: &str, rows: &[Row], missed: &mut Vec<String>) -> String {
    let limits: &[(&str, &str, f64)] = match pair {
        "sec" => &[
            (HINTED, CASYNC, 0.60),
            (HINTED, RAUC, 0.65),
            (HINTED, FLOOR, 1.35),
            (PLAIN, CASYNC, 0.75),
            (FULL_FRAMED, FULL, 1.20),
        ],
        "sqfs-sec" => &[(HINTED, CASYNC, 0.75), (PLAIN, CASYNC, 0.80)],
        "erofs-sec" => &[(HINTED, CASYNC, 0.75), (PLAIN, CASYNC, 0.75)],
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
        let word = if ratio <= *most {
            "met"
        } else {
            missed.push(format!("{pair}, {ours} / {theirs}"));
            "MISSED"
        };
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
