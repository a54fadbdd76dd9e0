//! `delta`: what a device would fetch.

use std::fmt;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use anyhow::Context as _;
use tandem_artifact::framed::{
    self as library, Cost, Hint, HintUse, Image, Index, Layout, UNIFORM,
};
use tandem_artifact::{Artifact, FileName, Verification};

use crate::cli::{Command, Delta, Usage};
use crate::framed;
use crate::progress::Progress;

/// More has to be fetched than may be.
#[derive(Debug)]
pub(crate) struct OverBudget {
    bytes: u64,
    budget: u64,
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, budget } = self;
        write!(f, "{bytes} bytes are fetched, {budget} are the budget")
    }
}

impl std::error::Error for OverBudget {}

/// One way of framing.
struct Row {
    framing: String,
    cost: Cost,
    /// The size of the artifact, without its header.
    size: u64,
}

/// The sizes of frames that are tried, bytes.
const SIZES: [u32; 3] = [UNIFORM, 64 << 10, 256 << 10];

pub(crate) fn run(delta: &Delta, command: &Command) -> anyhow::Result<()> {
    let progress = Progress::new("reading", None, command.quiet);
    let old = framed::hint(&delta.old, &progress)?;
    let (file, size) = framed::open(&delta.new)?;
    let mut rows = Vec::new();
    if framed::is_artifact(&file)? {
        rows.extend(as_it_is(&file, size, &old).with_context(|| delta.new.display().to_string())?);
    }
    if rows.is_empty() || delta.all {
        rows.extend(every_way(file, &delta.new, &old, &progress)?);
    }
    drop(progress);
    print(&rows)?;
    let cheapest = rows.iter().map(|row| row.cost.bytes()).min();
    match (rows.first(), cheapest, delta.budget) {
        (Some(first), Some(cheapest), Some(budget)) => {
            // What is framed already is what devices will get.
            let bytes = if first.framing == AS_IT_IS {
                first.cost.bytes()
            } else {
                cheapest
            };
            if bytes > budget {
                return Err(OverBudget { bytes, budget }.into());
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

const AS_IT_IS: &str = "as it is";

/// An artifact that is framed.
fn as_it_is(file: &File, size: u64, old: &Hint) -> anyhow::Result<Option<Row>> {
    let mut artifact = Artifact::open(io::BufReader::new(file), &Verification::off())?;
    let Some(framed) = artifact.framed()? else {
        return Ok(None);
    };
    let sections = library::sections(file, &framed)?;
    Ok(Some(Row {
        framing: AS_IT_IS.to_owned(),
        cost: Cost::of(&sections, old),
        size,
    }))
}

/// An image, in every way.
fn every_way(
    mut file: File,
    path: &Path,
    old: &Hint,
    progress: &Progress,
) -> anyhow::Result<Vec<Row>> {
    let name = FileName::parse("image")?;
    file.seek(SeekFrom::Start(0))?;
    if framed::is_artifact(&file)? {
        let mut artifact = Artifact::open(io::BufReader::new(&file), &Verification::off())?;
        let mut unpacked = framed::scratch(Path::new("-"))?;
        let image = artifact.next_file()?;
        let mut image = image.ok_or_else(|| Usage(format!("there is no image in {path:?}")))?;
        progress.next("unpacking", Some(image.info().size));
        io::copy(&mut progress.watch(&mut image), &mut unpacked)?;
        artifact.finish()?;
        file = unpacked;
    }
    let mut rows = Vec::new();
    let mut row = |framing: Option<String>, layout: Layout| -> anyhow::Result<()> {
        let size = file.seek(SeekFrom::End(0))?;
        progress.next("framing", Some(size.saturating_mul(2)));
        let image = Image::survey(name.clone(), progress.watch(&file))?;
        let built = layout.build(image, framed::scratch(Path::new("-"))?)?;
        let framing = framing.unwrap_or_else(|| {
            let how = match built.hint() {
                HintUse::None | HintUse::Followed => "cut where OLD differs",
                HintUse::TooFar | HintUse::NoHelp => "OLD as a hint, which is no help",
            };
            format!("{}{how}", kind(layout.index))
        });
        rows.push(Row {
            framing,
            cost: Cost::of(built.sections(), old),
            size: built.size(),
        });
        Ok(())
    };
    let hint = Some(old);
    for (index, sizes) in [(Index::Fixed, &SIZES[..]), (Index::Content, &SIZES[..1])] {
        for uniform in sizes.iter().copied() {
            let framing = format!("{}frames of {} KiB", kind(index), uniform >> 10);
            let layout = Layout {
                index,
                uniform,
                ..Layout::default()
            };
            row(Some(framing), layout)?;
        }
        row(
            None,
            Layout {
                index,
                hint,
                ..Layout::default()
            },
        )?;
    }
    Ok(rows)
}

/// How the image is divided, unless as usual.
fn kind(index: Index) -> &'static str {
    match index {
        Index::Content => "content: ",
        Index::Fixed | Index::Auto => "",
    }
}

fn print(rows: &[Row]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let heads = [
        "framing", "fetched", "frames", "index", "requests", "artifact",
    ];
    let [framing, fetched, frames, index, requests, artifact] = heads;
    writeln!(
        out,
        "{framing:40} {fetched:>12} {frames:>12} {index:>10} {requests:>9} {artifact:>12}"
    )?;
    for Row {
        framing,
        cost,
        size,
    } in rows
    {
        writeln!(
            out,
            "{framing:40} {:>12} {:>12} {:>10} {:>9} {size:>12}",
            cost.bytes(),
            cost.frames,
            cost.index,
            cost.requests
        )?;
    }
    Ok(())
}
