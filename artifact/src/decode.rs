//! Decompression in bounded memory, to the real end of the stream.

use std::io::{self, BufReader, Read};

use crate::compression::Compression;
use crate::error::Error;
use crate::limits::Limits;

/// How much compressed input is read at a time, bytes.
const INPUT: usize = 128 << 10;

/// A member's content, decompressed. `member` is its name in errors.
///
/// Several gzip members, xz streams and zstd frames are one content; skippable zstd frames are none. Every error that
/// it returns has an [`Error`] inside.
pub(crate) struct Decoder<R: Read> {
    stream: Stream<R>,
    member: String,
    limits: Limits,
}

enum Stream<R: Read> {
    Plain(R),
    Gzip(Box<flate2::bufread::MultiGzDecoder<BufReader<R>>>),
    #[cfg(feature = "xz")]
    Xz(liblzma::bufread::XzDecoder<BufReader<R>>),
    #[cfg(feature = "zstd")]
    Zstd(zstd::stream::read::Decoder<'static, BufReader<R>>),
}

impl<R: Read> Decoder<R> {
    /// Decodes `source`, whose reads must fail with an [`Error`] inside.
    pub(crate) fn new(
        source: R,
        compression: Compression,
        member: &str,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let stream = match compression {
            Compression::None => Ok(Stream::Plain(source)),
            Compression::Gzip => {
                let decoder =
                    flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(INPUT, source));
                Ok(Stream::Gzip(Box::new(decoder)))
            }
            Compression::Xz => xz(source, member, limits),
            Compression::Zstd => zstd(source, member, limits),
        };
        Ok(Self {
            stream: stream?,
            member: member.to_owned(),
            limits: limits.clone(),
        })
    }

    /// The source again, after a read has returned 0: the compressed stream has ended, and nothing may be left of it.
    pub(crate) fn finish(self) -> Result<R, Error> {
        let source = match self.stream {
            Stream::Plain(source) => return Ok(source),
            Stream::Gzip(decoder) => decoder.into_inner(),
            #[cfg(feature = "xz")]
            Stream::Xz(decoder) => decoder.into_inner(),
            #[cfg(feature = "zstd")]
            Stream::Zstd(decoder) => decoder.finish(),
        };
        if source.buffer().is_empty() {
            Ok(source.into_inner())
        } else {
            Err(Error::malformed(
                self.member,
                "has something after its compressed content",
            ))
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let result = match &mut self.stream {
            Stream::Plain(source) => return source.read(buffer),
            Stream::Gzip(decoder) => decoder.read(buffer),
            #[cfg(feature = "xz")]
            Stream::Xz(decoder) => decoder.read(buffer),
            #[cfg(feature = "zstd")]
            Stream::Zstd(decoder) => decoder.read(buffer),
        };
        result.map_err(|err| match err.downcast::<Error>() {
            Ok(inner) => inner.into(),
            Err(err) => fault(&self.member, &self.limits, err).into(),
        })
    }
}

#[cfg(feature = "xz")]
fn xz<R: Read>(source: R, member: &str, limits: &Limits) -> Result<Stream<R>, Error> {
    // What the decoder needs beside the dictionary.
    const OVERHEAD: u64 = 1 << 20;
    let memory = limits.xz_dictionary.saturating_add(OVERHEAD);
    let stream = liblzma::stream::Stream::new_stream_decoder(memory, liblzma::stream::CONCATENATED)
        .map_err(|err| Error::Decompress {
            member: member.to_owned(),
            source: err.into(),
        })?;
    let source = BufReader::with_capacity(INPUT, source);
    Ok(Stream::Xz(liblzma::bufread::XzDecoder::new_stream(
        source, stream,
    )))
}

#[cfg(not(feature = "xz"))]
fn xz<R: Read>(_: R, member: &str, _: &Limits) -> Result<Stream<R>, Error> {
    Err(Error::Compression {
        member: member.to_owned(),
    })
}

#[cfg(feature = "zstd")]
fn zstd<R: Read>(source: R, member: &str, limits: &Limits) -> Result<Stream<R>, Error> {
    let fault = |source| Error::Decompress {
        member: member.to_owned(),
        source,
    };
    let mut source = BufReader::with_capacity(INPUT, source);
    // No frame at all decodes to nothing without an error, where gzip and xz refuse.
    if io::BufRead::fill_buf(&mut source)
        .map_err(Error::from_read)?
        .is_empty()
    {
        return Err(fault(io::ErrorKind::UnexpectedEof.into()));
    }
    let mut decoder = zstd::stream::read::Decoder::with_buffer(source).map_err(fault)?;
    // 128 MiB is what the library itself calls the limit of the reasonable; it refuses less than 1 KiB.
    let window = limits.zstd_window.clamp(1 << 10, 128 << 20);
    decoder.window_log_max(window.ilog2()).map_err(fault)?;
    Ok(Stream::Zstd(decoder))
}

#[cfg(not(feature = "zstd"))]
fn zstd<R: Read>(_: R, member: &str, _: &Limits) -> Result<Stream<R>, Error> {
    Err(Error::Compression {
        member: member.to_owned(),
    })
}

/// A decompressor's own error: over a memory limit, or corrupt.
#[cfg_attr(
    not(any(feature = "xz", feature = "zstd")),
    expect(unused_variables, reason = "gzip needs no limit")
)]
fn fault(member: &str, limits: &Limits, err: io::Error) -> Error {
    #[cfg(feature = "xz")]
    if let Some(liblzma::stream::Error::MemLimit) =
        err.get_ref().and_then(|inner| inner.downcast_ref())
    {
        return Error::too_large(
            format!("the xz dictionary of {member}"),
            limits.xz_dictionary,
        );
    }
    // The library has no other way to say so: ZSTD_error_frameParameter_windowTooLarge.
    #[cfg(feature = "zstd")]
    if err.to_string().contains("Frame requires too much memory") {
        return Error::too_large(format!("the zstd window of {member}"), limits.zstd_window);
    }
    Error::Decompress {
        member: member.to_owned(),
        source: err,
    }
}
