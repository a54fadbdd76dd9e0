//! Small files that survive a power cut: the old or the new content is there, never a part. Secrets are readable by
//! their owner alone from the first instant.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Who may read a file beside its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Nobody.
    Owner,
    /// Everybody: there is nothing secret in it.
    Everybody,
}

/// Replaces the content of `path`. When this returns, the new content is on the medium.
///
/// # Errors
/// Any failure of the file system; the old content is then still there.
pub fn replace(path: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    // What an interrupted attempt left is of no use.
    remove(&temporary)?;
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::Everybody => 0o644,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)?;
    // Whatever the umask took away.
    file.set_permissions(Permissions::from_mode(mode))?;
    // Content first, durably; only then the rename that makes it count.
    file.write_all(content)?;
    file.sync_all()?;
    rename(&temporary, path)?;
    sync_dir(&parent(path))
}

/// Creates a directory that only its owner may look into, unless it is there; a wider mode is narrowed.
///
/// # Errors
/// Any failure of the file system.
pub fn private_dir(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            if found.permissions().mode() & 0o077 != 0 {
                fs::set_permissions(path, Permissions::from_mode(0o700))?;
            }
            Ok(())
        }
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            "it is there and no directory",
        )),
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            sync_dir(&parent(path))
        }
        Err(err) => Err(err),
    }
}

/// Removes a file; that it is not there is fine.
///
/// # Errors
/// Any other failure of the file system.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}

/// Makes the entries of a directory durable.
///
/// # Errors
/// Any failure of the file system.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
