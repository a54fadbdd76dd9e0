//! How a payload gets to an update module: through named pipes, one file after the other.
//!
//! ```text
//! agent                                     module
//! opens stream-next for writing     <────   opens it for reading
//! makes streams/FILE, writes its name ───>  reads "streams/FILE"
//! writes the file's content         ────>   opens and reads streams/FILE
//!           ... once more for each file; in the end:
//! opens and closes stream-next      ────>   reads nothing: that was all
//! ```
//!
//! A module that never opens `stream-next` finds the files in `files/` afterwards. One that begins
//! must go through to the end. All on one thread: pipes are opened and written without blocking,
//! so that a module that dies or hangs is noticed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use log::info;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tandem_artifact::{Artifact, PayloadFile};
use tandem_state_scripts::child::{Child, Ending, Output};

use super::{UpdateModule, judge, log_line, tree};
use crate::durable;
use crate::progress::Progress;

/// How often a pipe that nobody has opened yet is tried: the kernel cannot tell when that happens.
const OPEN_INTERVAL: Duration = Duration::from_millis(5);
/// How long to wait at once for room in a pipe; the module is looked after in between.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// How much is written at once; a pipe holds 64 KiB.
const BLOCK: usize = 64 << 10;

/// Lets the module have the payload.
///
/// # Errors
/// When the module fails or stops halfway, or the artifact is not what it promises.
pub(super) fn download<R: Read>(
    module: &UpdateModule,
    mut artifact: Artifact<R>,
    with_sizes: bool,
) -> Result<()> {
    let action = if with_sizes {
        "DownloadWithFileSizes"
    } else {
        "Download"
    };
    let next = module.tree.join("stream-next");
    let streams = module.tree.join("streams");
    // The pipes of an attempt that was interrupted.
    remove_pipes(&next, &streams)?;
    make_pipe(&next)?;
    DirBuilder::new()
        .mode(0o700)
        .create(&streams)
        .context("cannot make the directory streams")?;
    info!("update module: {action}");
    let mut log = log_line;
    let mut child = module.spawn(action, Output::Log, Some(module.stop), &mut log)?;
    let streamed = stream(&mut child, &mut artifact, &next, &streams, with_sizes);
    let taken = match streamed {
        Ok(taken) => {
            judge(child.wait(), action)?;
            taken
        }
        Err(err) => {
            // It must not go on while the deployment fails.
            child.stop();
            return Err(err);
        }
    };
    drop(child);
    remove_pipes(&next, &streams)?;
    match taken {
        Taken::All => {}
        Taken::None => store(&mut artifact, &module.tree.join("files"))?,
    }
    artifact.finish()?;
    durable::sync_dir(&module.tree)?;
    Ok(())
}

/// What the module did with the stream.
enum Taken {
    /// It read everything.
    All,
    /// It did not begin.
    None,
}

/// Feeds the module, file by file.
fn stream<R: Read>(
    child: &mut Child,
    artifact: &mut Artifact<R>,
    next: &Path,
    streams: &Path,
    with_sizes: bool,
) -> Result<Taken> {
    let mut begun = false;
    loop {
        let mut announcement = match open_pipe(child, next)? {
            Opened::Pipe(pipe) => pipe,
            // What it says by its exit code is judged by the caller.
            Opened::Ended(ending) if !begun => {
                judge(ending, "Download")?;
                return Ok(Taken::None);
            }
            Opened::Ended(ending) => {
                bail!("the update module began to read the payload and did not finish ({ending})")
            }
        };
        begun = true;
        let Some(mut file) = artifact.next_file()? else {
            // Closing the pipe without a word says that there is no more.
            return Ok(Taken::All);
        };
        let name = file.info().name.clone();
        let path = streams.join(name.as_str());
        // The pipe for the content is there before the module can learn of it.
        make_pipe(&path)?;
        let line = match with_sizes {
            true => format!("streams/{name} {}\n", file.info().size),
            false => format!("streams/{name}\n"),
        };
        write_pipe(child, &mut announcement, line.as_bytes())?;
        drop(announcement);
        let mut pipe = match open_pipe(child, &path)? {
            Opened::Pipe(pipe) => pipe,
            Opened::Ended(ending) => bail!("the update module did not read {name} ({ending})"),
        };
        copy(child, &mut file, &mut pipe)?;
    }
}

/// Copies one payload file into a pipe.
fn copy<R: Read>(child: &mut Child, file: &mut PayloadFile<R>, pipe: &mut File) -> Result<()> {
    let mut progress = Progress::new("streaming", file.info().size);
    let mut block = vec![0; BLOCK];
    let mut done: u64 = 0;
    loop {
        let count = file.read(&mut block).context("cannot read the payload")?;
        if count == 0 {
            return Ok(());
        }
        write_pipe(child, pipe, block.get(..count).unwrap_or_default())?;
        done = done.saturating_add(count as u64);
        progress.at(done);
    }
}

/// A pipe that was to be opened for writing.
enum Opened {
    /// The module has opened the other end.
    Pipe(File),
    /// The module has ended without.
    Ended(Ending),
}

/// Opens a pipe as soon as the module reads from it.
fn open_pipe(child: &mut Child, path: &Path) -> Result<Opened> {
    loop {
        match OpenOptions::new()
            .write(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path)
        {
            Ok(pipe) => return Ok(Opened::Pipe(pipe)),
            Err(err) if err.raw_os_error() == Some(Errno::ENXIO as i32) => {}
            Err(err) => return Err(err).with_context(|| format!("cannot open {}", path.display())),
        }
        if let Some(ending) = child.poll(OPEN_INTERVAL) {
            return Ok(Opened::Ended(ending));
        }
    }
}

/// Writes all of `bytes`, waiting for the module to make room.
fn write_pipe(child: &mut Child, pipe: &mut File, bytes: &[u8]) -> Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match pipe.write(rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                if let Some(ending) = child.poll_writable(pipe.as_fd(), WRITE_INTERVAL) {
                    bail!("the update module did not read the whole payload ({ending})");
                }
            }
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) if err.kind() == io::ErrorKind::BrokenPipe => {
                bail!("the update module stopped reading the payload")
            }
            Err(err) => return Err(err).context("cannot write the payload to the update module"),
        }
    }
    Ok(())
}

/// Keeps the payload for a module that has not taken the stream.
fn store<R: Read>(artifact: &mut Artifact<R>, files: &Path) -> Result<()> {
    match fs::remove_dir_all(files) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            return Err(err).with_context(|| format!("cannot empty {}", files.display()));
        }
        _ => {}
    }
    DirBuilder::new()
        .mode(0o700)
        .create(files)
        .with_context(|| format!("cannot make {}", files.display()))?;
    while let Some(mut file) = artifact.next_file()? {
        // The name is one without a path: the artifact's reader sees to that.
        let path = files.join(file.info().name.as_str());
        tree::write(&path, &mut file)
            .with_context(|| format!("cannot store the payload file {}", path.display()))?;
    }
    durable::sync_dir(files).with_context(|| format!("cannot make {} durable", files.display()))
}

fn make_pipe(path: &Path) -> Result<()> {
    mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)
        .with_context(|| format!("cannot make the pipe {}", path.display()))
}

fn remove_pipes(next: &Path, streams: &Path) -> Result<()> {
    for removed in [fs::remove_file(next), fs::remove_dir_all(streams)] {
        match removed {
            Err(err) if err.kind() != io::ErrorKind::NotFound => {
                return Err(err).context("cannot remove the pipes in the work tree");
            }
            _ => {}
        }
    }
    ensure!(!next.exists(), "cannot remove the pipes in the work tree");
    Ok(())
}
