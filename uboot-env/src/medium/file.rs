//! A regular file.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::replacement::Replacement;
use super::{Access, Geometry, Medium};

/// A regular file that is read, or written in place.
pub(crate) struct Plain {
    file: File,
    geometry: Geometry,
}

/// Opens a file that has already been opened once, to see what it is.
pub(crate) fn open(
    path: &Path,
    file: File,
    metadata: &Metadata,
    geometry: Geometry,
    access: Access,
) -> io::Result<Box<dyn Medium>> {
    let file = match access {
        Access::Read | Access::Write => file,
        Access::Replace => match Replacement::new(path, metadata, geometry.clone())? {
            Some(replacement) => return Ok(Box::new(replacement)),
            None => OpenOptions::new().read(true).write(true).open(path)?,
        },
    };
    Ok(Box::new(Plain { file, geometry }))
}

impl Medium for Plain {
    fn geometry(&self) -> Geometry {
        self.geometry.clone()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }
}
