//! One copy of the environment as it lies on the medium.
//!
//! | offset | single copy | one of two copies |
//! |---|---|---|
//! | 0..4 | CRC-32 of the data, in the CPU's byte order | same |
//! | 4 | data | flags byte, outside the checksum |
//! | 5.. | data | data |
//!
//! The data is [`Env`]'s entries and then padding up to the size of the copy. Padding means nothing
//! but is part of what the checksum covers.

use crate::{Damage, Env, Error};

/// The data of a copy.
///
/// # Errors
/// [`Damage`] when the checksum does not fit the data, or when there is no room for a header.
pub fn data(image: &[u8], redundant: bool) -> Result<&[u8], Damage> {
    let data = image.get(header_size(redundant)..).ok_or(Damage::Short)?;
    let stored = image
        .first_chunk()
        .copied()
        .map(u32::from_ne_bytes)
        .ok_or(Damage::Short)?;
    let computed = crc32fast::hash(data);
    if stored == computed {
        Ok(data)
    } else {
        Err(Damage::Checksum { stored, computed })
    }
}

/// The flags byte of one of two copies; 0 when the image is too short for one. No checksum vouches
/// for it.
#[must_use]
pub fn flags(image: &[u8]) -> u8 {
    image.get(4).copied().unwrap_or(0)
}

/// Makes a copy of `size` bytes. `flags` is the flags byte of one of two copies.
///
/// The padding is zero.
/// DIFFERS: libubootenv leaves there what its heap held, so that its copies are not reproducible.
///
/// # Errors
/// [`Error::TooBig`] when the variables and the empty entry that ends them do not fit.
/// DIFFERS: libubootenv forgets that empty entry and `.flags`, and overruns its buffer by them.
pub fn build(env: &Env, size: usize, flags: Option<u8>) -> Result<Vec<u8>, Error> {
    let mut data = env.to_bytes();
    let available = size.saturating_sub(header_size(flags.is_some()));
    if data.len() > available {
        return Err(Error::TooBig {
            needed: data.len(),
            available,
        });
    }
    data.resize(available, 0);
    let mut image = Vec::with_capacity(size);
    image.extend_from_slice(&crc32fast::hash(&data).to_ne_bytes());
    image.extend(flags);
    image.extend_from_slice(&data);
    Ok(image)
}

/// Bytes before the data.
pub(crate) fn header_size(redundant: bool) -> usize {
    if redundant { 5 } else { 4 }
}

/// Where the flags byte of one of two copies lies.
pub(crate) const FLAGS_OFFSET: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn env_of(bytes: usize) -> Env {
        // "a=" + value + NUL + the last NUL
        let mut env = Env::new();
        env.set("a", "x".repeat(bytes.saturating_sub(4))).unwrap();
        env
    }

    #[test]
    fn an_exactly_full_environment_fits_and_one_byte_more_does_not() {
        for (flags, header) in [(None, 4), (Some(7), 5)] {
            let full = build(&env_of(256 - header), 256, flags).unwrap();
            assert_eq!(full.len(), 256);
            assert!(data(&full, flags.is_some()).is_ok());
            assert_eq!(super::flags(&full), flags.unwrap_or(b'a'));
            assert!(matches!(
                build(&env_of(257 - header), 256, flags),
                Err(Error::TooBig { needed, available }) if needed == available + 1
            ));
        }
    }

    #[test]
    fn every_flipped_bit_but_those_of_the_flags_is_noticed() {
        let image = build(&env_of(40), 64, Some(1)).unwrap();
        for bit in 0..64 * 8 {
            let mut hurt = image.clone();
            hurt[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(data(&hurt, true).is_ok(), bit / 8 == 4, "bit {bit}");
        }
    }

    #[test]
    fn no_length_of_image_is_a_panic() {
        for length in 0..8 {
            for redundant in [false, true] {
                let _ = data(&vec![0; length], redundant);
                let _ = build(&Env::new(), length, redundant.then_some(0));
            }
        }
    }
}
