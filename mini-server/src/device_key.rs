//! The public keys of devices.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tandem_artifact::{Digest, PublicKey};

use crate::pem;

/// The public key of a device: RSA (PKCS#1 v1.5, SHA-256), ECDSA P-256 (SHA-256, DER) or Ed25519.
pub struct DeviceKey {
    key: PublicKey,
    pem: String,
}

impl DeviceKey {
    /// Reads a PEM `PUBLIC KEY`.
    ///
    /// # Errors
    /// With the reason, if it is none or of a kind that is not supported.
    pub fn parse(text: &str) -> Result<Self, String> {
        let key = PublicKey::from_pem("pubkey", text.as_bytes()).map_err(|err| err.to_string())?;
        // The reader above has seen exactly one block, with these marks and good base64 between them.
        let content: String = text
            .split(BEGIN)
            .nth(1)
            .and_then(|rest| rest.split(END).next())
            .unwrap_or_default()
            .split_ascii_whitespace()
            .collect();
        let der = STANDARD
            .decode(content)
            .map_err(|_| "pubkey is damaged".to_owned())?;
        Ok(Self {
            key,
            pem: pem::encode("PUBLIC KEY", &der),
        })
    }

    /// The key in its normal form.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Whether the device that has the private key signed `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verifies(message, signature)
    }
}

/// The SHA-256 of a key, as `openssl pkey -pubin -outform DER | sha256sum` has it on the device.
#[must_use]
pub fn fingerprint(pem: &str) -> String {
    let content: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    STANDARD
        .decode(content)
        .map_or(String::new(), |der| Digest::of(&der).to_string())
}

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn a_key_has_one_normal_form() {
        for same in [
            ED25519.to_owned(),
            ED25519.replace('\n', "\r\n"),
            format!("a comment\n{ED25519}another"),
            ED25519.replace("FQbrB", "FQ\nbrB"),
        ] {
            assert_eq!(DeviceKey::parse(&same).unwrap().pem(), ED25519);
        }
    }

    #[test]
    fn nothing_else_is_a_key() {
        for wrong in [
            String::new(),
            ED25519.replace("PUBLIC", "PRIVATE"),
            ED25519.replace("MCow", "MCox"),
            format!("{ED25519}{ED25519}"),
            ED25519.replace("-----END PUBLIC KEY-----", ""),
        ] {
            assert!(DeviceKey::parse(&wrong).is_err(), "{wrong}");
        }
    }
}
