//! Signing an artifact that exists.

use std::io::{Read, Write};

use crate::error::Error;
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::order::{check_version, expect, expect_archive};
use crate::signer::Signer;
use crate::tar_read::{self, TarReader};
use crate::tar_write::{self, ARCHIVE_MODE};

/// How much is copied at a time, bytes.
const CHUNK: usize = 128 << 10;

/// What to do with a signature that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Refuse to sign.
    Refuse,
    /// Put the new one in its place.
    Replace,
}

/// Copies the artifact `source` to `out` with a new signature. All members keep their bytes; their tar headers are
/// written anew.
///
/// The manifest is checked for its form; the content is not compared with it. Read the result with
/// [`Artifact`](crate::Artifact) and [`Signer::public_key`] before handing it out, or a broken artifact has a good
/// signature.
///
/// # Errors
/// [`Error::AlreadySigned`]; those of reading an artifact; [`Error::Sink`].
pub fn sign<R: Read, W: Write>(
    source: R,
    signer: &Signer,
    existing: Existing,
    out: &mut W,
) -> Result<(), Error> {
    let limits = Limits::default();
    let mut tar = TarReader::new(source, "the artifact");
    expect(tar.next_member()?, "version")?;
    let version = tar.read_all("version", limits.version)?;
    check_version(&version)?;
    expect(tar.next_member()?, "manifest")?;
    let manifest = tar.read_all("manifest", limits.manifest)?;
    Manifest::parse(&manifest)?;
    let mut next = tar.next_member()?;
    if next
        .as_ref()
        .is_some_and(|member| member.name == "manifest.sig")
    {
        if existing == Existing::Refuse {
            return Err(Error::AlreadySigned);
        }
        tar.read_all("manifest.sig", limits.signature)?;
        next = tar.next_member()?;
    }
    let (header, _) = expect_archive(next, "header.tar")?;

    let signature = signer.sign(&manifest)?;
    write_member("version", &version, out)?;
    write_member("manifest", &manifest, out)?;
    write_member("manifest.sig", signature.as_bytes(), out)?;
    copy_member(&header, &mut tar, out)?;
    let next = tar.next_member()?;
    if next.is_some() {
        let (payload, _) = expect_archive(next, "data/0000.tar")?;
        copy_member(&payload, &mut tar, out)?;
    }
    tar.end(limits.zero_tail)?;
    write(&tar_write::END, out)?;
    out.flush().map_err(Error::Sink)
}

fn write_member(name: &str, content: &[u8], out: &mut impl Write) -> Result<(), Error> {
    let size = content.len() as u64;
    write(&tar_write::header(name, size, ARCHIVE_MODE), out)?;
    write(content, out)?;
    write(tar_read::padding(size), out)
}

/// Copies the current member of `tar`, its header written anew.
pub(crate) fn copy_member<R: Read>(
    name: &str,
    tar: &mut TarReader<R>,
    out: &mut impl Write,
) -> Result<(), Error> {
    let size = tar.left();
    write(&tar_write::header(name, size, ARCHIVE_MODE), out)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match tar.read(&mut buffer)? {
            0 => return write(tar_read::padding(size), out),
            count => write(buffer.get(..count).unwrap_or_default(), out)?,
        }
    }
}

fn write(bytes: &[u8], out: &mut impl Write) -> Result<(), Error> {
    out.write_all(bytes).map_err(Error::Sink)
}
