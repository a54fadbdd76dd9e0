//! The bytes of artifacts.
//!
//! ```text
//! upload -> uploads/ID (checked while it is written, fsync) -> the place of artifacts, durably -> row in the database
//! delete -> row gone -> gone from the place of artifacts
//! ```
//!
//! The row is what counts. A file without a row is what an interrupted upload or deletion left, and goes at the next
//! start; a row without a file cannot come about.

mod bucket;
mod directory;
mod opening;
mod place;
mod store_http;

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::{Buf, Bytes};
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use log::info;
use tokio::runtime::Handle;

pub use self::place::{Place, Unusable};

use self::bucket::Bucket;
use self::directory::Directory;
use crate::data_dir::{DataDir, Lock};
use crate::durable;
use crate::secret::new_id;
use crate::store::{Id, StoredArtifact};

/// The artifact storage.
pub struct Blobs {
    kept: Kept,
    uploads: PathBuf,
}

enum Kept {
    Directory(Directory),
    Bucket(Bucket),
}

/// How long something is left alone, in a place that others use too, that nothing refers to: it may be an upload of
/// theirs that is about to be known.
const LEFT_ALONE: Duration = Duration::from_secs(24 * 60 * 60);

impl Blobs {
    /// The storage in `place`, with what comes in on its way there in `dir`.
    ///
    /// # Errors
    /// Any failure of the file system; an environment that does not say enough of a store.
    pub fn open(dir: &DataDir, place: &Place) -> Result<Self> {
        let kept = match place {
            Place::Own => Kept::Directory(Directory::open(dir.artifacts(), false)?),
            Place::Directory(path) => Kept::Directory(Directory::open(path.clone(), true)?),
            Place::Bucket { bucket, prefix } => Kept::Bucket(Bucket::open(bucket, prefix)?),
        };
        Ok(Self {
            kept,
            uploads: dir.uploads(),
        })
    }

