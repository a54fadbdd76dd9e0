//! What a device fetches. Pure.

use super::build::Hint;
use super::chunk_search::ChunkSearch;
use super::search::Search;
use super::section::{Division, Section};
use super::wanted::COALESCE;

/// What a device fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Bytes of frames.
    pub frames: u64,
    /// Bytes of the index.
    pub index: u64,
    /// Requests, the one for the artifact's header included.
    pub requests: u64,
}

impl Cost {
    /// What a request costs beside what it asks for, bytes: the heads of question and answer inside TLS.
    pub const REQUEST: u64 = 600;

    /// What a device fetches that has the image `base`, and nothing else.
    #[must_use]
    pub fn of(sections: &[Section], base: &Hint) -> Self {
        let mut cost = Self {
            requests: 1,
            ..Self::default()
        };
        for section in sections {
            let wanted = match section.division() {
                Division::Blocks(blocks) => {
                    let mut search = Search::new(section, blocks);
                    for print in &base.blocks {
                        search.running(0, *print);
                    }
                    search.plan().into_wanted()
                }
                Division::Chunks(chunks) => {
                    let mut search = ChunkSearch::new(section, chunks);
                    for print in &base.chunks {
                        search.running(0, *print);
                    }
                    search.plan().into_wanted()
                }
            };
            for run in wanted.runs(section, COALESCE) {
                let bytes = run.bytes.end.saturating_sub(run.bytes.start);
                cost.frames = cost.frames.saturating_add(bytes);
                cost.requests = cost.requests.saturating_add(1);
            }
            cost.index = cost.index.saturating_add(section.to_bytes().len() as u64);
            cost.requests = cost.requests.saturating_add(1);
        }
        cost
    }

    /// All bytes, those around requests too.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let requests = self.requests.saturating_mul(Self::REQUEST);
        self.frames
            .saturating_add(self.index)
            .saturating_add(requests)
    }
}
