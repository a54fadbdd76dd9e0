//! Where a signed artifact says what its index is: a flat key of its meta-data, which other readers pass over.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::Error;
use crate::header::Header;
use crate::json;

#[derive(Serialize, Deserialize)]
struct MetaData {
    /// The SHA-256 of the content of the index's first section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tandem_index_sha256: Option<String>,
}

/// The meta-data of an artifact whose index begins with a section of this sum.
pub(super) fn to_bytes(sum: Digest) -> Result<Vec<u8>, Error> {
    json::to_bytes(&MetaData {
        tandem_index_sha256: Some(sum.to_string()),
    })
}

/// The sum in the meta-data of `header`; `None` if nobody vouches for an index.
pub(super) fn index_sum(header: &Header) -> Result<Option<Digest>, Error> {
    const MEMBER: &str = "meta-data";
    let Some(bytes) = header.meta_data() else {
        return Ok(None);
    };
    let MetaData {
        tandem_index_sha256: sum,
    } = json::parse(MEMBER, bytes)?;
    sum.map(|sum| {
        sum.parse().map_err(|_| {
            Error::malformed(
                MEMBER,
                "has a tandem_index_sha256 that is not a SHA-256 sum",
            )
        })
    })
    .transpose()
}