    /// Removes what interrupted uploads and deletions left: all but what is of `known`.
    ///
    /// # Errors
    /// Any failure of the file system; a store that refuses.
    pub async fn clean(&self, known: &HashSet<Id>, _lock: &Lock) -> Result<()> {
        for entry in fs::read_dir(&self.uploads).context("cannot look into the uploads")? {
            let path = entry?.path();
            info!("removing unfinished upload {}", path.display());
            durable::remove(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        match &self.kept {
            Kept::Directory(directory) => directory.clean(known).await,
            Kept::Bucket(bucket) => bucket.clean(known).await,
        }
    }

    /// Copies those of `artifacts` that are not here from `old`, where they were until now.
    ///
    /// # Errors
    /// If one is in neither, or cannot be copied.
    pub async fn take_over(&self, old: &Self, artifacts: &[StoredArtifact]) -> Result<()> {
        for artifact in artifacts {
            let (id, name) = (artifact.id, &artifact.name);
            if self.has(artifact).await? {
                continue;
            }
            if !old.has(artifact).await? {
                bail!(
                    "artifact {id} ({name:?}) is neither in the new place nor where artifacts were until now"
                );
            }
            info!(artifact:% = id, name:% = name; "copying an artifact to its new place");
            let path = self.staging();
            let copied = self.copy_from(old, artifact, &path).await;
            durable::remove(&path).context("cannot remove a copy")?;
            copied.with_context(|| format!("cannot copy artifact {id} ({name:?})"))?;
        }
        Ok(())
    }

    async fn copy_from(&self, old: &Self, artifact: &StoredArtifact, path: &Path) -> Result<()> {
        let mut pieces = old.read(artifact, 0..artifact.size).await?;
        let mut file = create(path)?;
        let mut sum = tandem_artifact::Sha256::new();
        while let Some(piece) = pieces.try_next().await? {
            sum.update(&piece);
            // Nobody is served yet.
            io::Write::write_all(&mut file, &piece)?;
        }
        file.sync_all()?;
        if sum.finish().to_string() != artifact.sha256 {
            bail!("it is damaged: it has not the SHA-256 that it had when it was uploaded");
        }
        self.publish(path, artifact).await?;
        Ok(())
    }

    async fn has(&self, artifact: &StoredArtifact) -> io::Result<bool> {
        match &self.kept {
            Kept::Directory(directory) => match directory.file(artifact.id) {
                Ok(file) => Ok(file.metadata()?.len() == artifact.size),
                Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(err) => Err(err),
            },
            Kept::Bucket(bucket) => bucket.has(artifact).await,
        }
    }

    /// How much space is free for artifacts, bytes; `None` if the system does not say. What goes to a store needs it on
    /// its way.
    #[must_use]
    pub fn free(&self) -> Option<u64> {
        let free = |path: &Path| {
            let space = nix::sys::statvfs::statvfs(path).ok()?;
            space.blocks_available().checked_mul(space.fragment_size())
        };
        let here = free(&self.uploads)?;
        match &self.kept {
            Kept::Directory(directory) => Some(here.min(free(directory.path())?)),
            Kept::Bucket(_) => Some(here),
        }
    }

    /// Where an upload is to be written to.
    #[must_use]
    pub fn staging(&self) -> PathBuf {
        self.uploads.join(new_id().to_string())
    }

    /// Takes over a file that was written to [`staging`](Self::staging) and is on the medium. When this returns it is in
    /// its place for good.
    ///
    /// # Errors
    /// Any failure of the file system or the store; `AlreadyExists` if there is another file of this artifact.
    pub async fn publish(&self, staged: &Path, artifact: &StoredArtifact) -> io::Result<()> {
        match &self.kept {
            Kept::Directory(directory) => directory.publish(staged, artifact.id).await,
            Kept::Bucket(bucket) => {
                bucket.publish(staged, artifact).await?;
                durable::remove(staged)
            }
        }
    }

    /// All bytes of an artifact, for a thread that may wait for them.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn reader(&self, artifact: &StoredArtifact, runtime: &Handle) -> io::Result<Box<dyn Read>> {
        match &self.kept {
            Kept::Directory(directory) => Ok(Box::new(directory.file(artifact.id)?)),
            Kept::Bucket(bucket) => Ok(Box::new(Streamed {
                pieces: runtime.block_on(bucket.read(artifact, 0..artifact.size))?,
                piece: Bytes::new(),
                runtime: runtime.clone(),
            })),
        }
    }

    /// A file for what is too large for memory. It goes with the last who has it open.
    ///
    /// # Errors
    /// Any failure of the file system.
    pub fn scratch(&self) -> io::Result<File> {
        let path = self.staging();
        let file = create(&path)?;
        fs::remove_file(path)?;
        Ok(file)
    }

    /// Removes the bytes of an artifact. If that fails they go at a later start.
    pub async fn remove(&self, id: Id) {
        match &self.kept {
            Kept::Directory(directory) => directory.remove(id).await,
            Kept::Bucket(bucket) => bucket.remove(id).await,
        }
    }

    /// Removes what was just published and will not be known to anybody.
    pub async fn discard(&self, artifact: &StoredArtifact) {
        match &self.kept {
            Kept::Directory(directory) => directory.remove(artifact.id).await,
            Kept::Bucket(bucket) => bucket.discard(artifact).await,
        }
    }

    /// A part of an artifact, in pieces of bounded size, read as they are asked for.
    ///
    /// # Errors
    /// If the artifact cannot be opened.
    pub async fn read(
        &self,
        artifact: &StoredArtifact,
        range: Range<u64>,
    ) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        match &self.kept {
            Kept::Directory(directory) => directory.read(artifact.id, range).await,
            Kept::Bucket(bucket) => bucket.read(artifact, range).await,
        }
    }

    /// An address from which anybody gets the artifact from the store itself, as long as `validity`; `None` where there
    /// is no store.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub async fn link(
        &self,
        artifact: &StoredArtifact,
        validity: Duration,
    ) -> io::Result<Option<String>> {
        match &self.kept {
            Kept::Directory(_) => Ok(None),
            Kept::Bucket(bucket) => bucket.link(artifact, validity).await.map(Some),
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// What comes from a store, read by a thread that waits for it.
struct Streamed {
    pieces: BoxStream<'static, io::Result<Bytes>>,
    piece: Bytes,
    runtime: Handle,
}

impl Read for Streamed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.runtime.block_on(self.pieces.try_next())? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece
            .copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}

/// The name of an artifact as the name of a file that any system takes.
#[must_use]
pub fn file_name(name: &str) -> String {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || "._-+".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().take(100).map(safe).collect();
    match name.trim_start_matches('.') {
        "" => "artifact".to_owned(),
        name => name.to_owned(),
    }
}
