//! SHA-256, the only hash of the format.
//!
//! Everything that hashes goes through here, so that the implementation can be exchanged in one place. It is ring's,
//! which takes the processor's own instructions where it has some: SHA extensions on x86_64 and aarch64, NEON on armv7.

use std::fmt;
use std::str::FromStr;

/// A SHA-256 sum. Written as the manifest writes it: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The sum of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut sha256 = Sha256::new();
        sha256.update(bytes);
        sha256.finish()
    }

    /// The sum that these bytes are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the sum.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotADigest;

impl fmt::Display for NotADigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a SHA-256 sum is 64 lower-case hexadecimal digits")
    }
}

impl std::error::Error for NotADigest {}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let mut sum = [0; 32];
        if text.len() != 64 {
            return Err(NotADigest);
        }
        for (byte, pair) in sum.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let &[high, low] = pair else {
                return Err(NotADigest);
            };
            *byte = nibble(high)? << 4 | nibble(low)?;
        }
        Ok(Self(sum))
    }
}

/// A running SHA-256.
#[derive(Clone)]
// In a box: it has 200 bytes, and what owns one is handed around.
pub struct Sha256(Box<ring::digest::Context>);

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl Sha256 {
    /// Nothing hashed yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Box::new(ring::digest::Context::new(&ring::digest::SHA256)))
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum of everything added.
    #[must_use]
    pub fn finish(self) -> Digest {
        let mut sum = [0; 32];
        // As long as each other; a byte more or less would be no SHA-256.
        for (byte, of_ring) in sum.iter_mut().zip(self.0.finish().as_ref()) {
            *byte = *of_ring;
        }
        Digest(sum)
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256(..)")
    }
}

fn nibble(digit: u8) -> Result<u8, NotADigest> {
    match digit {
        b'0'..=b'9' => Ok(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Ok(digit.wrapping_sub(b'a').wrapping_add(10)),
        _ => Err(NotADigest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_read_back_as_it_is_written() {
        let sum = Digest::of(br#"{"format":"mender","version":3}"#);
        let text = "96bcd965947569404798bcbdb614f103db5a004eb6e364cfc162c146890ea35b";
        assert_eq!(sum.to_string(), text);
        assert_eq!(text.parse(), Ok(sum));
    }

    #[test]
    fn only_64_lower_case_digits_are_a_sum() {
        let good = "0".repeat(64);
        for bad in [
            "",
            "0",
            &"0".repeat(63),
            &"0".repeat(65),
            &"A".repeat(64),
            &"g".repeat(64),
        ] {
            assert_eq!(bad.parse::<Digest>(), Err(NotADigest), "{bad}");
        }
        assert!(good.parse::<Digest>().is_ok());
        assert!(format!("{}é", "0".repeat(62)).parse::<Digest>().is_err());
    }
}
