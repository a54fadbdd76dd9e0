//! Identities that depend on nothing but a seed.

use std::fmt;

use sha2::{Digest, Sha256};

/// A UUID of version 8 (RFC 9562): its bits are the maker's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uuid([u8; 16]);

impl Uuid {
    /// The identity that belongs to `seed`.
    pub(crate) fn from_seed(seed: &str) -> Uuid {
        let hash = Sha256::digest(seed.as_bytes());
        let mut bytes: [u8; 16] = hash.first_chunk().copied().unwrap_or_default();
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Uuid(bytes)
    }

    /// Its first four bytes, for identities that are no longer.
    pub(crate) fn short(self) -> u32 {
        self.0.first_chunk().copied().map_or(0, u32::from_be_bytes)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
