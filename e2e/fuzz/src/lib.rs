//! What the targets share: reading all of an artifact.

use std::io::{self, Read};

use tandem_artifact::{Artifact, Error, Header, Verification};

/// Everything that a reader gets out of an artifact.
#[derive(Debug, PartialEq, Eq)]
pub struct Facts {
    header: Header,
    files: Vec<(String, Vec<u8>)>,
}

/// The most that is read of a payload file, bytes: a bomb is a matter for who reads it.
const MOST: u64 = 1 << 20;

/// Reads `bytes` as a device does, at most `step` bytes at a time. `Ok(None)` is one whose payload is too much for here.
///
/// # Errors
/// Those of the artifact.
pub fn read(bytes: &[u8], step: usize) -> Result<Option<Facts>, Error> {
    let mut artifact = Artifact::open(Steps { bytes, step }, &Verification::off())?;
    let header = artifact.header().clone();
    let mut files = Vec::new();
    while let Some(mut file) = artifact.next_file()? {
        let (name, size) = (file.info().name.to_string(), file.info().size);
        let mut content = Vec::new();
        let read = (&mut file).take(MOST + 1).read_to_end(&mut content);
        read.map_err(Error::from_read)?;
        if content.len() as u64 > MOST {
            return Ok(None);
        }
        assert_eq!(content.len() as u64, size, "a file that ends early");
        files.push((name, content));
    }
    let summary = artifact.finish()?;
    assert_eq!(summary.files.len(), files.len());
    Ok(Some(Facts { header, files }))
}

/// Whatever the bytes are, how they arrive makes no difference.
pub fn check(bytes: &[u8]) {
    let kind = |result: Result<Option<Facts>, Error>| result.map_err(|err| err.kind());
    let whole = kind(read(bytes, usize::MAX));
    let short = kind(read(bytes, 7));
    assert_eq!(whole, short);
}

struct Steps<'a> {
    bytes: &'a [u8],
    step: usize,
}

impl Read for Steps<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(self.step);
        self.bytes.read(&mut into[..most])
    }
}
