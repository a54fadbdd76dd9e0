//! The proof that a payload file is what the manifest promises: its size and its SHA-256.

use std::sync::Arc;

use crate::digest::{Digest, Sha256};
use crate::error::Error;
use crate::name::FileName;

/// Which file of which reader something belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    /// One allocation for each reader.
    reader: Arc<()>,
    /// Counted from 0.
    file: usize,
}

impl Ticket {
    pub(crate) fn new(reader: &Arc<()>, file: usize) -> Self {
        Self {
            reader: Arc::clone(reader),
            file,
        }
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.reader, &other.reader) && self.file == other.file
    }
}

/// A check in progress. It can move to another thread than the one that reads; see
/// [`PayloadFile::detach_check`](crate::PayloadFile::detach_check).
#[derive(Debug)]
pub struct Check {
    name: FileName,
    expected: Digest,
    sha256: Sha256,
    /// Bytes that must still come; `None` after too many came.
    left: Option<u64>,
    ticket: Ticket,
}

impl Check {
    pub(crate) fn new(name: FileName, size: u64, expected: Digest, ticket: Ticket) -> Self {
        Self {
            name,
            expected,
            sha256: Sha256::new(),
            left: Some(size),
            ticket,
        }
    }

    pub(crate) fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Takes the next bytes of the file, in order.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.left = self
            .left
            .and_then(|left| left.checked_sub(bytes.len() as u64));
    }

    /// Gives the verdict.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the bytes are not those of the manifest, [`Error::Misuse`] if they are not as many as
    /// the file has.
    pub fn finish(self) -> Result<Verified, Error> {
        if self.left != Some(0) {
            return Err(Error::Misuse {
                what: "a check was given more or fewer bytes than its file has",
            });
        }
        let actual = self.sha256.finish();
        if actual != self.expected {
            let name = format!("payload file {:?}", self.name.as_str());
            return Err(Error::Mismatch {
                name,
                expected: self.expected,
                actual,
            });
        }
        Ok(Verified {
            ticket: self.ticket,
        })
    }
}

/// The proof that one payload file is what the manifest promises. Only [`Check::finish`] makes one.
#[derive(Debug)]
#[must_use = "without it the artifact is not accepted"]
pub struct Verified {
    ticket: Ticket,
}

impl Verified {
    pub(crate) fn proves(&self, ticket: &Ticket) -> bool {
        self.ticket.is(ticket)
    }
}
