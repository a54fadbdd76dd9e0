//! `validate`: is this artifact right in every respect?

use std::io::{self, Write as _};

use anyhow::Context as _;
use tandem_artifact::{Artifact, SignatureStatus};

use crate::cli::{Command, Validate};
use crate::input;
use crate::progress::Progress;

pub(crate) fn run(validate: &Validate, command: &Command) -> anyhow::Result<()> {
    let path = &validate.file;
    let verification = input::verification(&validate.key)?;
    let source = input::open(path)?;
    let progress = Progress::new("validating", source.size, command.quiet);
    let artifact = Artifact::open(progress.watch(source.reader), &verification)
        .with_context(|| path.display().to_string())?;
    let signature = artifact.signature().clone();
    artifact
        .finish()
        .with_context(|| path.display().to_string())?;
    drop(progress);
    let signed = match signature {
        SignatureStatus::Unsigned => "not signed".to_owned(),
        SignatureStatus::NotChecked => {
            warn_unchecked()?;
            "signed, signature not checked".to_owned()
        }
        SignatureStatus::Verified { key } => format!("signed by {key}"),
    };
    writeln!(io::stdout(), "{}: valid, {signed}", path.display())?;
    Ok(())
}

/// Says that a signature was not looked at.
pub(crate) fn warn_unchecked() -> io::Result<()> {
    writeln!(
        io::stderr(),
        "tandem-artifact: warning: the signature was not checked: give the public key with --key"
    )
}
