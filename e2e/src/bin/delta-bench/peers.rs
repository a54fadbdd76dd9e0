//! The peers that make deltas, each run as its manual says. Who is not installed is left out, and said so.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Write as _, stderr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{CASYNC, Row, row};

pub(crate) fn of(old: &Path, new: &Path, work: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (program, name, run) in [
        (
            "casync",
            CASYNC,
            casync as fn(&Path, &Path, &Path) -> Result<u64>,
        ),
        ("zck", "zchunk", zchunk),
        (
            "xdelta3",
            "xdelta3 -9 -B512M (needs this very pair)",
            xdelta3,
        ),
        (
            "zstd",
            "zstd -9 --patch-from (needs this very pair)",
            patch_from,
        ),
    ] {
        if !tandem_e2e_has(program) {
            writeln!(
                stderr(),
                "delta-bench: {program} is not installed: left out"
            )?;
            continue;
        }
        let bytes = run(old, new, work).with_context(|| format!("cannot run {program}"))?;
        rows.push(row(name, bytes));
    }
    Ok(rows)
}

fn tandem_e2e_has(program: &str) -> bool {
    Command::new(program).arg("--help").output().is_ok()
}

/// All of the image in one stream of `zstd -19`, made once and kept.
pub(crate) fn stream(image: &Path) -> Result<u64> {
    // Beside the image, whose ending says which file system it is.
    let beside = |ending: &str| PathBuf::from(format!("{}.{ending}", image.display()));
    let stream = beside("zst");
    if !stream.exists() {
        let part = beside("part");
        run(Command::new("zstd")
            .args(["-q", "-f", "-19", "--single-thread", "-o"])
            .args([&part, image]))?;
        fs::rename(part, &stream)?;
    }
    size(&stream)
}

/// New chunks and the index, as a device with the old index and store fetches them.
fn casync(old: &Path, new: &Path, work: &Path) -> Result<u64> {
    let store = work.join("store.castr");
    if store.exists() {
        fs::remove_dir_all(&store)?;
    }
    let make = |name: &str, image: &Path| -> Result<(PathBuf, BTreeSet<PathBuf>)> {
        let index = work.join(name);
        run(Command::new("casync")
            .arg("make")
            .arg(format!("--store={}", store.display()))
            .arg(&index)
            .arg(image))?;
        Ok((index, files(&store)?))
    };
    let (_, before) = make("old.caibx", old)?;
    let (index, after) = make("new.caibx", new)?;
    let mut bytes = size(&index)?;
    for chunk in after.difference(&before) {
        bytes = bytes.saturating_add(size(chunk)?);
    }
    Ok(bytes)
}

fn zchunk(old: &Path, new: &Path, work: &Path) -> Result<u64> {
    for (image, name) in [(old, "old.zck"), (new, "new.zck")] {
        run(Command::new("zck")
            .args(["--chunk-hash-type", "sha256", "-o"])
            .arg(work.join(name))
            .arg(image))?;
    }
    let output = Command::new("zck_delta_size")
        .args([work.join("old.zck"), work.join("new.zck")])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    // Would download 20193344 of 79853873 bytes
    let words = text.split_once("download ").context("no figure")?.1;
    Ok(words.split(' ').next().unwrap_or_default().parse()?)
}

fn xdelta3(old: &Path, new: &Path, work: &Path) -> Result<u64> {
    let out = work.join("delta.xd");
    run(Command::new("xdelta3")
        .args(["-q", "-e", "-9", "-B", "536870912", "-f", "-s"])
        .args([old, new, &out]))?;
    size(&out)
}

fn patch_from(old: &Path, new: &Path, work: &Path) -> Result<u64> {
    let out = work.join("delta.zst");
    run(Command::new("zstd")
        .args(["-q", "-9", "--long=31", "-f"])
        .arg(format!("--patch-from={}", old.display()))
        .arg("-o")
        .args([&out, new]))?;
    size(&out)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn size(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path)?.len())
}

fn files(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => folders.push(entry.path()),
                false => drop(found.insert(entry.path())),
            }
        }
    }
    Ok(found)
}
