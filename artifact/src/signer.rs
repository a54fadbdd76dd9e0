//! Signing manifests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair,
};

use crate::der::{self, Der};
use crate::error::Error;
use crate::pem;
use crate::signature::{Algorithm, OID_EC, OID_ED25519, OID_P256, OID_RSA, PublicKey};

/// A private key. It is never written anywhere, not even by `Debug`.
pub struct Signer {
    name: String,
    pair: Pair,
    random: SystemRandom,
}

enum Pair {
    Rsa(RsaKeyPair),
    EcdsaP256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    /// Reads a PEM file with one private key: RSA (PKCS#1), EC (SEC1), or PKCS#8. `name` stands for it in messages.
    ///
    /// # Errors
    /// [`Error::Key`] with what is wrong and what to do.
    pub fn from_pem(name: &str, pem: &[u8]) -> Result<Self, Error> {
        let pair = parse(pem).map_err(|reason| Error::Key {
            name: name.to_owned(),
            reason,
        })?;
        Ok(Self {
            name: name.to_owned(),
            pair,
            random: SystemRandom::new(),
        })
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        let (algorithm, bytes) = match &self.pair {
            Pair::Rsa(pair) => (Algorithm::Rsa, pair.public_key().as_ref()),
            Pair::EcdsaP256(pair) => (Algorithm::EcdsaP256, pair.public_key().as_ref()),
            Pair::Ed25519(pair) => (Algorithm::Ed25519, pair.public_key().as_ref()),
        };
        PublicKey::new(&self.name, algorithm, bytes)
    }

    /// The content of `manifest.sig` for `manifest`. RSA and Ed25519 give the same bytes each time; ECDSA does not.
    pub(crate) fn sign(&self, manifest: &[u8]) -> Result<String, Error> {
        Ok(STANDARD.encode(self.plain_signature(manifest)?))
    }

    /// The signature of `message` in the form that openssl makes and verifies: as in an artifact, but DER for ECDSA.
    /// That is what Mender's device API wants.
    ///
    /// # Errors
    /// [`Error::Key`] if signing fails.
    pub fn signature(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let plain = self.plain_signature(message)?;
        Ok(match &self.pair {
            Pair::EcdsaP256(_) => ecdsa_der(&plain),
            Pair::Rsa(_) | Pair::Ed25519(_) => plain,
        })
    }

    /// The signature of `message`; r and s as 2 x 32 bytes for ECDSA.
    fn plain_signature(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let fault = |_| Error::Key {
            name: self.name.clone(),
            reason: "signing with it fails".to_owned(),
        };
        Ok(match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature)
                    .map_err(fault)?;
                signature
            }
            Pair::EcdsaP256(pair) => pair
                .sign(&self.random, message)
                .map_err(fault)?
                .as_ref()
                .to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        })
    }
}

/// `SEQUENCE { INTEGER r, INTEGER s }` (RFC 3279) from r and s of equal length.
fn ecdsa_der(plain: &[u8]) -> Vec<u8> {
    let (r, s) = plain.split_at(plain.len() / 2);
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let digits = number.get(zeros..).unwrap_or_default();
        // A first bit that is set would make it negative; no digits would make it nothing.
        let sign: &[u8] = if digits.first().is_none_or(|byte| *byte > 0x7f) {
            &[0]
        } else {
            &[]
        };
        der::value(der::INTEGER, &[sign, digits].concat())
    };
    der::value(der::SEQUENCE, &[integer(r), integer(s)].concat())
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn parse(pem: &[u8]) -> Result<Pair, String> {
    const NONE: &str = "it is not a PEM file with a private key";
    let text = std::str::from_utf8(pem).map_err(|_| NONE)?;
    let blocks = pem::blocks(text);
    // `openssl ecparam -genkey` puts the parameters before the key.
    let mut keys = blocks.iter().filter(|block| block.label != "EC PARAMETERS");
    let (Some(block), None) = (keys.next(), keys.next()) else {
        return Err(if blocks.is_empty() {
            NONE
        } else {
            "it does not have exactly one PEM block"
        }
        .to_owned());
    };
    let der = block
        .content
        .as_deref()
        .ok_or("it is encrypted or damaged: write it out with `openssl pkey -in FILE`");
    match block.label.as_str() {
        "RSA PRIVATE KEY" => rsa(RsaKeyPair::from_der(der?)),
        "EC PRIVATE KEY" => ec(der?),
        "PRIVATE KEY" => pkcs8(der?),
        "ENCRYPTED PRIVATE KEY" => {
            Err("it is encrypted: decrypt it with `openssl pkey -in FILE`".to_owned())
        }
        "PUBLIC KEY" => Err("it is a public key: signing needs the private one".to_owned()),
        _ => Err(NONE.to_owned()),
    }
}

fn rsa(pair: Result<RsaKeyPair, ring::error::KeyRejected>) -> Result<Pair, String> {
    pair.map(Pair::Rsa)
        .map_err(|err| format!("not a usable RSA key of 2048 to 4096 bits ({err})"))
}

/// `SEQUENCE { INTEGER 0, SEQUENCE { algorithm, parameters }, OCTET STRING key, ... }` (RFC 5208, 5958).
fn pkcs8(der: &[u8]) -> Result<Pair, String> {
    let oid = || {
        let mut info = Der::whole(der::SEQUENCE, der)?;
        info.take(der::INTEGER)?;
        info.enter(der::SEQUENCE)?.take(der::OID)
    };
    match oid() {
        Some(OID_RSA) => rsa(RsaKeyPair::from_pkcs8(der)),
        Some(OID_EC) => {
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &SystemRandom::new())
                .map(Pair::EcdsaP256)
                .map_err(|err| format!("not a usable EC key on P-256 with its public half ({err})"))
        }
        Some(OID_ED25519) => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .map(Pair::Ed25519)
            .map_err(|err| format!("not a usable Ed25519 key ({err})")),
        Some(_) => Err("it is neither RSA nor ECDSA P-256 nor Ed25519".to_owned()),
        None => Err("its PKCS#8 structure is damaged".to_owned()),
    }
}

/// `SEQUENCE { INTEGER 1, OCTET STRING key, [0] { curve }, [1] { BIT STRING point } }` (SEC1, RFC 5915).
fn ec(der: &[u8]) -> Result<Pair, String> {
    let split = || {
        let mut key = Der::whole(der::SEQUENCE, der)?;
        (key.take(der::INTEGER)? == [1]).then_some(())?;
        let private = key.take(der::OCTET_STRING)?;
        let curve = key.enter(der::CONTEXT_0)?.take(der::OID)?;
        let point = key
            .enter(der::CONTEXT_1)?
            .take(der::BIT_STRING)?
            .strip_prefix(&[0])?;
        key.end()?;
        Some((private, curve, point))
    };
    let (private, curve, point) = split()
        .ok_or("its SEC1 structure is not complete: write it out with `openssl pkey -in FILE`")?;
    if curve != OID_P256 {
        return Err("its curve is not P-256, the only one that Mender's artifacts use".to_owned());
    }
    EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        private,
        point,
        &SystemRandom::new(),
    )
    .map(Pair::EcdsaP256)
    .map_err(|err| format!("not a usable EC key ({err})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_der_are_short_and_never_negative() {
        assert_eq!(ecdsa_der(&[0, 1, 0, 2]), [0x30, 6, 2, 1, 1, 2, 1, 2]);
        assert_eq!(
            ecdsa_der(&[0x80, 1, 0, 0]),
            [0x30, 8, 2, 3, 0, 0x80, 1, 2, 1, 0]
        );
    }
}
