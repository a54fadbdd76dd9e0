//! One strict walk over a tar archive, for the outer archive, the header and the payload alike.
//!
//! Everything on which two tar readers could differ is refused: only regular files; every header's checksum right and
//! its numbers well-formed; a PAX size only where the header says the same or 0; padding and tail only zeros.
//! Only the end blocks themselves may be missing, as Mender's readers allow.

use std::io::Read;

use tar::Header;

use crate::error::Error;
use crate::pax::Pax;
use crate::tar_header::{checked_size, kind_name};

/// The unit of a tar archive, bytes.
pub(crate) const BLOCK: usize = 512;

/// The zeros that must follow a content of `size` bytes, so that the next header begins with a block.
pub(crate) fn padding(size: u64) -> &'static [u8] {
    let over = usize::try_from(size % 512).unwrap_or_default();
    let zeros: &'static [u8] = &[0; BLOCK];
    zeros.get(over..).filter(|_| over != 0).unwrap_or_default()
}

/// The largest extended header that is read, bytes: far above one path and one size.
const PAX_LIMIT: u64 = 16 << 10;

/// A tar archive that is being read. `archive` is its name in errors.
pub(crate) struct TarReader<R> {
    source: R,
    archive: String,
    /// Bytes read so far.
    offset: u64,
    /// Bytes of the current member that are still to be read.
    left: u64,
    /// Zero bytes that must follow it.
    padding: usize,
    /// The end blocks, or the end of the source in their place, were read.
    ended: bool,
}

