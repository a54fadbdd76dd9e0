//! The compressions of the format, by the suffix of a member's name. A member is never sniffed: where its name lies,
//! it is refused.

use std::fmt;
use std::str::FromStr;

/// How one member is compressed. Header and payload of one artifact may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// `.gz`; any number of members.
    Gzip,
    /// `.xz`; any number of streams.
    Xz,
    /// `.zst`; any number of frames, skippable ones too.
    Zstd,
}

impl Compression {
    /// All, in no meaningful order.
    const ALL: [Self; 4] = [Self::None, Self::Gzip, Self::Xz, Self::Zstd];

    /// What it adds to the name of a member.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
        }
    }

    /// The compression of the member `name`, if that is `stem` and a known suffix.
    pub(crate) fn of_member(name: &str, stem: &str) -> Option<Self> {
        let suffix = name.strip_prefix(stem)?;
        Self::ALL
            .into_iter()
            .find(|compression| compression.suffix() == suffix)
    }
}

/// How to compress when writing, by the names that mender-artifact gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compressor {
    /// `none`
    None,
    /// `gzip`
    #[default]
    Gzip,
    /// `lzma`, which is xz
    Lzma,
    /// `zstd_fastest`
    ZstdFastest,
    /// `zstd_fast`
    ZstdFast,
    /// `zstd_better`
    ZstdBetter,
    /// `zstd_best`
    ZstdBest,
}

impl Compressor {
    /// All, in the order in which they are offered.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Gzip,
        Self::Lzma,
        Self::ZstdFastest,
        Self::ZstdFast,
        Self::ZstdBetter,
        Self::ZstdBest,
    ];

    /// The name on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Lzma => "lzma",
            Self::ZstdFastest => "zstd_fastest",
            Self::ZstdFast => "zstd_fast",
            Self::ZstdBetter => "zstd_better",
            Self::ZstdBest => "zstd_best",
        }
    }

    /// The level of zstd. Up to 19 the window is at most 8 MiB, which every reader accepts.
    #[cfg(feature = "zstd")]
    pub(crate) fn zstd_level(self) -> i32 {
        match self {
            Self::ZstdFastest => 1,
            Self::None | Self::Gzip | Self::Lzma | Self::ZstdFast => 3,
            Self::ZstdBetter => 8,
            Self::ZstdBest => 19,
        }
    }

    /// What comes out.
    #[must_use]
    pub fn compression(self) -> Compression {
        match self {
            Self::None => Compression::None,
            Self::Gzip => Compression::Gzip,
            Self::Lzma => Compression::Xz,
            Self::ZstdFastest | Self::ZstdFast | Self::ZstdBetter | Self::ZstdBest => {
                Compression::Zstd
            }
        }
    }
}

impl fmt::Display for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Compressor {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|compressor| compressor.name() == name)
            .ok_or_else(|| format!("not one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}
