//! Where artifacts, keys and other files come from.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context as _;
use tandem_artifact::{PublicKey, Signer, Verification};

/// An artifact to be read: a file, or standard input.
pub(crate) struct Source {
    pub(crate) reader: Box<dyn Read>,
    /// Its size in bytes, where that can be known.
    pub(crate) size: Option<u64>,
}

/// Opens the artifact at `path`; `-` is standard input.
pub(crate) fn open(path: &Path) -> anyhow::Result<Source> {
    if is_standard(path) {
        return Ok(Source {
            reader: Box::new(io::stdin()),
            size: None,
        });
    }
    let opened = File::open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    let (file, metadata) = opened.with_context(|| format!("cannot open artifact {path:?}"))?;
    let size = metadata.is_file().then_some(metadata.len());
    Ok(Source {
        reader: Box::new(file),
        size,
    })
}

/// Whether `path` means standard input or output.
pub(crate) fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// A signature by one of the keys in the files `paths` is required; none, if there is no such file.
pub(crate) fn verification(paths: &[impl AsRef<Path>]) -> anyhow::Result<Verification> {
    if paths.is_empty() {
        return Ok(Verification::off());
    }
    let keys = paths
        .iter()
        .map(|path| {
            let path = path.as_ref();
            let pem =
                read_small(path, KEY_LIMIT).with_context(|| format!("cannot read key {path:?}"))?;
            Ok(PublicKey::from_pem(&format!("{path:?}"), &pem)?)
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Verification::by(keys)?)
}

/// The private key in the file `path`.
pub(crate) fn signer(path: &Path) -> anyhow::Result<Signer> {
    let pem = read_small(path, KEY_LIMIT).with_context(|| format!("cannot read key {path:?}"))?;
    Ok(Signer::from_pem(&format!("{path:?}"), &pem)?)
}

/// All of a file, which must not be larger than `limit` bytes.
pub(crate) fn read_small(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut file = File::open(path)?.take(limit.saturating_add(1));
    file.read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it is larger than {limit} bytes"),
        ));
    }
    Ok(content)
}

/// Far above any key, bytes.
const KEY_LIMIT: u64 = 64 << 10;
