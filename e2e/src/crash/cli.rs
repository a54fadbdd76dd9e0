//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::cuts::{Caches, Draws};
use crate::entry::Entry;
use crate::peer::Peer;
use crate::phase::Phase;
use crate::story::Story;

/// Records whole updates of a virtual device block by block, cuts the power at every point, and
/// looks whether the device is well afterwards
#[derive(Debug, Parser)]
#[command(name = "crash", after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
    /// Where the random choices begin
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Random subsets of the unflushed writes to try after each event
    #[arg(long, default_value_t = 3)]
    pub(crate) subsets: usize,
    /// Points at which to tear each write
    #[arg(long, default_value_t = 4)]
    pub(crate) tears: usize,
    /// Try only every so manieth cut
    #[arg(long, default_value_t = 1)]
    pub(crate) every: usize,
    /// After every so manieth cut, do one more update
    #[arg(long, default_value_t = 10)]
    pub(crate) next_update: usize,
    /// Only these stories
    #[arg(long = "story", value_enum)]
    pub(crate) stories: Vec<Story>,
    /// Only cuts in these phases
    #[arg(long = "phase", value_enum)]
    pub(crate) phases: Vec<Phase>,
    /// Only this option of the data partition's mount
    #[arg(long)]
    pub(crate) mount_option: Option<String>,
    /// End at the first violation
    #[arg(long)]
    pub(crate) first: bool,
    /// Instead, compare our fw_setenv with libubootenv's
    #[arg(long)]
    pub(crate) environment: bool,
    /// Instead, record an update with each of these programs beside each other
    #[arg(long = "peer", value_enum, value_delimiter = ',')]
    pub(crate) peers: Vec<Peer>,
    /// How many cuts to try at the same time
    #[arg(long, default_value_t = 2)]
    pub(crate) jobs: usize,
    /// The agent; without it, the one that was built beside this program
    #[arg(long)]
    pub(crate) tandem: Option<PathBuf>,
    /// A directory for the images, best in memory
    #[arg(long, default_value = "/dev/shm")]
    pub(crate) work: PathBuf,
}

/// What the program does in a process of its own.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Runs a command on a device
    #[command(hide = true)]
    Inside(Entry),
}

impl Cli {
    /// How many states to draw at each event.
    pub(crate) const fn draws(&self) -> Draws {
        Draws {
            subsets: self.subsets,
            tears: self.tears,
            caches: Caches::Each,
        }
    }
}

const EXAMPLES: &str = "\
Needs root: it mounts what it records, in a mount namespace of its own.

Examples:
  crash                                    all stories, both mount options
  crash --every 12 --subsets 1 --tears 1   a quick look
  crash --seed 7 --subsets 20              other and more subsets
  crash --story commit --mount-option noauto_da_alloc --first
  crash --peer tandem,mender,swupdate,rauc the same for peers that are installed

Exit codes: 0 no violation, 1 a violation, 2 it could not be tried";
