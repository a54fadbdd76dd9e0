//! `reframe`: put the payload of an artifact into frames.

use std::fs;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};

use anyhow::Context as _;
use tandem_artifact::framed::{self as library, Layout};
use tandem_artifact::{Artifact, Verification};

use crate::cli::{Command, Reframe, Usage};
use crate::output::Output;
use crate::progress::Progress;
use crate::{framed, input};

pub(crate) fn run(reframe: &Reframe, command: &Command) -> anyhow::Result<()> {
    let path = &reframe.file;
    let target = match &reframe.output_path {
        Some(target) => target.clone(),
        // A symbolic link stays one; what it points to is replaced.
        None => fs::canonicalize(path).with_context(|| format!("cannot open artifact {path:?}"))?,
    };
    if input::is_standard(path) || input::is_standard(&target) {
        let why = "an artifact is read twice, and checked before it gets its name: give files";
        return Err(Usage(why.to_owned()).into());
    }
    let (source, size) = framed::open(path)?;
    let progress = Progress::new("reading", Some(size), command.quiet);
    let previous = framed::previous(reframe.previous.as_deref(), &progress)?;
    progress.next("compressing", None);
    let layout = Layout {
        compressor: command.frame_compressor(reframe.compression),
        hint: previous.as_ref(),
        index: reframe.index.unwrap_or_default(),
        ..Layout::default()
    };
    let output = Output::create(&target)?;
    output.copy_permissions(path)?;
    let mut output = BufWriter::with_capacity(1 << 20, output);
    let mut told = Ok(());
    library::reframe(
        &mut progress.watch(source),
        &layout,
        (framed::scratch(&target)?, framed::scratch(&target)?),
        |payload| told = framed::tell(payload, reframe.previous.as_deref(), command),
        &mut output,
    )
    .with_context(|| path.display().to_string())?;
    told?;
    output.flush()?;
    let mut output = output
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;

    // Only what every reader understands takes the place of what one did.
    let size = output.stream_position()?;
    output.seek(SeekFrom::Start(0))?;
    progress.next("checking", Some(size));
    Artifact::open(progress.watch(&mut output), &Verification::off())
        .and_then(Artifact::finish)
        .with_context(|| target.display().to_string())?;
    drop(progress);
    output.replace()
}
