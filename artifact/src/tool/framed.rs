//! What the verbs about framed payloads share: earlier images, room for frames, and words about them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use anyhow::Context as _;
use tandem_artifact::framed::{Built, Hint, HintUse, UNIFORM};
use tandem_artifact::{Artifact, Verification};

use crate::cli::{Command, Usage};
use crate::input;
use crate::output;
use crate::progress::Progress;

/// The blocks of the artifact or image at `path`.
pub(crate) fn previous(path: Option<&Path>, progress: &Progress) -> anyhow::Result<Option<Hint>> {
    path.map(|path| hint(path, progress)).transpose()
}

/// The blocks of the artifact or image at `path`.
pub(crate) fn hint(path: &Path, progress: &Progress) -> anyhow::Result<Hint> {
    let attempt = || format!("cannot read {path:?}");
    let (file, size) = open(path)?;
    progress.next("reading", Some(size));
    let source = progress.watch(io::BufReader::with_capacity(1 << 20, &file));
    if !is_artifact(&file).with_context(attempt)? {
        return Hint::read(source).with_context(attempt);
    }
    let mut artifact = Artifact::open(source, &Verification::off()).with_context(attempt)?;
    let hint = match artifact.next_file().with_context(attempt)? {
        Some(image) => Hint::read(image).with_context(attempt)?,
        None => return Err(Usage(format!("there is no image in {path:?}")).into()),
    };
    artifact.finish().with_context(attempt)?;
    Ok(hint)
}

/// A file and its size.
pub(crate) fn open(path: &Path) -> anyhow::Result<(File, u64)> {
    let attempt = || format!("cannot open {path:?}");
    let mut file = File::open(path).with_context(attempt)?;
    // Of a device too.
    let size = file.seek(SeekFrom::End(0)).with_context(attempt)?;
    file.rewind().with_context(attempt)?;
    Ok((file, size))
}

/// Whether it is an artifact, and not an image. It stands at its beginning afterwards.
pub(crate) fn is_artifact(mut file: &File) -> io::Result<bool> {
    let mut start = Vec::new();
    file.take(8).read_to_end(&mut start)?;
    file.rewind()?;
    Ok(start == b"version\0")
}

/// Room for what is too large for memory, beside the file `path` that is to be made. It goes with this program.
pub(crate) fn scratch(path: &Path) -> anyhow::Result<File> {
    let special = input::is_standard(path) || output::special_file(path)?.is_some();
    let folder = match path.parent() {
        _ if special => std::env::temp_dir(),
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => ".".into(),
    };
    let attempt = || format!("cannot make a temporary file in {folder:?}");
    for number in 0..u16::MAX {
        let name = folder.join(format!(".tandem-artifact.{}.{number}", std::process::id()));
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&name);
        match opened {
            Ok(file) => {
                fs::remove_file(&name).with_context(attempt)?;
                return Ok(file);
            }
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            Err(err) => return Err(err).with_context(attempt),
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists)).with_context(attempt)
}

/// Says what became of the hint, unless nothing is to be said.
pub(crate) fn tell<S>(
    payload: &Built<S>,
    previous: Option<&Path>,
    command: &Command,
) -> io::Result<()> {
    let why = match payload.hint() {
        HintUse::None | HintUse::Followed => return Ok(()),
        HintUse::TooFar => "most of the image is not in it",
        HintUse::NoHelp => "frames of one size cost less",
    };
    if command.quiet {
        return Ok(());
    }
    let previous = previous.unwrap_or_else(|| Path::new("")).display();
    let kib = UNIFORM >> 10;
    writeln!(
        io::stderr(),
        "tandem-artifact: {previous} is no help, {why}: cutting frames of {kib} KiB"
    )
}
