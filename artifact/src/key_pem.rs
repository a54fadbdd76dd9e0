//! Writing keys: for a device that makes a key of its own, and tells a server its public half.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::der::{self, value};
use crate::error::Error;
use crate::signature::{Algorithm, OID_EC, OID_ED25519, OID_P256, OID_RSA, PublicKey};
use crate::signer::Signer;

impl PublicKey {
    /// The key as a PEM file with one `PUBLIC KEY` (SubjectPublicKeyInfo), as openssl writes it.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let algorithm = match self.algorithm() {
            Algorithm::Rsa => [value(der::OID, OID_RSA), value(der::NULL, &[])].concat(),
            Algorithm::EcdsaP256 => [value(der::OID, OID_EC), value(der::OID, OID_P256)].concat(),
            Algorithm::Ed25519 => value(der::OID, OID_ED25519),
        };
        let key = [&[0], self.bytes()].concat();
        let spki = [
            value(der::SEQUENCE, &algorithm),
            value(der::BIT_STRING, &key),
        ]
        .concat();
        pem("PUBLIC KEY", &value(der::SEQUENCE, &spki))
    }
}

impl Signer {
    /// Makes a new Ed25519 key. Returns it as a PEM file with one `PRIVATE KEY` (PKCS#8, the form
    /// of RFC 8410 without the public half, which every tool reads).
    ///
    /// # Errors
    /// [`Error::Key`] if the system has no randomness.
    pub fn generate(name: &str) -> Result<String, Error> {
        let mut seed = [0; 32];
        SystemRandom::new()
            .fill(&mut seed)
            .map_err(|_| Error::Key {
                name: name.to_owned(),
                reason: "this system has no randomness to make it from".to_owned(),
            })?;
        let key = value(der::OCTET_STRING, &value(der::OCTET_STRING, &seed));
        let algorithm = value(der::SEQUENCE, &value(der::OID, OID_ED25519));
        let info = [value(der::INTEGER, &[0]), algorithm, key].concat();
        Ok(pem("PRIVATE KEY", &value(der::SEQUENCE, &info)))
    }
}

/// One PEM block, in lines of 64 characters (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at_checked(64).unwrap_or((rest, ""));
        pem.push_str(line);
        pem.push('\n');
        rest = behind;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_signs_what_its_public_half_verifies() {
        let pem = Signer::generate("new").unwrap();
        let signer = Signer::from_pem("new", pem.as_bytes()).unwrap();
        let public = PublicKey::from_pem("new", signer.public_key().to_pem().as_bytes()).unwrap();
        let signature = signer.signature(b"message").unwrap();
        assert!(public.verifies(b"message", &signature));
        assert!(!public.verifies(b"another", &signature));
        assert_ne!(pem, Signer::generate("new").unwrap());
    }
}
