//! What is installed: how it is compressed, and where it comes from.

use std::fmt;

use clap::ValueEnum;

use crate::compression::Compression;

/// Where an artifact comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// A file that is in the cache.
    File,
    /// nginx on this machine, with TLS.
    Tls,
}

impl Source {
    /// Both.
    pub(crate) const ALL: [Source; 2] = [Source::File, Source::Tls];
}

/// One kind of installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// How the image is compressed.
    pub(crate) compression: Compression,
    /// Where it comes from.
    pub(crate) source: Source,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case {
            compression,
            source,
        } = self;
        match source {
            Source::File => write!(f, "{compression}"),
            Source::Tls => write!(f, "{compression} over TLS"),
        }
    }
}
