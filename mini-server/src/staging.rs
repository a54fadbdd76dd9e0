//! An artifact that comes in: written to the storage and checked at the same time.
//!
//! ```text
//! request -> channel of 4 pieces -> thread: Tee -> file in uploads/, SHA-256
//!                                             `-> artifact reader (checks everything; decompresses)
//! ```
//!
//! The reader of artifacts waits for its input, so it has a thread of its own. The channel is what bounds memory: a
//! sender that is faster than the disk waits.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes};
use log::warn;
use tandem_artifact::{Digest, Sha256, Verification};
use tokio::sync::{mpsc, oneshot};

use crate::blobs::Blobs;
use crate::content::Checked;
use crate::durable;
use crate::store::StoredArtifact;

/// An artifact that is coming in. Dropped, it leaves nothing behind.
pub struct Staging {
    pieces: mpsc::Sender<Bytes>,
    verdict: oneshot::Receiver<Verdict>,
}

type Verdict = Result<Staged, Rejected>;

/// An artifact that is in the storage, whole and on the medium, and not yet known to anybody. Dropped, it is removed.
pub struct Staged {
    file: TemporaryFile,
    /// What it says about itself.
    pub checked: Checked,
    /// The SHA-256 of the file.
    pub sha256: Digest,
}

/// Why an artifact was not taken.
#[derive(Debug)]
pub enum Rejected {
    /// It is not one, or not one that may be taken.
    Artifact(tandem_artifact::Error),
    /// It could not be written.
    Storage(io::Error),
}

/// Pieces on their way from the request to the file.
const CHANNEL: usize = 4;

impl Staging {
    /// Begins to take an artifact that has to fulfil `verification`.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn begin(blobs: &Blobs, verification: Verification) -> io::Result<Self> {
        let (pieces, incoming) = mpsc::channel(CHANNEL);
        let (reply, verdict) = oneshot::channel();
        let path = blobs.staging();
        std::thread::Builder::new()
            .name("upload".to_owned())
            .spawn(move || {
                let outcome = take(path, incoming, &verification);
                // Nobody may wait any more; then what was staged goes with the outcome.
                let _ = reply.send(outcome);
            })?;
        Ok(Self { pieces, verdict })
    }

    /// The next piece; false if no more is wanted, because the verdict has been given.
    pub async fn push(&self, piece: Bytes) -> bool {
        self.pieces.send(piece).await.is_ok()
    }

    /// The artifact has come to its end: the verdict.
    ///
    /// # Errors
    /// Why it was not taken.
    pub async fn finish(self) -> Verdict {
        let Self { pieces, verdict } = self;
        let end = pieces.send(Bytes::new()).await;
        drop((pieces, end));
        verdict
            .await
            .unwrap_or_else(|_| Err(Rejected::Storage(io::Error::other("the upload stopped"))))
    }
}

impl Staged {
    /// What `write` writes, if it fulfils `verification`.
    ///
    /// # Errors
    /// Why it is not taken, and those of `write`.
    pub fn made(
        blobs: &Blobs,
        verification: &Verification,
        write: impl FnOnce(&mut File) -> Result<(), Rejected>,
    ) -> Verdict {
        let path = blobs.staging();
        let mut file = create(&path).map_err(Rejected::Storage)?;
        let temporary = TemporaryFile(path);
        write(&mut file)?;
        file.sync_all().map_err(Rejected::Storage)?;
        let mut source = Summed {
            source: BufReader::new(File::open(&temporary.0).map_err(Rejected::Storage)?),
            sum: Sha256::new(),
        };
        let checked = Checked::read(&mut source, verification).map_err(Rejected::Artifact)?;
        Ok(Staged {
            file: temporary,
            checked,
            sha256: source.sum.finish(),
        })
    }

    /// The file.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(&self) -> io::Result<File> {
        File::open(&self.file.0)
    }

    /// Puts the file to its place.
    ///
    /// # Errors
    /// Any failure of the file system or the store.
    pub async fn publish(mut self, blobs: &Blobs, artifact: &StoredArtifact) -> io::Result<()> {
        blobs.publish(&self.file.0, artifact).await?;
        self.file.0 = PathBuf::new();
        Ok(())
    }
}

/// The work of the thread.
fn take(path: PathBuf, incoming: mpsc::Receiver<Bytes>, verification: &Verification) -> Verdict {
    let file = create(&path).map_err(Rejected::Storage)?;
    let mut tee = Tee {
        incoming,
        piece: Bytes::new(),
        ended: false,
        file,
        sum: Sha256::new(),
        failed: None,
    };
    let temporary = TemporaryFile(path);
    let checked = match Checked::read(&mut tee, verification) {
        Ok(checked) => checked,
        Err(err) => {
            return Err(match tee.failed.take() {
                Some(err) => Rejected::Storage(err),
                None => Rejected::Artifact(err),
            });
        }
    };
    // Content first, durably; what makes it count comes later.
    tee.file.sync_all().map_err(Rejected::Storage)?;
    Ok(Staged {
        file: temporary,
        checked,
        sha256: tee.sum.finish(),
    })
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// What is read, summed up.
struct Summed<R> {
    source: R,
    sum: Sha256,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.sum.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// What comes in, read by the checker and written to the file as it is read.
struct Tee {
    incoming: mpsc::Receiver<Bytes>,
    piece: Bytes,
    ended: bool,
    file: File,
    sum: Sha256,
    /// Why the file could not be written.
    failed: Option<io::Error>,
}

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && !self.ended {
            match self.incoming.blocking_recv() {
                // The sender went away in the middle.
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
                Some(piece) if piece.is_empty() => self.ended = true,
                Some(piece) => {
                    if let Err(err) = self.file.write_all(&piece) {
                        let copy = io::Error::from(err.kind());
                        self.failed = Some(err);
                        return Err(copy);
                    }
                    self.sum.update(&piece);
                    self.piece = piece;
                }
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece
            .copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}

/// A file that goes when this does, unless it has moved.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if self.0.as_os_str().is_empty() {
            return;
        }
        if let Err(err) = durable::remove(&self.0) {
            warn!(
                "cannot remove unfinished upload {}, it goes at the next start: {err}",
                self.0.display()
            );
        }
    }
}
