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
    /// Level 8.
    Zstd,
}

impl Compression {
    /// All.
    pub(crate) const ALL: [Compression; 3] =
        [Compression::None, Compression::Gzip, Compression::Zstd];

    /// The image alone, compressed as this says.
    pub(crate) fn of_image(self, lab: &Lab, image: &Image) -> Result<PathBuf> {
        let mut command = match self {
            Compression::None => return Ok(image.path.clone()),
            Compression::Gzip => {
                // gzip has no option to name its output.
                let mut command = Command::new("sh");
                command.args(["-c", "gzip --no-name -5 --stdout \"$1\" > \"$2\"", "sh"]);
                command
            }
            Compression::Zstd => {
                let mut command = Command::new("zstd");
                command.args(["--quiet", "--force", "-8"]);
                command
            }
        };
        let name = format!("rootfs-{}.{self}", image.mib);
        lab.workplace.once(&name, |path: &Path| {
            command.arg(&image.path);
            if self == Compression::Zstd {
                command.arg("-o");
            }
            lab.interrupt.run(command.arg(path)).map(drop)
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        })
    }
}
