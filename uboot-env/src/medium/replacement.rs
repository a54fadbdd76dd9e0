//! A regular file that is replaced as a whole: the one way to write a single copy safely.
//!
//! ```text
//! write_at   FILE.tandem-new is made beside FILE and written
//! sync       fsync(FILE.tandem-new), rename over FILE, fsync(directory)
//! ```

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use super::{Geometry, Medium};

pub(crate) struct Replacement {
    /// The new file; dropped without `sync` it is removed.
    file: File,
    new: PathBuf,
    old: PathBuf,
    directory: File,
    geometry: Geometry,
    renamed: bool,
}

impl Replacement {
    /// Makes the new file, with mode and owner of the old one. `None` when the directory does not
    /// allow it.
    pub(crate) fn new(
        path: &Path,
        metadata: &Metadata,
        geometry: Geometry,
    ) -> io::Result<Option<Self>> {
        // What is replaced must be the file itself and not a link to it.
        let old = path.canonicalize()?;
        let (Some(directory), Some(name)) = (old.parent(), old.file_name()) else {
            return Ok(None);
        };
        let mut new_name = OsString::from(name);
        new_name.push(SUFFIX);
        let new = directory.join(new_name);
        let made =
            File::open(directory).and_then(|directory| Ok((make(&new, metadata)?, directory)));
        match made {
            Ok((file, directory)) => Ok(Some(Self {
                file,
                new,
                old,
                directory,
                geometry,
                renamed: false,
            })),
            Err(err) if not_allowed(err.kind()) => Ok(None),
            Err(err) => Err(err),
        }
    }
}

impl Medium for Replacement {
    fn geometry(&self) -> Geometry {
        self.geometry.clone()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the durable replacement itself"
    )]
    fn sync(&mut self) -> io::Result<()> {
        // The content must be safe before the name points to it.
        self.file.sync_all()?;
        fs::rename(&self.new, &self.old)?;
        self.renamed = true;
        self.directory.sync_all()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.renamed {
            // A left-over is removed by the next write too.
            let _ = fs::remove_file(&self.new);
        }
    }
}

fn make(new: &Path, old: &Metadata) -> io::Result<File> {
    match fs::remove_file(new) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
        Ok(()) | Err(_) => {}
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(new)?;
    fchown(&file, Some(old.uid()), Some(old.gid()))?;
    file.set_permissions(old.permissions())?;
    Ok(file)
}

/// Whether a refusal to make a file says something about the directory and nothing about the disk.
fn not_allowed(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

const SUFFIX: &str = ".tandem-new";
