//! Randomness, and what is made of it.

use ring::rand::{SecureRandom, SystemRandom};

use crate::store::Id;

/// Random bytes that nobody can guess.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(
        clippy::expect_used,
        reason = "without randomness no key, token or identifier may be made: nothing can go on"
    )]
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the kernel gives randomness");
    bytes
}

/// A new identifier.
#[must_use]
pub fn new_id() -> Id {
    uuid::Builder::from_random_bytes(random()).into_uuid()
}

/// A password that can be read out over the telephone: five groups of four characters, 100 bits.
#[must_use]
pub fn password() -> String {
    // 32 characters, none of which looks like another.
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut text = String::new();
    for (n, byte) in random::<20>().into_iter().enumerate() {
        if n > 0 && n % 4 == 0 {
            text.push('-');
        }
        let character = ALPHABET.get(usize::from(byte & 31)).copied();
        text.push(char::from(character.unwrap_or(b'x')));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_long_and_never_the_same() {
        let (one, other) = (password(), password());
        assert_ne!(one, other);
        assert_eq!(one.len(), 24);
        assert!(
            one.chars()
                .all(|c| c == '-' || c.is_ascii_lowercase() || c.is_ascii_digit())
        );
    }

    #[test]
    fn an_identifier_is_a_random_uuid() {
        assert_eq!(new_id().get_version_num(), 4);
        assert_ne!(new_id(), new_id());
    }
}
