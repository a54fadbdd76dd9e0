//! Artifacts in a bucket of an S3-compatible store.
//!
//! ```text
//! PREFIX/ID/SHA256     the bytes of an artifact
//! ```
//!
//! What lies under a key never changes, whoever puts it there and however often: caches and links may rely on it. Region,
//! address, keys and authority of the store are in the environment, where everything that speaks S3 looks for them.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use http::Method;
use log::{info, warn};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path as Key;
use object_store::signer::Signer;
use object_store::{
    Attribute, Attributes, BackoffConfig, ClientConfigKey, Error, GetOptions, GetRange,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions,
    RetryConfig,
};

use super::store_http::StoreHttp;
use super::{LEFT_ALONE, file_name};
use crate::store::{Id, StoredArtifact};

/// Bytes of a part: what an upload has in memory while it goes to the store. Of what would have too many parts they
/// are larger.
const PART: u64 = 8 << 20;

/// Parts that stores allow.
const PARTS: u64 = 9000;

/// How long what failed is tried again while somebody waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A bucket.
pub(super) struct Bucket {
    store: Arc<AmazonS3>,
    prefix: Key,
}

impl Bucket {
    /// The bucket with this name, and what all keys in it begin with.
    ///
    /// # Errors
    /// If the environment does not say enough of the store, or something wrong.
    pub(super) fn open(bucket: &str, prefix: &str) -> Result<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "all that has to do with S3 is in the environment, the keys among it"
        )]
        let authority = std::env::var("AWS_CA_BUNDLE").ok();
        let authority = authority.filter(|file| !file.is_empty()).map(PathBuf::from);
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(200),
                max_backoff: Duration::from_secs(5),
                base: 2.0,
            },
            max_retries: 5,
            retry_timeout: PATIENCE,
        };
        let builder = AmazonS3Builder::from_env();
        let set = |key| builder.get_config_value(&key);
        let address = set(AmazonS3ConfigKey::S3Endpoint).or(set(AmazonS3ConfigKey::Endpoint));
        let plain = set(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
        if address.is_some_and(|address| !address.starts_with("https://"))
            && plain.as_deref() != Some("true")
        {
            bail!(
                "the address of the store is not https://, which only AWS_ALLOW_HTTP=true allows"
            );
        }
        let store = builder
            .with_bucket_name(bucket)
            .with_retry(retry)
            .with_http_connector(StoreHttp::new(authority.as_deref())?)
            .build()
            .map_err(|err| {
                anyhow!(err).context("the AWS_ variables of the environment are not enough")
            })?;
        Ok(Self {
            store: Arc::new(store),
            prefix: Key::from(prefix),
        })
    }

    fn folder(&self, id: Id) -> Key {
        self.prefix.clone().join(id.to_string())
    }

    fn key(&self, artifact: &StoredArtifact) -> Key {
        self.folder(artifact.id).join(artifact.sha256.as_str())
    }

    /// Removes what interrupted uploads and deletions left: what has been there for some time, and is not of `known`.
    /// Others may keep artifacts under the same prefix that are on their way into the database.
    ///
    /// # Errors
    /// If the store does not let us look.
    pub(super) async fn clean(&self, known: &HashSet<Id>) -> Result<()> {
        let mut found = self.store.list(Some(&self.prefix));
        let now = std::time::SystemTime::now();
        loop {
            let object: ObjectMeta = match found.try_next().await {
                Ok(Some(object)) => object,
                Ok(None) => return Ok(()),
                Err(err) if refused(&err) => {
                    return Err(err).context("the store refuses to list the artifacts");
                }
                Err(err) => {
                    // It may be there again when the first device wants something.
                    warn!("cannot list the artifacts in the store: {err}");
                    return Ok(());
                }
            };
            let Some(id) = self.id_of(&object.location) else {
                continue;
            };
            let age = now.duration_since(object.last_modified.into());
            if known.contains(&id) || age.is_ok_and(|age| age < LEFT_ALONE) {
                continue;
            }
            info!("removing {} that nothing refers to", object.location);
            self.store
                .delete(&object.location)
                .await
                .context("cannot remove an artifact")?;
        }
    }

    /// Whose bytes lie under a key; `None` if it is none of ours.
    fn id_of(&self, key: &Key) -> Option<Id> {
        let mut parts = key.prefix_match(&self.prefix)?;
        let (id, sum) = (parts.next()?, parts.next()?);
        let sum = sum.as_ref();
        let ours = sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        (ours && parts.next().is_none()).then(|| id.as_ref().parse().ok())?
    }

    /// Whether the bytes of an artifact are there.
    ///
    /// # Errors
    /// If the store does not say.
    pub(super) async fn has(&self, artifact: &StoredArtifact) -> io::Result<bool> {
        match self.store.head(&self.key(artifact)).await {
            Ok(found) => Ok(found.size == artifact.size),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(err) => Err(err.into()),
        }
    }

    /// Takes over the bytes of an artifact. When this returns the store has acknowledged all of them.
    ///
    /// # Errors
    /// Any failure of the store, or of reading the file.
    pub(super) async fn publish(&self, staged: &Path, artifact: &StoredArtifact) -> io::Result<()> {
        let file = Arc::new(File::open(staged)?);
        let size = file.metadata()?.len();
        let key = self.key(artifact);
        let attributes = attributes(artifact);
        if size <= PART {
            let options = PutOptions {
                attributes,
                ..PutOptions::default()
            };
            let bytes = piece(&file, 0..size).await?;
            self.store.put_opts(&key, bytes.into(), options).await?;
        } else {
            let options = PutMultipartOptions {
                attributes,
                ..PutMultipartOptions::default()
            };
            let mut upload = self.store.put_multipart_opts(&key, options).await?;
            if let Err(err) = send_parts(upload.as_mut(), &file, size).await {
                if let Err(err) = upload.abort().await {
                    warn!("the store keeps parts of an upload that was given up: {err}");
                }
                return Err(err);
            }
        }
        // A store that lost some of it on the way would be told of only by devices.
        let found = self.store.head(&key).await?.size;
        if found != size {
            self.discard(artifact).await;
            return Err(io::Error::other(format!(
                "the store has {found} bytes of an artifact of {size}"
            )));
        }
        Ok(())
    }

    /// A part of an artifact, in pieces, read as they are asked for.
    ///
    /// # Errors
    /// If the store does not give it.
    pub(super) async fn read(
        &self,
        artifact: &StoredArtifact,
        range: Range<u64>,
    ) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let found = self.store.get_opts(&self.key(artifact), options).await?;
        Ok(found.into_stream().map_err(io::Error::from).boxed())
    }

    /// Removes all that was put there for an artifact. What remains goes at a later start.
    pub(super) async fn remove(&self, id: Id) {
        let mut found = self.store.list(Some(&self.folder(id)));
        loop {
            let gone = match found.try_next().await {
                Ok(Some(object)) => self.store.delete(&object.location).await,
                Ok(None) => return,
                Err(err) => Err(err),
            };
            if let Err(err) = gone {
                warn!(
                    "cannot remove artifact {id} from the store, it goes at a later start: {err}"
                );
                return;
            }
        }
    }

    /// Removes exactly what was put there for an artifact that nobody got to know.
    pub(super) async fn discard(&self, artifact: &StoredArtifact) {
        if let Err(err) = self.store.delete(&self.key(artifact)).await {
            warn!(
                "cannot remove artifact {} from the store, it goes at a later start: {err}",
                artifact.id
            );
        }
    }

    /// An address from which anybody gets the artifact without us, as long as `validity`.
    ///
    /// # Errors
    /// If there are no keys to sign it with.
    pub(super) async fn link(
        &self,
        artifact: &StoredArtifact,
        validity: Duration,
    ) -> io::Result<String> {
        let signed = self
            .store
            .signed_url(Method::GET, &self.key(artifact), validity)
            .await?;
        Ok(signed.into())
    }
}

