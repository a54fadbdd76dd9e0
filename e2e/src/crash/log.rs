//! What happened to the device's media: every write, every flush, and what the device was doing.

use crate::phase::Phase;

/// One medium of the device. Each has a cache of its own, so that a flush of one does not make
/// durable what another holds: every state of a single disk is then among those tried, and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    /// Both copies of the boot environment.
    Environment,
    /// Root part A.
    RootA,
    /// Root part B.
    RootB,
    /// The persistent data partition, ext4 with a journal.
    Data,
}

impl Medium {
    /// All of them, in the order of their indices.
    pub(crate) const ALL: [Medium; 4] = [
        Medium::Environment,
        Medium::RootA,
        Medium::RootB,
        Medium::Data,
    ];

    /// The name of its file.
    pub(crate) const fn file(self) -> &'static str {
        match self {
            Medium::Environment => "environment",
            Medium::RootA => "root2",
            Medium::RootB => "root3",
            Medium::Data => "data",
        }
    }

    /// Bytes that reach it together or not at all. An ext4 file system is not made for tears inside
    /// of its blocks (a torn superblock does not mount); raw media are torn at every sector.
    pub(crate) const fn unit(self) -> usize {
        match self {
            Medium::Environment | Medium::RootA | Medium::RootB => 512,
            Medium::Data => 4096,
        }
    }

    /// Its place in [`Medium::ALL`].
    pub(crate) const fn index(self) -> usize {
        match self {
            Medium::Environment => 0,
            Medium::RootA => 1,
            Medium::RootB => 2,
            Medium::Data => 3,
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Bytes were given to a medium.
    Write {
        /// To which.
        medium: Medium,
        /// From which byte on.
        offset: usize,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A medium was told to make durable what it was given.
    Flush(Medium),
    /// The device begins with something; what went before is acknowledged.
    Mark(Phase),
}

/// The content of the media.
pub(crate) type Media = [Vec<u8>; 4];

/// A recording: what the media held at the beginning, and what happened then.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    /// The content at the beginning.
    pub(crate) before: Media,
    /// What happened, in order.
    pub(crate) events: Vec<Event>,
}

impl Log {
    /// How many writes and flushes it holds.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let count = |wanted: fn(&&Event) -> bool| self.events.iter().filter(wanted).count();
        (
            count(|event| matches!(event, Event::Write { .. })),
            count(|event| matches!(event, Event::Flush(_))),
        )
    }
}
