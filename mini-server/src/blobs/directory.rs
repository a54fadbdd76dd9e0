//! Artifacts in a directory: a file for each, named by its identifier.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use log::{info, warn};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectStore, ObjectStoreExt};

use super::LEFT_ALONE;
use crate::durable;
use crate::secret::new_id;
use crate::store::Id;

/// How much of a file is read at once, and so held for each download that waits for its device, bytes. As much as a
/// TLS record has.
const CHUNK: usize = 16 << 10;

/// A directory.
pub(super) struct Directory {
    store: Arc<dyn ObjectStore>,
    path: PathBuf,
    /// Others use it as well.
    shared: bool,
}

impl Directory {
    /// The directory `path`.
    ///
    /// # Errors
    /// Any failure of the file system.
    pub(super) fn open(path: PathBuf, shared: bool) -> Result<Self> {
        // What others may do in a directory of theirs is theirs to say.
        if !(shared && path.is_dir()) {
            durable::private_dir(&path)
                .with_context(|| format!("cannot make directory {}", path.display()))?;
        }
        let store = LocalFileSystem::new_with_prefix(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self {
            store: Arc::new(store),
            path,
            shared,
        })
    }

    /// The directory itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what interrupted uploads and deletions left: all files but those of `known`. Where others work as well,
    /// only those that have been there for some time.
    ///
    /// # Errors
    /// Any failure of the file system.
    pub(super) async fn clean(&self, known: &HashSet<Id>) -> Result<()> {
        let least = if self.shared {
            LEFT_ALONE
        } else {
            Duration::ZERO
        };
        let now = std::time::SystemTime::now();
        let mut files = self.store.list(None);
        while let Some(file) = files
            .try_next()
            .await
            .context("cannot list the artifacts")?
        {
            let name = file.location.as_ref();
            let id: Option<Id> = name.parse().ok();
            let young = now
                .duration_since(file.last_modified.into())
                .is_ok_and(|age| age < least);
            // Whatever else somebody keeps in a directory of theirs is not ours.
            let foreign = self.shared && id.is_none() && !name.starts_with(INCOMING);
            if young || foreign || id.is_some_and(|id| known.contains(&id)) {
                continue;
            }
            info!("removing artifact file {name:?} that nothing refers to");
            self.store
                .delete(&file.location)
                .await
                .context("cannot remove an artifact")?;
        }
        Ok(())
    }

    /// Takes over a staged file that is on the medium.
    ///
    /// # Errors
    /// Any failure of the file system; `AlreadyExists` if there is another file of this artifact.
    pub(super) async fn publish(&self, staged: &Path, id: Id) -> io::Result<()> {
        let (dir, staged) = (self.path.clone(), staged.to_owned());
        // From another file system it is copied, which takes its time.
        let placed = tokio::task::spawn_blocking(move || place(&staged, &dir, id));
        placed.await.map_err(io::Error::other)?
    }

    /// The file of an artifact.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(super) fn file(&self, id: Id) -> io::Result<File> {
        File::open(self.path.join(id.to_string()))
    }

    /// A part of an artifact, in pieces of bounded size, read as they are asked for.
    ///
    /// # Errors
    /// If the artifact cannot be opened.
    pub(super) async fn read(
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

    /// Removes the bytes of an artifact. If that fails they go at the next start.
    pub(super) async fn remove(&self, id: Id) {
        if let Err(err) = self.store.delete(&key(id)).await {
            warn!("cannot remove the file of artifact {id}, it goes at the next start: {err}");
        }
    }
}

/// What the names of files begin with that come from another file system.
const INCOMING: &str = "incoming-";

fn key(id: Id) -> Key {
    Key::from(id.to_string())
}

/// Moves a file into the directory `dir`.
fn place(staged: &Path, dir: &Path, id: Id) -> io::Result<()> {
    // A link and not a rename: that would replace the other file.
    let target = dir.join(id.to_string());
    match fs::hard_link(staged, &target) {
        Err(err) if err.kind() == io::ErrorKind::CrossesDevices => {
            let near = dir.join(format!("{INCOMING}{}", new_id()));
            let placed = copy(staged, &near).and_then(|()| fs::hard_link(&near, &target));
            durable::remove(&near)?;
            placed?;
        }
        other => other?,
    }
    durable::sync_dir(dir)?;
    durable::remove(staged)
}

/// A copy that is on the medium.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)?;
    io::copy(&mut File::open(from)?, &mut target)?;
    target.sync_all()
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