/// The store knows what we want, and does not do it: no time will change that. Of a list only the text of the error says
/// so.
fn refused(err: &Error) -> bool {
    matches!(
        err,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } | Error::NotFound { .. }
    ) || err.to_string().contains("non-2xx status code: 4")
}

/// What the store says of an artifact to those who get it there.
fn attributes(artifact: &StoredArtifact) -> Attributes {
    let name = file_name(&artifact.name);
    Attributes::from_iter([
        (
            Attribute::ContentType,
            "application/vnd.mender-artifact".to_owned(),
        ),
        (
            Attribute::ContentDisposition,
            format!("attachment; filename=\"{name}.mender\""),
        ),
        (
            Attribute::CacheControl,
            "max-age=31536000, immutable".to_owned(),
        ),
    ])
}

/// Sends a file in parts, one after the other.
async fn send_parts(
    upload: &mut dyn MultipartUpload,
    file: &Arc<File>,
    size: u64,
) -> io::Result<()> {
    let part = PART.max(size.div_ceil(PARTS));
    let mut start = 0;
    while start < size {
        let end = start.saturating_add(part).min(size);
        let bytes = piece(file, start..end).await?;
        upload.put_part(bytes.into()).await?;
        start = end;
    }
    upload.complete().await?;
    Ok(())
}

/// A piece of a file.
async fn piece(file: &Arc<File>, range: Range<u64>) -> io::Result<Bytes> {
    let file = Arc::clone(file);
    let length = range.end.saturating_sub(range.start);
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let read = tokio::task::spawn_blocking(move || {
        let mut buffer = BytesMut::zeroed(length);
        file.read_exact_at(&mut buffer, range.start)
            .map(|()| buffer.freeze())
    });
    read.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_of_artifacts_are_ours() {
        let store = AmazonS3Builder::new()
            .with_bucket_name("b")
            .with_access_key_id("k")
            .with_secret_access_key("s")
            .with_http_connector(StoreHttp::new(None).unwrap())
            .build()
            .unwrap();
        let bucket = Bucket {
            store: Arc::new(store),
            prefix: Key::from("a/b"),
        };
        let id = crate::secret::new_id();
        let sum = "0".repeat(64);
        assert_eq!(
            bucket.id_of(&Key::from(format!("a/b/{id}/{sum}"))),
            Some(id)
        );
        for other in [
            format!("a/b/{id}/x"),
            format!("a/b/{id}/{sum}/more"),
            format!("a/b/{id}"),
            format!("a/{id}/{sum}"),
            format!("a/b/c/{sum}"),
            format!("{id}/{sum}"),
        ] {
            assert_eq!(bucket.id_of(&Key::from(other.as_str())), None, "{other}");
        }
    }
}
