//! How the image is compressed on its way.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;

use crate::lab::Lab;
use crate::sample::Image;

/// A compression that every program has, in one form or another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    /// Not at all.
    None,
    /// Level 5.
    Gzip,
    /// A dictionary of 8 MiB, found quickly: how long that takes does not matter here.
    Xz,
    /// Level 8.
    Zstd,
}

impl Compression {
    /// All.
    pub(crate) const ALL: [Compression; 4] = [
        Compression::None,
        Compression::Gzip,
        Compression::Xz,
        Compression::Zstd,
    ];

    /// The image alone, compressed as this says.
    pub(crate) fn of_image(self, lab: &Lab, image: &Image) -> Result<PathBuf> {
        if self == Compression::None {
            return Ok(image.path.clone());
        }
        let name = format!("rootfs-{}.{self}", image.mib);
        lab.workplace.once(&name, |path: &Path| {
            let mut command = self.file(&image.path, path);
            lab.interrupt.run(&mut command).map(drop)
        })
    }

    /// The command that compresses the file `from` into the file `to`.
    pub(crate) fn file(self, from: &Path, to: &Path) -> Command {
        let how = match self {
            Compression::None => "cat",
            Compression::Gzip => "gzip --no-name -5 --stdout",
            Compression::Xz => "xz --threads=2 --lzma2=preset=1,dict=8MiB --stdout",
            Compression::Zstd => "zstd --quiet -8 --stdout",
        };
        // Not each of them has an option to name its output.
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {how} \"$1\" > \"$2\""), "sh"]);
        command.arg(from).arg(to);
        command
    }

    /// The words that decompress a file to standard output.
    pub(crate) fn undo(self) -> &'static [&'static str] {
        match self {
            Compression::None => &["cat"],
            Compression::Gzip => &["gzip", "--decompress", "--stdout"],
            Compression::Xz => &["xz", "--threads=1", "--decompress", "--stdout"],
            Compression::Zstd => &["zstd", "--quiet", "--decompress", "--stdout"],
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Xz => "xz",
            Compression::Zstd => "zstd",
        })
    }
}
