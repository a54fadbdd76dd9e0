//! Passwords: kept as argon2id hashes, compared one after the other.

use std::sync::Arc;

use argon2::password_hash::SaltString;
use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::Semaphore;

use crate::secret::random;

/// Hashes passwords. Each takes 19 MiB and some ten milliseconds, so only one is worked on at a time.
pub struct Passwords {
    turn: Arc<Semaphore>,
    queue: Semaphore,
    /// Compared with when there is no such user, so that this takes as long.
    nobody: String,
}

/// Sign-ins that may wait for their turn.
const QUEUE: usize = 32;

/// Bytes of a password.
const LENGTH: std::ops::RangeInclusive<usize> = 8..=256;

/// Too many wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

impl Default for Passwords {
    fn default() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            queue: Semaphore::new(QUEUE),
            // The hash of something that nobody knows, made with the parameters below.
            nobody: "$argon2id$v=19$m=19456,t=2,p=1$c29tZXRoaW5nc2FsdHk$\
                     4Sc7GTVYVxxtnTDNQWmO5rVGrbKHR8zoKPp2Zw1zPdM"
                .to_owned(),
        }
    }
}

impl Passwords {
    /// The hash of a password, to be kept.
    ///
    /// # Errors
    /// [`Busy`] if too many wait.
    pub async fn hash(&self, password: String) -> Result<String, Busy> {
        self.work(move || hash(&password)).await?.ok_or(Busy)
    }

    /// Whether `password` is the one of which `hash` was kept; without a hash it never is, and takes as long.
    ///
    /// # Errors
    /// [`Busy`] if too many wait.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Busy> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.clone());
        self.work(move || verify(&password, &hash))
            .await
            .map(|right| right && known)
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let _place = self.queue.try_acquire().map_err(|_| Busy)?;
        let turn = Arc::clone(&self.turn)
            .acquire_owned()
            .await
            .map_err(|_| Busy)?;
        let worked = tokio::task::spawn_blocking(move || {
            // The turn is over when the work is, also if the request that wanted it is gone.
            let _turn = turn;
            work()
        });
        worked.await.map_err(|_| Busy)
    }
}

/// Why a password cannot be taken, if it cannot.
#[must_use]
pub fn unusable(password: &str) -> Option<String> {
    if !LENGTH.contains(&password.len()) {
        return Some(format!(
            "a password has {} to {} characters",
            LENGTH.start(),
            LENGTH.end()
        ));
    }
    if password.contains(char::is_control) {
        return Some("a password has no control characters".to_owned());
    }
    None
}

/// The hash of a password, to be kept; for a program that does nothing else meanwhile.
#[must_use]
pub fn hash(password: &str) -> Option<String> {
    let salt = SaltString::encode_b64(&random::<16>()).ok()?;
    let hash = argon2id()?.hash_password(password.as_bytes(), &salt).ok()?;
    Some(hash.to_string())
}

fn verify(password: &str, hash: &str) -> bool {
    let Ok(parsed) = PasswordHash::new(hash) else {
        return false;
    };
    argon2id().is_some_and(|argon2| argon2.verify_password(password.as_bytes(), &parsed).is_ok())
}

/// The parameters that OWASP recommends: 19 MiB, two passes.
fn argon2id() -> Option<Argon2<'static>> {
    let params = Params::new(19_456, 2, 1, None).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_is_the_password() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let verify =
            |password: &str, hash: Option<String>| passwords.verify(password.to_owned(), hash);
        assert_eq!(verify("correct horse", Some(hash.clone())).await, Ok(true));
        assert_eq!(verify("correct hors", Some(hash.clone())).await, Ok(false));
        assert_eq!(verify("", Some(hash)).await, Ok(false));
        assert_eq!(
            verify("correct horse", Some("plain".to_owned())).await,
            Ok(false)
        );
        assert_eq!(verify("correct horse", None).await, Ok(false));
    }

    #[test]
    fn the_hash_of_nobody_is_well_formed() {
        let nobody = Passwords::default().nobody;
        let parsed = PasswordHash::new(&nobody).unwrap();
        assert!(Params::try_from(&parsed).is_ok());
        assert!(!verify("", &nobody));
    }

    #[test]
    fn short_and_endless_passwords_are_refused() {
        assert!(unusable("1234567").is_some());
        assert!(unusable("12345678").is_none());
        assert!(unusable(&"x".repeat(257)).is_some());
        assert!(unusable("new\nline-").is_some());
    }
}
