//! Blocks, the unit in which a device looks for what it has.

use crate::digest::Digest;

/// The size of a block, bytes: that of the blocks of almost all file systems, which is why files that move inside an
/// image still consist of the same blocks.
pub const BLOCK: usize = 4096;

/// A block of zeros. It is never fetched, and has no fingerprint.
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// What a block is told by: the first eight bytes of its SHA-256. An index may have fewer, see [`Width`](super::Width).
///
/// Enough to find blocks. That two of a billion have the same is as likely as winning a lottery, and costs a second
/// download: the sum of the whole image decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// What stands in the place of the fingerprint of a chunk of zeros.
    pub(super) const ZEROS: Self = Self(0);

    /// The fingerprint of `block`; `None` if it is all zeros.
    #[must_use]
    pub fn of(block: &[u8]) -> Option<Self> {
        (!is_zero(block)).then(|| Self::of_sum(&Digest::of(block)))
    }

    pub(crate) fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    pub(crate) fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// Its first `bytes` bytes, the others being zeros.
    pub(super) fn first(self, bytes: u8) -> Self {
        let dropped = 64_u32.saturating_sub(u32::from(bytes).saturating_mul(8));
        let mask = u64::MAX.checked_shl(dropped).unwrap_or(0);
        Self(self.0 & mask)
    }

    pub(super) fn of_sum(sum: &Digest) -> Self {
        let mut first = [0; 8];
        for (to, from) in first.iter_mut().zip(sum.as_bytes()) {
            *to = *from;
        }
        Self::from_bytes(first)
    }
}

/// Whether there is nothing but zeros in `block`.
pub(crate) fn is_zero(block: &[u8]) -> bool {
    block
        .chunks(BLOCK)
        .all(|chunk| ZEROS.get(..chunk.len()) == Some(chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_the_beginning_of_a_sum() {
        let print = Fingerprint::of(b"{\"format\":\"mender\",\"version\":3}").unwrap();
        assert_eq!(
            print.to_bytes(),
            [0x96, 0xbc, 0xd9, 0x65, 0x94, 0x75, 0x69, 0x40]
        );
        assert_eq!(Fingerprint::from_bytes(print.to_bytes()), print);
    }

    #[test]
    fn zeros_have_none() {
        assert_eq!(Fingerprint::of(&[0; BLOCK]), None);
        let mut block = [0; BLOCK];
        block[BLOCK - 1] = 1;
        assert!(Fingerprint::of(&block).is_some());
    }
}
