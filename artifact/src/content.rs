//! A payload file on its way into an artifact.

use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::digest::{Digest, Sha256};
use crate::error::Error;
use crate::name::FileName;
use crate::tar_read;
use crate::tar_write;

/// How much is read at a time, bytes.
const CHUNK: usize = 128 << 10;

/// A payload file to be written, measured.
#[derive(Debug)]
pub struct Content<R> {
    name: FileName,
    source: R,
    size: u64,
    sha256: Digest,
}

impl<R: Read + Seek> Content<R> {
    /// Reads all of `source` for its size and sum.
    ///
    /// # Errors
    /// [`Error::Content`] if it cannot be read.
    pub fn measure(name: FileName, source: R) -> Result<Self, Error> {
        Self::measure_with(name, source, |_| {})
    }

    /// Like [`measure`](Self::measure); `look` sees everything that is read.
    pub(crate) fn measure_with(
        name: FileName,
        mut source: R,
        mut look: impl FnMut(&[u8]),
    ) -> Result<Self, Error> {
        let mut sha256 = Sha256::new();
        let mut size = 0_u64;
        let read = copy(&mut source, |chunk| {
            look(chunk);
            sha256.update(chunk);
            size = size.saturating_add(chunk.len() as u64);
            Ok(())
        });
        match read {
            Ok(()) => Ok(Self {
                name,
                source,
                size,
                sha256: sha256.finish(),
            }),
            Err(CopyError::Read(source)) => Err(Error::Content {
                file: name.to_string(),
                source,
            }),
            Err(CopyError::Write(err)) => Err(Error::Sink(err)),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &FileName {
        &self.name
    }

    /// Its size, bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its sum.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        self.sha256
    }

    /// Gives all of it to `sink`, which must still be what was measured.
    pub(crate) fn read_again(
        &mut self,
        mut sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Error> {
        let mut sha256 = Sha256::new();
        let mut size = 0_u64;
        let copied = copy(&mut self.source, |chunk| {
            sha256.update(chunk);
            size = size.saturating_add(chunk.len() as u64);
            // What grows must not become longer than was said of it.
            if size > self.size {
                Ok(())
            } else {
                sink(chunk)
            }
        });
        match copied {
            Ok(()) if size == self.size && sha256.finish() == self.sha256 => Ok(()),
            Ok(()) => Err(Error::Changed {
                file: self.name.to_string(),
            }),
            Err(CopyError::Read(source)) => Err(Error::Content {
                file: self.name.to_string(),
                source,
            }),
            Err(CopyError::Write(err)) => Err(Error::Sink(err)),
        }
    }

    /// Writes the member of the payload archive.
    pub(crate) fn write(&mut self, out: &mut impl Write) -> Result<(), Error> {
        out.write_all(&self.header()).map_err(Error::Sink)?;
        self.read_again(|chunk| out.write_all(chunk))?;
        out.write_all(tar_read::padding(self.size))
            .map_err(Error::Sink)
    }

    /// The size of the member of the payload archive, with header and padding.
    pub(crate) fn member_size(&self) -> u64 {
        let overhead = self
            .header()
            .len()
            .saturating_add(tar_read::padding(self.size).len());
        self.size.saturating_add(overhead as u64)
    }

    /// The header of the member of the payload archive.
    pub(crate) fn header(&self) -> Vec<u8> {
        tar_write::header(self.name.as_str(), self.size, 0o644)
    }
}

enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// Gives all of `source`, from its start, to `sink`.
fn copy<R: Read + Seek>(
    source: &mut R,
    mut sink: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), CopyError> {
    source.seek(SeekFrom::Start(0)).map_err(CopyError::Read)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => sink(buffer.get(..count).unwrap_or_default()).map_err(CopyError::Write)?,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(CopyError::Read(err)),
        }
    }
}
