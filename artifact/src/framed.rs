//! Framed payloads: an ordinary zstd payload, made of many independent frames with an index of its blocks, so that a
//! device fetches only what it does not have.
//!
//! ```text
//! data/0000.tar.zst
//!   frame               the header of the image in the payload archive
//!   skippable frame     a section of the index                             } any number
//!   frames              the part of the image that the section describes   } of times
//!   frame               the end of the payload archive
//! ```
//!
//! Every other reader sees one zstd stream, since concatenated frames are one content and skippable ones are none. Each
//! data frame holds whole blocks of [`BLOCK`] bytes, or whole [`Chunk`]s, which end where their content says; it says how
//! many bytes that is, and has a checksum. [`Section`] has the layout of the index, [`Search`] and [`ChunkSearch`] find
//! what is on a device, [`Plan`] and [`ChunkPlan`] say where the rest comes from, [`Wanted`] which frames are to be
//! fetched, [`Layout`] makes such a payload.
//!
//! The index needs no trust. An artifact that was [written](FramedWriter) framed has the sum of its first section in
//! its meta-data, each section has that of the next one, and so the signature covers all of them. One that was
//! [reframed](reframe()) has no such sum: then nothing vouches for the index, which can only waste work, since the
//! checksum of the whole image in the signed manifest is compared with what stands in the slot.

mod bits;
mod block;
mod build;
mod chunk;
mod chunk_plan;
mod chunk_search;
mod compress;
mod cost;
mod cut;
mod image;
mod meta_data;
mod opening;
mod plan;
mod prints;
mod reframe;
mod search;
mod section;
mod units;
mod unpack;
mod wanted;
mod write;

pub use block::{BLOCK, Fingerprint};
pub use build::{Built, Hint, HintUse, Index, Layout};
pub use chunk::{Chunk, Chunker, MAX_CHUNK};
pub use chunk_plan::{ChunkPlace, ChunkPlan};
pub use chunk_search::ChunkSearch;
pub use cost::Cost;
pub use cut::UNIFORM;
pub use image::Image;
pub use opening::{Framed, SectionAt, sections};
pub use plan::{Place, Plan};
pub use prints::Width;
pub use reframe::reframe;
pub use search::Search;
pub use section::{Blocks, Chunks, Division, Expected, Frame, Section};
pub use unpack::Unpacker;
pub use wanted::{COALESCE, Run, Wanted};
pub use write::FramedWriter;

pub(crate) use opening::{OPENING, open};
