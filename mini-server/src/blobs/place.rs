//! Where artifacts are kept: in the data directory, in another directory, or in an S3-compatible store. Pure, but for
//! remembering it.
//!
//! The data directory remembers the place in `artifacts-at`, so that the verbs and the next start find it. Without that
//! file it is the data directory itself.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};

use crate::data_dir::DataDir;
use crate::durable::{self, Readers};

/// A place for artifacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The data directory.
    Own,
    /// Another directory, which other servers may use as well.
    Directory(PathBuf),
    /// A bucket of an S3-compatible store, which other servers may use as well.
    Bucket {
        /// Its name.
        bucket: String,
        /// What all keys begin with; empty, or segments with a `/` between them.
        prefix: String,
    },
}

impl Place {
    /// The place that `dir` remembers.
    ///
    /// # Errors
    /// If what it remembers cannot be read.
    pub fn remembered(dir: &DataDir) -> Result<Self> {
        let file = dir.artifacts_at();
        match std::fs::read_to_string(&file) {
            Ok(text) => text.trim().parse().map_err(|err: Unusable| {
                anyhow::Error::msg(err.to_string())
                    .context(format!("{} is damaged", file.display()))
            }),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Self::Own),
            Err(err) => Err(err).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Has `dir` remember it.
    ///
    /// # Errors
    /// Any failure of the file system.
    pub fn remember(&self, dir: &DataDir) -> Result<()> {
        let file = dir.artifacts_at();
        let written = match self {
            Self::Own => durable::remove(&file).and_then(|()| durable::sync_dir(dir.path())),
            Self::Directory(_) | Self::Bucket { .. } => {
                durable::replace(&file, format!("{self}\n").as_bytes(), Readers::Owner)
            }
        };
        written.with_context(|| format!("cannot write {}", file.display()))
    }

    /// What `given` on the command line means for a server in `dir`.
    #[must_use]
    pub fn resolve(given: Self, dir: &DataDir) -> Self {
        match given {
            Self::Directory(path) if same(&path, &dir.artifacts()) => Self::Own,
            Self::Directory(path) => Self::Directory(std::path::absolute(&path).unwrap_or(path)),
            other @ (Self::Own | Self::Bucket { .. }) => other,
        }
    }
}

fn same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// Not a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable(&'static str);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unusable {}

impl FromStr for Place {
    type Err = Unusable;

    fn from_str(text: &str) -> Result<Self, Unusable> {
        if text.is_empty() {
            return Err(Unusable("it must be a directory, or s3://BUCKET[/PREFIX]"));
        }
        let Some(rest) = text.strip_prefix("s3://") else {
            if text.contains("://") {
                return Err(Unusable("it must be a directory, or s3://BUCKET[/PREFIX]"));
            }
            return Ok(Self::Directory(text.into()));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/');
        let plain = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if bucket.is_empty() || !plain(bucket) {
            return Err(Unusable(
                "the name of a bucket has letters, digits, dots and dashes",
            ));
        }
        let segment = |text: &str| plain(text) && !text.is_empty() && text != "." && text != "..";
        if !prefix.is_empty() && !prefix.split('/').all(segment) {
            return Err(Unusable(
                "what stands behind the bucket has letters, digits, dots and dashes between its slashes",
            ));
        }
        Ok(Self::Bucket {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("the data directory"),
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let found = text.parse::<Place>().ok().map(|place| place.to_string());
        assert_eq!(found.as_deref(), expected, "{text}");
    }

    #[test]
    fn directories_and_buckets_are_told_apart() {
        check("/srv/artifacts", Some("/srv/artifacts"));
        check("artifacts", Some("artifacts"));
        check("s3://bucket", Some("s3://bucket"));
        check("s3://bucket/", Some("s3://bucket"));
        check("s3://my.bucket-1/a/b_c/", Some("s3://my.bucket-1/a/b_c"));
        for wrong in [
            "",
            "s3://",
            "s3:///a",
            "s3://b u",
            "s3://b/../c",
            "s3://b/a//c",
            "s3://b/a?x",
            "https://bucket",
            "gs://bucket",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn the_data_directory_remembers_the_place() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::create(temporary.path()).unwrap();
        assert_eq!(Place::remembered(&dir).unwrap(), Place::Own);
        let bucket: Place = "s3://bucket/prefix".parse().unwrap();
        bucket.remember(&dir).unwrap();
        assert_eq!(Place::remembered(&dir).unwrap(), bucket);
        Place::Own.remember(&dir).unwrap();
        Place::Own.remember(&dir).unwrap();
        assert_eq!(Place::remembered(&dir).unwrap(), Place::Own);
        let own = Place::Directory(temporary.path().join("artifacts"));
        assert_eq!(Place::resolve(own, &dir), Place::Own);
    }
}
