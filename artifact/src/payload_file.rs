//! The payload files of an artifact, as streams that are checked while they are read.

use std::io::{self, Read};

use crate::artifact::Artifact;
use crate::checked::Check;
use crate::digest::Digest;
use crate::error::Error;
use crate::name::FileName;

/// A payload file that came with an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadFileInfo {
    /// Its name.
    pub name: FileName,
    /// Its size, bytes.
    pub size: u64,
    /// Its sum.
    pub sha256: Digest,
}

/// A payload file of an artifact. Reading it checks it: with its last byte comes the verdict, size and SHA-256 as in the
/// manifest, or an error. What is not read here is read and checked by the artifact's next step.
pub struct PayloadFile<'a, R: Read> {
    artifact: &'a mut Artifact<R>,
    info: PayloadFileInfo,
}

impl<'a, R: Read> PayloadFile<'a, R> {
    pub(crate) fn new(artifact: &'a mut Artifact<R>, info: PayloadFileInfo) -> Self {
        Self { artifact, info }
    }

    /// Its name, its size and the sum that it must have, all known before its first byte.
    #[must_use]
    pub fn info(&self) -> &PayloadFileInfo {
        &self.info
    }

    /// Takes the check away, so that another thread can hash while this one reads on.
    ///
    /// Every byte read from the returned file must go into the returned check; the artifact goes on only after its
    /// verdict was handed to [`Artifact::accept`].
    ///
    /// # Errors
    /// [`Error::Misuse`] if the file was already read to its end, and so was checked.
    pub fn detach_check(self) -> Result<(UncheckedFile<'a, R>, Check), Error> {
        let Self { artifact, info } = self;
        let check = artifact.detach_check()?;
        Ok((UncheckedFile { artifact, info }, check))
    }
}

impl<R: Read> Read for PayloadFile<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.artifact.read(buffer)
    }
}

/// A payload file whose check was [detached](PayloadFile::detach_check): its bytes are as the artifact has them.
pub struct UncheckedFile<'a, R: Read> {
    artifact: &'a mut Artifact<R>,
    info: PayloadFileInfo,
}

impl<R: Read> UncheckedFile<'_, R> {
    /// Its name, its size and the sum that it must have.
    #[must_use]
    pub fn info(&self) -> &PayloadFileInfo {
        &self.info
    }
}

impl<R: Read> Read for UncheckedFile<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.artifact.read(buffer)
    }
}
