//! What one look at the stored environment finds.

use std::fmt;
use std::path::PathBuf;

use crate::{Env, Place};

/// The environment as it was found: what counts, and how each copy is.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The variables of the current copy; `None` when no copy is good. U-Boot then boots with the
    /// environment compiled into it, which Linux cannot see.
    pub env: Option<Env>,
    /// Which copy that is (0 or 1).
    pub current: Option<usize>,
    /// The copies in the order of the configuration: one, or two.
    pub copies: Vec<Health>,
    /// What a person should know. Nothing here keeps the environment from working today.
    pub warnings: Vec<Warning>,
    /// The flags byte that the next written copy gets.
    pub(crate) next_flags: u8,
}

impl Snapshot {
    /// Whether there are two copies, so that a write cannot lose the environment.
    #[must_use]
    pub fn redundant(&self) -> bool {
        self.copies.len() > 1
    }

    /// Whether a copy is not as it should be. The next write goes to it and makes it good.
    #[must_use]
    pub fn damaged(&self) -> bool {
        self.copies.iter().any(|health| *health != Health::Good)
    }
}

/// How one copy was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Its checksum is right.
    Good,
    /// It cannot be used: never written, torn by a power cut, or worn out.
    Damaged(Damage),
    /// The medium ends before the copy does.
    Missing,
}

impl fmt::Display for Health {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => write!(out, "good"),
            Self::Damaged(damage) => write!(out, "damaged ({damage})"),
            Self::Missing => write!(out, "missing (the medium ends before it)"),
        }
    }
}

/// Why a copy cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The checksum in the copy is not that of its data.
    Checksum {
        /// As the copy has it.
        stored: u32,
        /// As the data gives it.
        computed: u32,
    },
    /// The copy is shorter than its header.
    Short,
    /// The medium would not give the bytes: a bad block too many, an interrupted UBI update.
    Unreadable(String),
}

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checksum { stored, computed } => {
                write!(out, "checksum {stored:08x} stored, {computed:08x} computed")
            }
            Self::Short => write!(out, "shorter than its header"),
            Self::Unreadable(reason) => write!(out, "unreadable: {reason}"),
        }
    }
}

/// Something that a person should know although all works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// There is one copy only: a power cut during a write can lose the environment.
    SingleCopy(Place),
    /// One of two copies cannot be used; the next write repairs it.
    Unusable(Place, Health),
    /// One of two copies could not be used; this write repaired it.
    Repaired(Place, Health),
    /// Offset or size is no multiple of 512: a copy may share a sector with its neighbour.
    Misaligned(Place),
    /// The copy does not fill its erase blocks: what else lies in them is erased and written back
    /// with each write, and a power cut in between loses it.
    SharesEraseBlock(Place),
    /// A variable has an empty name: U-Boot refuses the whole environment because of it.
    EmptyName,
    /// The lock file could not be used, so other programs are not kept out.
    NoLock {
        /// The lock file.
        path: PathBuf,
        /// What the kernel said.
        reason: String,
    },
    /// The device was made writable for the write and could not be protected again.
    NotProtectedAgain(Place, String),
}

impl Warning {
    /// What becomes of a warning once the copy at `place` has been written.
    pub(crate) fn repaired(&mut self, place: &Place) {
        if let Self::Unusable(damaged, health) = self {
            if damaged == place {
                *self = Self::Repaired(damaged.clone(), health.clone());
            }
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SingleCopy(place) => write!(
                out,
                "the environment has a single copy ({place}): a power cut during a write can \
                 lose it; configure a second one in U-Boot and in fw_env.config"
            ),
            Self::Unusable(place, health) => {
                write!(
                    out,
                    "the copy {place} is {health}; the next write repairs it"
                )
            }
            Self::Repaired(place, health) => {
                write!(out, "the copy {place} was {health} and has been repaired")
            }
            Self::Misaligned(place) => {
                write!(
                    out,
                    "the copy {place} does not start and end on a 512-byte sector"
                )
            }
            Self::SharesEraseBlock(place) => write!(
                out,
                "the copy {place} shares erase blocks with other data, which a power cut during \
                 a write can lose"
            ),
            Self::EmptyName => write!(
                out,
                "the environment holds a variable with an empty name, which makes U-Boot refuse \
                 all of it; remove it with: fw_setenv ''"
            ),
            Self::NoLock { path, reason } => write!(
                out,
                "working without the lock file {}, other programs are not kept out: {reason}",
                path.display()
            ),
            Self::NotProtectedAgain(place, reason) => {
                write!(out, "the device of {place} stays writable: {reason}")
            }
        }
    }
}
