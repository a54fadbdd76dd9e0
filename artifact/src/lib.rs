//! Mender artifact format v3: read, verify, write and sign.
//!
//! An artifact is one uncompressed tar archive, its members in this order and no other:
//!
//! ```text
//! version                     {"format":"mender","version":3}
//! manifest                    SHA-256 of everything below and of version; what the signature covers
//! manifest.sig                base64; only if signed
//! header.tar[.gz|.xz|.zst]    header-info              name, payload type, depends, provides
//!                             scripts/STATE_ACTION_NN  state scripts, any number
//!                             headers/0000/type-info   depends, provides, clears-provides of the payload
//!                             headers/0000/meta-data   JSON for the update module, or not
//! data/0000.tar[.gz|.xz|.zst] the payload files, flat
//! ```
//!
//! [`Artifact`] reads one from any [`Read`](std::io::Read), front to back, in constant memory and without temporary
//! files, and hands out the payload as streams that are checked while they are read. [`Draft`] writes one.
//! [`Change`] and [`Depends`] are the rules by which an artifact fits a device and changes it. The facts about the
//! format are in the specification of Mender's artifacts, version 3; where we refuse more than Mender does, the reason
//! stands at the place: what two readers could understand differently is refused.

mod artifact;
mod checked;
mod compression;
mod content;
mod decode;
mod depends;
mod der;
mod digest;
mod draft;
mod encode;
mod error;
#[cfg(feature = "zstd")]
pub mod framed;
mod header;
mod header_facts;
mod header_read;
mod json;
mod key_pem;
mod limits;
mod manifest;
mod name;
mod order;
mod pax;
mod payload_file;
mod pem;
mod provides;
mod sign;
mod signature;
mod signer;
mod software;
mod tar_header;
mod tar_read;
mod tar_write;
mod write;

pub use artifact::{Artifact, Summary};
pub use checked::{Check, Verified};
pub use compression::{Compression, Compressor};
pub use content::Content;
pub use depends::{Depends, Mismatch};
pub use digest::{Digest, NotADigest, Sha256};
pub use draft::Draft;
pub use error::{Error, Kind};
pub use header::{Header, Parts, Script};
pub use limits::Limits;
pub use manifest::Manifest;
pub use name::{FileName, PayloadType, ScriptName};
pub use payload_file::{PayloadFile, PayloadFileInfo, UncheckedFile};
pub use provides::{ARTIFACT_GROUP, ARTIFACT_NAME, Change, Provides, matches};
pub use sign::{Existing, sign};
pub use signature::{Algorithm, PublicKey, SignatureStatus, Verification};
pub use signer::Signer;
pub use software::{ROOTFS_CHECKSUM, ROOTFS_CHECKSUM_LEGACY, Software};
pub use write::Writer;
