//! Writing an artifact with a framed payload.

use std::io::{Read, Seek, Write};

use super::build::Built;
use super::meta_data;
use crate::compression::Compressor;
use crate::draft::Draft;
use crate::error::Error;
use crate::name::PayloadType;
use crate::signer::Signer;
use crate::tar_write;
use crate::write::front;

/// An artifact with a framed payload that is ready to be written. Its meta-data has the sum of its index, which makes
/// the signature cover it.
#[derive(Debug)]
pub struct FramedWriter<S> {
    front: Vec<u8>,
    payload: Built<S>,
}

impl<S: Read + Seek> FramedWriter<S> {
    /// Prepares the artifact that `draft` describes, signed if there is a `signer`. Its payload is a rootfs-image.
    ///
    /// # Errors
    /// [`Error::Description`] if a rule is broken that a reader would enforce.
    pub fn new(draft: &Draft, payload: Built<S>, signer: Option<&Signer>) -> Result<Self, Error> {
        let rule = |rule: &str| Error::Description {
            rule: rule.to_owned(),
        };
        if draft.payload_type.as_deref() != Some(PayloadType::ROOTFS_IMAGE) {
            return Err(rule("only a rootfs-image can be framed"));
        }
        if draft.meta_data.is_some() {
            return Err(rule("a framed payload has meta-data of its own"));
        }
        let sum = payload.index_sum().ok_or_else(|| rule("it is empty"))?;
        let draft = Draft {
            meta_data: Some(meta_data::to_bytes(sum)?),
            ..draft.clone()
        };
        let front = front(
            &draft.header()?,
            &[payload.file()],
            Compressor::ZstdBest,
            signer,
        )?;
        Ok(Self { front, payload })
    }

    /// Writes the artifact.
    ///
    /// # Errors
    /// [`Error::Sink`], also if what was compressed cannot be read again.
    pub fn write<W: Write>(self, out: &mut W) -> Result<(), Error> {
        out.write_all(&self.front).map_err(Error::Sink)?;
        self.payload.write(out)?;
        out.write_all(&tar_write::END).map_err(Error::Sink)?;
        out.flush().map_err(Error::Sink)
    }
}
