//! `sign`: put a signature into an artifact.

use std::fs;
use std::io::{Seek as _, SeekFrom};

use anyhow::Context as _;
use tandem_artifact::{Artifact, Existing, Verification};

use crate::cli::{Command, Sign, Usage};
use crate::input;
use crate::output::Output;
use crate::progress::Progress;

pub(crate) fn run(sign: &Sign, command: &Command) -> anyhow::Result<()> {
    let path = &sign.file;
    let signer = input::signer(&sign.key)?;
    let target = match &sign.output_path {
        Some(target) if input::is_standard(target) => {
            return Err(Usage(
                "a signed artifact is checked before it gets its name: give one".to_owned(),
            )
            .into());
        }
        Some(target) => target.clone(),
        None if input::is_standard(path) => {
            return Err(
                Usage("an artifact from standard input needs --output-path".to_owned()).into(),
            );
        }
        // A symbolic link stays one; what it points to is replaced.
        None => fs::canonicalize(path).with_context(|| format!("cannot open artifact {path:?}"))?,
    };
    let source = input::open(path)?;
    let mut output = Output::create(&target)?;
    if !input::is_standard(path) {
        output.copy_permissions(path)?;
    }
    let progress = Progress::new("signing", source.size, command.quiet);
    let existing = if sign.force {
        Existing::Replace
    } else {
        Existing::Refuse
    };
    tandem_artifact::sign(
        progress.watch(source.reader),
        &signer,
        existing,
        &mut output,
    )
    .with_context(|| path.display().to_string())?;

    // Only what is right as a whole may carry our signature, and only after that is known the result may be seen.
    let size = output.stream_position()?;
    output.seek(SeekFrom::Start(0))?;
    progress.next("checking", Some(size));
    let verification = Verification::by(vec![signer.public_key()])?;
    Artifact::open(progress.watch(&mut output), &verification)
        .and_then(Artifact::finish)
        .with_context(|| path.display().to_string())?;
    drop(progress);
    output.replace()
}
