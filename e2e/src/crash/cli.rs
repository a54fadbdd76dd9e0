//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::cuts::Draws;
use crate::phase::Phase;
use crate::story::Story;

/// Records whole updates of a virtual device block by block, cuts the power at every point, and
/// looks whether the device is well afterwards
#[derive(Debug, Parser)]
#[command(name = "crash", after_help = EXAMPLES)]
pub(crate) struct Cli {
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

impl Cli {
    /// How many states to draw at each event.
    pub(crate) const fn draws(&self) -> Draws {
        Draws {
            subsets: self.subsets,
            tears: self.tears,
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

Exit codes: 0 no violation, 1 a violation, 2 it could not be tried";
