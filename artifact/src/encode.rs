//! Compression, on one thread: the same bytes on every machine.

use std::io::{self, Write};

use crate::compression::Compressor;

/// Within 0.3 % of the usual 6 at one and a half times its speed, and still smaller than what mender-artifact writes.
const GZIP_LEVEL: u32 = 5;

/// Compresses into `W`.
pub(crate) enum Encoder<W: Write> {
    Plain(W),
    Gzip(Box<flate2::write::GzEncoder<W>>),
    #[cfg(feature = "xz")]
    Xz(liblzma::write::XzEncoder<W>),
    #[cfg(feature = "zstd")]
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    pub(crate) fn new(out: W, compressor: Compressor) -> io::Result<Self> {
        match compressor {
            Compressor::None => Ok(Self::Plain(out)),
            Compressor::Gzip => Ok(Self::Gzip(Box::new(flate2::write::GzEncoder::new(
                out,
                flate2::Compression::new(GZIP_LEVEL),
            )))),
            Compressor::Lzma => xz(out),
            Compressor::ZstdFastest
            | Compressor::ZstdFast
            | Compressor::ZstdBetter
            | Compressor::ZstdBest => zstd(out, compressor),
        }
    }

    /// Writes what is still in the compressor.
    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Gzip(encoder) => encoder.finish(),
            #[cfg(feature = "xz")]
            Self::Xz(encoder) => encoder.finish(),
            #[cfg(feature = "zstd")]
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            #[cfg(feature = "xz")]
            Self::Xz(encoder) => encoder.write(bytes),
            #[cfg(feature = "zstd")]
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            #[cfg(feature = "xz")]
            Self::Xz(encoder) => encoder.flush(),
            #[cfg(feature = "zstd")]
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// DIFFERS: a dictionary of 8 MiB, where mender-artifact takes 64 MiB, all of which a device must have free to decode.
#[cfg(feature = "xz")]
fn xz<W: Write>(out: W) -> io::Result<Encoder<W>> {
    const PRESET: u32 = 6;
    let stream = liblzma::stream::Stream::new_easy_encoder(PRESET, liblzma::stream::Check::Crc64)?;
    Ok(Encoder::Xz(liblzma::write::XzEncoder::new_stream(
        out, stream,
    )))
}

#[cfg(not(feature = "xz"))]
fn xz<W: Write>(_: W) -> io::Result<Encoder<W>> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this program was built without xz",
    ))
}

/// The window of the best level, as a binary logarithm: 4 MiB, which is what a device holds in memory. With its own, of
/// 8 MiB, the artifact would be a hundredth smaller.
#[cfg(feature = "zstd")]
const BEST_WINDOW_LOG: u32 = 22;

#[cfg(feature = "zstd")]
fn zstd<W: Write>(out: W, compressor: Compressor) -> io::Result<Encoder<W>> {
    let mut encoder = zstd::stream::write::Encoder::new(out, compressor.zstd_level())?;
    encoder.include_checksum(true)?;
    if compressor == Compressor::ZstdBest {
        encoder.window_log(BEST_WINDOW_LOG)?;
    }
    Ok(Encoder::Zstd(encoder))
}

#[cfg(not(feature = "zstd"))]
fn zstd<W: Write>(_: W, _: Compressor) -> io::Result<Encoder<W>> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this program was built without zstd",
    ))
}