/// The header of a member: a regular file.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) size: u64,
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(source: R, archive: impl Into<String>) -> Self {
        Self {
            source,
            archive: archive.into(),
            offset: 0,
            left: 0,
            padding: 0,
            ended: false,
        }
    }

    /// Bytes of the source that were read.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of the current member that are still to be read.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// The next member; the one before it must have been read to its end. `None` at the end of the archive.
    pub(crate) fn next_member(&mut self) -> Result<Option<Member>, Error> {
        if self.left != 0 {
            return Err(Error::Misuse {
                what: "a member was not read to its end",
            });
        }
        self.skip_padding()?;
        let mut pax = None;
        while !self.ended {
            let Some(block) = self.block()? else {
                self.ended = true;
                break;
            };
            if block.iter().all(|byte| *byte == 0) {
                self.second_end_block()?;
                break;
            }
            let header = Header::from_byte_slice(&block);
            let size = checked_size(header).map_err(|rule| self.fault(rule))?;
            match header.entry_type().as_byte() {
                b'0' | 0 => return self.member(header, size, pax.unwrap_or_default()).map(Some),
                b'x' if pax.is_none() => pax = Some(self.extended_header(size)?),
                b'x' => return Err(self.fault("has two extended headers for one member")),
                kind => {
                    return Err(self.fault(&format!("has a member that is {}", kind_name(kind))));
                }
            }
        }
        if pax.is_some() {
            return Err(self.fault("has an extended header without a member"));
        }
        Ok(None)
    }

    /// Reads of the current member; 0 at its end and only there.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let wanted = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let buffer = buffer.get_mut(..wanted).unwrap_or_default();
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.read_source(buffer)?;
        if count == 0 {
            return Err(self.truncated());
        }
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }

    /// The rest of the current member, which must not be longer than `limit` bytes.
    pub(crate) fn read_all(&mut self, what: &str, limit: u64) -> Result<Vec<u8>, Error> {
        if self.left > limit {
            return Err(Error::too_large(what, limit));
        }
        // What a header claims is not what comes: the buffer grows as bytes arrive.
        let mut content = Vec::new();
        let mut buffer = [0; 8 << 10];
        loop {
            let count = self.read(&mut buffer)?;
            if count == 0 {
                return Ok(content);
            }
            content.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
    }

    /// The next bytes of the current member: `count`, or all that are left of it if they are fewer.
    pub(crate) fn read_some(&mut self, count: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; count.min(usize::try_from(self.left).unwrap_or(usize::MAX))];
        let mut filled = 0_usize;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled = filled.saturating_add(self.read(rest)?);
        }
        Ok(bytes)
    }

    /// Reads to the end of the source: after the last member only zero bytes, and not more than `zero_tail`.
    pub(crate) fn end(&mut self, zero_tail: u64) -> Result<(), Error> {
        if let Some(member) = self.next_member()? {
            return Err(Error::Unexpected {
                found: format!("member {:?}", member.name),
                expected: format!("the end of {}", self.archive),
            });
        }
        let end = self.offset;
        let mut buffer = [0; 8 << 10];
        loop {
            let count = self.read_source(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            if buffer.iter().take(count).any(|byte| *byte != 0) {
                return Err(self.fault("has something after its end"));
            }
            if self.offset.saturating_sub(end) > zero_tail {
                return Err(Error::too_large(
                    format!("the zero padding of {}", self.archive),
                    zero_tail,
                ));
            }
        }
    }

    /// What it reads from.
    pub(crate) fn into_source(self) -> R {
        self.source
    }

    fn member(&mut self, header: &Header, size: u64, pax: Pax) -> Result<Member, Error> {
        let size = match pax.size {
            None => size,
            Some(real) if size == 0 || size == real => real,
            Some(_) => {
                return Err(
                    self.fault("has an extended header that contradicts the size of its member")
                );
            }
        };
        let name = match pax.path {
            Some(path) => path,
            None => String::from_utf8(header.path_bytes().into_owned())
                .map_err(|_| self.fault("has a member whose name is not UTF-8"))?,
        };
        self.start(size);
        Ok(Member { name, size })
    }

    fn extended_header(&mut self, size: u64) -> Result<Pax, Error> {
        self.start(size);
        let records = self.read_all(
            &format!("an extended header of {}", self.archive),
            PAX_LIMIT,
        )?;
        self.skip_padding()?;
        Pax::parse(&records)
            .map_err(|rule| self.fault(&format!("has an extended header that {rule}")))
    }

    fn start(&mut self, size: u64) {
        self.left = size;
        self.padding = padding(size).len();
    }

    fn skip_padding(&mut self) -> Result<(), Error> {
        let mut block = [0; BLOCK];
        let padding = block.get_mut(..self.padding).unwrap_or_default();
        self.padding = 0;
        if self.fill(padding)? < padding.len() {
            return Err(self.truncated());
        }
        if padding.iter().any(|byte| *byte != 0) {
            return Err(self.fault("has a member that is not padded with zeros"));
        }
        Ok(())
    }

    /// The next block, or `None` at the end of the source.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        match self.fill(&mut block)? {
            0 => Ok(None),
            BLOCK => Ok(Some(block)),
            _ => Err(self.truncated()),
        }
    }

    fn second_end_block(&mut self) -> Result<(), Error> {
        if self
            .block()?
            .is_some_and(|block| block.iter().any(|byte| *byte != 0))
        {
            return Err(self.fault("has a single zero block before its end"));
        }
        self.ended = true;
        Ok(())
    }

    /// Reads until `buffer` is full or the source ends.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0_usize;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read_source(rest)? {
                0 => break,
                count => filled = filled.saturating_add(count),
            }
        }
        Ok(filled)
    }

    fn read_source(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.source.read(buffer) {
                Ok(count) => {
                    self.offset = self.offset.saturating_add(count as u64);
                    return Ok(count);
                }
                Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
                Err(err) => return Err(Error::from_read(err)),
            }
        }
    }

    fn fault(&self, rule: &str) -> Error {
        Error::malformed(
            &self.archive,
            format!("{rule} (before byte {})", self.offset),
        )
    }

    fn truncated(&self) -> Error {
        Error::Truncated {
            within: self.archive.clone(),
        }
    }
}
