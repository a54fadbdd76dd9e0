//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::case::{Case, Source};
use crate::compression::Compression;
use crate::contender::Kind;
use crate::inside::Inside;

/// What installing costs, beside the peers, and whether that is within the budget
///
/// Needs root and Debian 12. Nothing is left on the machine but what --dir and --out name.
#[derive(Parser)]
#[command(name = "bench", after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Install the same image with the agent and with the peers, in turn
    #[command(after_help = PEERS, args_override_self = true)]
    Install(Install),
    /// Weigh the programs, and see whether memory grows with the artifact
    #[command(args_override_self = true)]
    Size(Size),
    /// Tell what of a program takes its room, by dependency
    Table(Table),
    /// Run a command on the device
    #[command(hide = true)]
    Inside(Inside),
}

#[derive(Args)]
pub(crate) struct Install {
    #[command(flatten)]
    pub(crate) common: Common,
    /// How many times each program installs each artifact
    #[arg(long, default_value_t = 3, default_value_if("quick", "true", "1"))]
    pub(crate) rounds: usize,
    /// Only artifacts from there
    #[arg(long, value_name = "SOURCE", value_delimiter = ',')]
    pub(crate) from: Option<Vec<Source>>,
    /// The peers to compare with, which may be none; default: those that are installed
    #[arg(long, value_name = "PEER", value_delimiter = ',', num_args = 0..)]
    pub(crate) peers: Option<Vec<Kind>>,
    /// Mender's newest client; default: the one in PATH, if any
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) mender_update: Option<PathBuf>,
    /// Rugix's `rugix-ctrl`, with `rugix-bundler` beside it; default: the one in PATH, if any
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) rugix: Option<PathBuf>,
    /// An earlier build of the agent, to compare with as well
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) before: Option<PathBuf>,
}

impl Install {
    /// Everything that is to be installed.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let sources = self.from.as_deref().unwrap_or(&Source::ALL);
        let compressions = self.common.compressions().iter();
        compressions
            .flat_map(|&compression| {
                sources.iter().map(move |&source| Case {
                    compression,
                    source,
                })
            })
            .collect()
    }

    /// Whether that is installed in this round. Decompressing xz takes longer than all the rest, and is the same for
    /// all: every other round is enough, and over TLS, which shows in nothing but memory, one.
    pub(crate) fn takes_part(&self, case: Case, round: usize) -> bool {
        match (case.compression, case.source) {
            (Compression::Xz, Source::Tls) => round == 1,
            (Compression::Xz, Source::File) => round % 2 == 1,
            (Compression::None | Compression::Gzip | Compression::Zstd, _) => true,
        }
    }
}

#[derive(Args)]
pub(crate) struct Size {
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args)]
pub(crate) struct Table {
    /// The program, with its symbols
    pub(crate) program: PathBuf,
    /// Write the table to this file as well (Markdown)
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Common {
    /// The agent; default: the one beside this program
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) tandem: Option<PathBuf>,
    /// What writes the artifacts; default: the one beside this program
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) tandem_artifact: Option<PathBuf>,
    /// A small image, and few rounds: shows that everything works, not what it costs
    #[arg(long)]
    pub(crate) quick: bool,
    /// The size of the image, which is also that of the slot in memory
    #[arg(long, alias = "size", value_name = "MIB", default_value_t = 1024,
          default_value_if("quick", "true", "64"),
          value_parser = clap::value_parser!(u64).range(16..=1 << 20))]
    pub(crate) size_mib: u64,
    /// Only these compressions
    #[arg(long, value_name = "COMPRESSION", value_delimiter = ',')]
    pub(crate) only: Option<Vec<Compression>>,
    /// Work here, and keep images and artifacts for the next time; default: a new directory in
    /// /var/tmp, which is removed
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Write the report to this file as well (Markdown), and its pictures beside it (SVG)
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Exit with code 1 when the budget is not met, or cannot be shown to be met
    #[arg(long)]
    pub(crate) strict: bool,
}

impl Common {
    /// The compressions that were asked for.
    pub(crate) fn compressions(&self) -> &[Compression] {
        self.only.as_deref().unwrap_or(&Compression::ALL)
    }
}

const EXAMPLES: &str = "\
Examples, by ./check, which builds what a device gets and installs the peers:
  ./check bench --mender-update ../mender/mender-update
  ./check bench --quick
  ./check bench --rounds 1 --size 256
  ./check bench install --only none,zstd --from file --dir /var/tmp/bench
  ./check bench size

Exit codes:
  0  everything ran, and every slot had the right content
  1  something did not, or (with --strict) the budget is not met
  2  the command line cannot be understood";

const PEERS: &str = "\
Debian packages: mender-client, swupdate, rauc (with squashfs-tools, dbus), libubootenv-tool, cpio,
gzip, xz-utils, zstd, openssl, nginx-light, curl, strace, e2fsprogs, util-linux.

Mender's newest client is looked for with mender-flash and modules/v3/rootfs-image in its directory;
without the latter it uses the module where it was built to look for it.";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &[&str], size_mib: u64, rounds: usize) {
        let words = ["bench", "install"].iter().chain(words);
        let Verb::Install(options) = Cli::try_parse_from(words).unwrap().verb else {
            panic!("another verb");
        };
        let found = (options.common.size_mib, options.rounds);
        assert_eq!(found, (size_mib, rounds));
    }

    #[test]
    fn what_is_said_goes_before_quick_and_the_last_word_counts() {
        check(&[], 1024, 3);
        check(&["--quick"], 64, 1);
        check(&["--quick", "--size-mib", "128"], 128, 1);
        check(&["--rounds", "1", "--size", "256"], 256, 1);
        check(&["--rounds", "3", "--rounds", "1"], 1024, 1);
    }
}
