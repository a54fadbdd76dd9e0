//! Replacing small files for good: after a power cut the old or the new content is there, never
//! a part or a mixture. Nothing else in the agent may rename or truncate a file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Replaces the content of `path`, with mode 0600. When this returns, the new content is on the
/// medium; when the power goes before, the old one is.
///
/// # Errors
/// Any failure of the file system; the old content is then still there.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = write_beside(path, content)?;
    rename(&temporary, path)?;
    sync_dir(parent(path))
}

/// Like [`replace`], and what was in `path` is in `previous` afterwards. At every instant `path`
/// exists, and one of the two is whole.
///
/// # Errors
/// Any failure of the file system; `path` then has its old or its new content.
pub(crate) fn replace_keeping(path: &Path, previous: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = write_beside(path, content)?;
    let kept = beside(previous);
    remove_if_there(&kept)?;
    match fs::hard_link(path, &kept) {
        Ok(()) => rename(&kept, previous)?,
        Err(err) if err.kind() == io::ErrorKind::NotFound => {}
        Err(err) => return Err(err),
    }
    rename(&temporary, path)?;
    sync_dir(parent(path))
}

/// Removes `path` for good; that it is not there is fine.
///
/// # Errors
/// Any other failure of the file system.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    remove_if_there(path)?;
    sync_dir(parent(path))
}

/// Moves `path` out of the way, to `to`.
///
/// # Errors
/// Any failure of the file system.
pub(crate) fn set_aside(path: &Path, to: &Path) -> io::Result<()> {
    rename(path, to)?;
    sync_dir(parent(path))
}

/// Creates a directory and its parents with mode 0700, unless it is there.
///
/// # Errors
/// Any failure of the file system.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    sync_dir(parent(path))
}

/// Makes the entries of a directory durable: names that were created, renamed or removed in it.
///
/// # Errors
/// Any failure of the file system.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Writes `content` to a file beside `path` and makes it durable.
fn write_beside(path: &Path, content: &[u8]) -> io::Result<PathBuf> {
    let temporary = beside(path);
    // What an interrupted attempt left is of no use, and might be a link that someone planted.
    remove_if_there(&temporary)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    // Content first, durably; only then the rename that makes it count.
    file.write_all(content)?;
    file.sync_all()?;
    Ok(temporary)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// The temporary name that belongs to `path`, in the same directory and so on the same medium.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_keeps_what_was_there_before() {
        let dir = tempfile::tempdir().unwrap();
        let (path, previous) = (dir.path().join("f"), dir.path().join("f.previous"));
        for (content, kept) in [("1", None), ("2", Some("1")), ("3", Some("2"))] {
            replace_keeping(&path, &previous, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(fs::read_to_string(&previous).ok().as_deref(), kept);
        }
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            2,
            "nothing else is left"
        );
    }

    #[test]
    fn a_planted_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        replace(&victim, b"precious").unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join("f.new")).unwrap();
        replace(&dir.path().join("f"), b"content").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }

    #[test]
    fn nobody_else_may_read_what_is_written() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace(&path, b"secret").unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
