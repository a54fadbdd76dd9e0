//! The bytes of artifacts.
//!
//! ```text
//! upload -> uploads/ID (checked while it is written, fsync) -> artifacts/ID (link, fsync) -> row in the database
//! delete -> row gone -> artifacts/ID removed
//! ```
//!
//! The row is what counts. A file without a row is what an interrupted upload or deletion left, and goes at the next
//! start; a row without a file cannot come about.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use log::{info, warn};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectStore, ObjectStoreExt};

use crate::data_dir::{DataDir, Lock};
use crate::durable;
use crate::secret::new_id;
use crate::store::Id;

/// The artifact storage: a directory of the data directory.
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    artifacts: PathBuf,
    uploads: PathBuf,
}

/// How much of a file is read at once, and so held for each download that waits for its device, bytes. As much as a
/// TLS record has.
const CHUNK: usize = 16 << 10;

impl Blobs {
    /// The storage in `dir`.
    ///
    /// # Errors
    /// Any failure of the file system.
    pub fn open(dir: &DataDir) -> Result<Self> {
        let artifacts = dir.artifacts();
        let store = LocalFileSystem::new_with_prefix(&artifacts)
            .with_context(|| format!("cannot open {}", artifacts.display()))?;
        Ok(Self {
            store: Arc::new(store),
            artifacts,
            uploads: dir.uploads(),
        })
    }

    /// Removes what interrupted uploads and deletions left: all files but those of `known`.
    ///
    /// # Errors
    /// Any failure of the file system.
    pub async fn clean(&self, known: &HashSet<Id>, _lock: &Lock) -> Result<()> {
        for entry in fs::read_dir(&self.uploads).context("cannot look into the uploads")? {
            let path = entry?.path();
            info!("removing unfinished upload {}", path.display());
            durable::remove(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        let mut files = self.store.list(None);
        while let Some(file) = files
            .try_next()
            .await
            .context("cannot list the artifacts")?
        {
            let id = file.location.as_ref().parse().ok();
            if id.is_none_or(|id: Id| !known.contains(&id)) {
                info!(
                    "removing artifact file {:?} that nothing refers to",
                    file.location.as_ref()
                );
                self.store
                    .delete(&file.location)
                    .await
                    .context("cannot remove an artifact")?;
            }
        }
        Ok(())
    }

    /// How much space is free for artifacts, bytes; `None` if the system does not say.
    #[must_use]
    pub fn free(&self) -> Option<u64> {
        let space = nix::sys::statvfs::statvfs(&self.artifacts).ok()?;
        space.blocks_available().checked_mul(space.fragment_size())
    }

    /// Where an upload is to be written to.
    #[must_use]
    pub fn staging(&self) -> PathBuf {
        self.uploads.join(new_id().to_string())
    }

    /// Takes over a file that was written to [`staging`](Self::staging) and is on the medium.
    ///
    /// # Errors
    /// Any failure of the file system; `AlreadyExists` if there is another file of this artifact.
    pub fn publish(&self, staged: &std::path::Path, id: Id) -> io::Result<()> {
        // A link and not a rename: that would replace the other file.
        fs::hard_link(staged, self.artifacts.join(id.to_string()))?;
        durable::sync_dir(&self.artifacts)?;
        durable::remove(staged)
    }

    /// The file of an artifact.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn file(&self, id: Id) -> io::Result<File> {
        File::open(self.artifacts.join(id.to_string()))
    }

    /// A file for what is too large for memory. It goes with the last who has it open.
    ///
    /// # Errors
    /// Any failure of the file system.
    pub fn scratch(&self) -> io::Result<File> {
        let path = self.staging();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        fs::remove_file(path)?;
        Ok(file)
    }

    /// Removes the bytes of an artifact. If that fails they go at the next start.
    pub async fn remove(&self, id: Id) {
        if let Err(err) = self.store.delete(&key(id)).await {
            warn!("cannot remove the file of artifact {id}, it goes at the next start: {err}");
        }
    }

    /// A part of an artifact, in pieces of bounded size, read as they are asked for.
    ///
    /// # Errors
    /// If the artifact cannot be opened.
    pub async fn read(
        &self,
        id: Id,
        range: Range<u64>,
    ) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        let found = self
            .store
            .get_opts(&key(id), options)
            .await
            .map_err(io::Error::from)?;
        Ok(match found.payload {
            GetResultPayload::File(file, _) => read_file(Arc::new(file), range).boxed(),
            GetResultPayload::Stream(stream) => stream.map_err(io::Error::from).boxed(),
        })
    }
}

fn key(id: Id) -> Key {
    Key::from(id.to_string())
}

/// Not object_store's own stream: that reads ahead, and what is read for a thousand slow devices is memory.
fn read_file(
    file: Arc<File>,
    range: Range<u64>,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(range.start, move |at| {
        let file = Arc::clone(&file);
        let left = usize::try_from(range.end.saturating_sub(at)).unwrap_or(usize::MAX);
        async move {
            if left == 0 {
                return Ok(None);
            }
            let mut buffer = BytesMut::zeroed(left.min(CHUNK));
            // A disk may take its time: not on a thread that serves others.
            let read = tokio::task::spawn_blocking(move || {
                file.read_exact_at(&mut buffer, at)
                    .map(|()| buffer.freeze())
            });
            let bytes = read.await.map_err(io::Error::other)??;
            let next = at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            Ok(Some((bytes, next)))
        }
    })
}
