//! Files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A file that is being written beside its final name. Dropped before it is kept, it leaves nothing behind.
pub(crate) struct Output {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl Output {
    /// Begins the file `path`.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let mut name = std::ffi::OsString::from(".");
        name.push(
            path.file_name()
                .with_context(|| format!("{path:?} is not the name of a file"))?,
        );
        name.push(format!(".{}.part", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&temporary)
            .with_context(|| format!("cannot create {temporary:?}"))?;
        Ok(Self {
            file,
            temporary,
            path: path.to_owned(),
        })
    }

    /// Gives it the permissions of `like`.
    pub(crate) fn copy_permissions(&self, like: &Path) -> anyhow::Result<()> {
        let permissions = fs::metadata(like).map(|metadata| metadata.permissions());
        permissions
            .and_then(|permissions| self.file.set_permissions(permissions))
            .with_context(|| {
                format!(
                    "cannot give {:?} the permissions of {like:?}",
                    self.temporary
                )
            })
    }

    /// Gives it its name for good, over whatever has that name.
    pub(crate) fn replace(self) -> anyhow::Result<()> {
        self.file
            .sync_all()
            .with_context(|| format!("cannot write {:?}", self.path))?;
        #[expect(
            clippy::disallowed_methods,
            reason = "content is synced above, the folder below"
        )]
        fs::rename(&self.temporary, &self.path)
            .with_context(|| format!("cannot rename to {:?}", self.path))?;
        self.sync_folder()
    }

    /// Gives it its name for good, unless something has that name.
    pub(crate) fn keep_new(self) -> anyhow::Result<()> {
        self.file
            .sync_all()
            .with_context(|| format!("cannot write {:?}", self.path))?;
        fs::hard_link(&self.temporary, &self.path)
            .with_context(|| format!("cannot create {:?}", self.path))?;
        self.sync_folder()
    }

    fn sync_folder(&self) -> anyhow::Result<()> {
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("cannot sync {folder:?}"))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // After a rename there is nothing to remove; after an error the error is told.
        let _ = fs::remove_file(&self.temporary);
    }
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Output {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// What an existing `path` that is not a regular file (a pipe, a device) is written through.
pub(crate) fn special_file(path: &Path) -> anyhow::Result<Option<File>> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => OpenOptions::new()
            .write(true)
            .open(path)
            .map(Some)
            .with_context(|| format!("cannot open {path:?}")),
        _ => Ok(None),
    }
}
