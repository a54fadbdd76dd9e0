//! Verifying the signature of an artifact: base64 in `manifest.sig`, over the exact bytes of `manifest`.
//!
//! | key | signature |
//! |---|---|
//! | RSA, 2048 to 8192 bits | PKCS#1 v1.5, SHA-256 |
//! | ECDSA P-256 | SHA-256; r and s as 2 x 32 bytes, as mender-artifact writes it, or DER, as PKCS#11 tokens and key services do |
//! | Ed25519 | 64 bytes. DIFFERS: Mender knows no Ed25519 for artifacts |

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    UnparsedPublicKey,
};

use crate::der::{self, Der};
use crate::error::Error;
use crate::pem;

/// What an artifact's signature is required to be.
#[derive(Debug, Clone)]
pub struct Verification {
    /// Empty: anything goes.
    keys: Vec<PublicKey>,
}

impl Verification {
    /// A signature by one of `keys` is required.
    ///
    /// # Errors
    /// [`Error::Misuse`] without any key: a requirement must not vanish with an empty list. Use [`Self::off`].
    pub fn by(keys: Vec<PublicKey>) -> Result<Self, Error> {
        if keys.is_empty() {
            return Err(Error::Misuse {
                what: "a signature is required but no key is given",
            });
        }
        Ok(Self { keys })
    }

    /// A signature is neither required nor checked. Everything else still is.
    #[must_use]
    pub fn off() -> Self {
        Self { keys: Vec::new() }
    }

    /// Whether a signature is required.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Judges `signature`, the content of `manifest.sig` if there is one, for `manifest`.
    pub(crate) fn judge(
        &self,
        manifest: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<SignatureStatus, Error> {
        match signature {
            Some(_) if self.keys.is_empty() => Ok(SignatureStatus::NotChecked),
            None if self.keys.is_empty() => Ok(SignatureStatus::Unsigned),
            None => Err(Error::Unsigned),
            Some(signature) => {
                let signature = decode(signature)?;
                match self
                    .keys
                    .iter()
                    .find(|key| key.verifies(manifest, &signature))
                {
                    Some(key) => Ok(SignatureStatus::Verified {
                        key: key.name.clone(),
                    }),
                    None => Err(Error::SignatureMismatch {
                        keys: self.keys.iter().map(|key| key.name.clone()).collect(),
                    }),
                }
            }
        }
    }
}

/// What became of the signature of an artifact that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureStatus {
    /// There is none, and none was required.
    Unsigned,
    /// There is one; nobody looked at it, because no key is configured.
    NotChecked,
    /// A trusted key made it.
    Verified {
        /// The name of that key.
        key: String,
    },
}

/// A key that verifies signatures.
#[derive(Debug, Clone)]
pub struct PublicKey {
    name: String,
    algorithm: Algorithm,
    /// As `ring` wants it: PKCS#1 for RSA, the uncompressed point for P-256, 32 bytes for Ed25519.
    bytes: Vec<u8>,
}

/// The kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA with PKCS#1 v1.5 padding and SHA-256.
    Rsa,
    /// ECDSA on P-256 with SHA-256.
    EcdsaP256,
    /// Ed25519.
    Ed25519,
}

impl PublicKey {
    /// Reads a PEM file with one `PUBLIC KEY` (SubjectPublicKeyInfo). `name` stands for it in messages.
    ///
    /// # Errors
    /// [`Error::Key`] with what is wrong and how to make a file that is right.
    pub fn from_pem(name: &str, pem: &[u8]) -> Result<Self, Error> {
        let fault = |reason: &str| Error::Key {
            name: name.to_owned(),
            reason: reason.to_owned(),
        };
        let text = std::str::from_utf8(pem).map_err(|_| fault(NO_PUBLIC_KEY))?;
        match pem::blocks(text).as_slice() {
            [] => Err(fault(NO_PUBLIC_KEY)),
            [block] if block.label == "PUBLIC KEY" => {
                let der = block
                    .content
                    .as_deref()
                    .ok_or_else(|| fault("its PEM block is damaged"))?;
                let (algorithm, bytes) = parse_spki(der).map_err(fault)?;
                Ok(Self {
                    name: name.to_owned(),
                    algorithm,
                    bytes: bytes.to_vec(),
                })
            }
            [block] => Err(fault(match block.label.as_str() {
                "CERTIFICATE" => {
                    "it is a certificate: take the key out with `openssl x509 -in FILE -pubkey -noout`"
                }
                "RSA PUBLIC KEY" => {
                    "it is in the older PKCS#1 form: convert it with `openssl rsa -RSAPublicKey_in -in FILE -pubout`"
                }
                label if label.ends_with("PRIVATE KEY") => {
                    "it is a private key: verifying needs `openssl pkey -in FILE -pubout`, and the private key stays \
                     where artifacts are signed"
                }
                _ => NO_PUBLIC_KEY,
            })),
            _ => Err(fault(
                "it has several PEM blocks: give each key a file of its own",
            )),
        }
    }

    pub(crate) fn new(name: &str, algorithm: Algorithm, bytes: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            algorithm,
            bytes: bytes.to_vec(),
        }
    }

    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its kind.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key in the form of `ring`: see the field.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether this key made `signature` for `message`. ECDSA signatures count as 64 bytes and as DER.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn ring::signature::VerificationAlgorithm = match self.algorithm {
            Algorithm::Rsa => &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::EcdsaP256 if signature.len() == 64 => &ECDSA_P256_SHA256_FIXED,
            Algorithm::EcdsaP256 => &ECDSA_P256_SHA256_ASN1,
            Algorithm::Ed25519 => &ED25519,
        };
        UnparsedPublicKey::new(algorithm, &self.bytes)
            .verify(message, signature)
            .is_ok()
    }
}

const NO_PUBLIC_KEY: &str =
    "it is not a PEM file with a PUBLIC KEY: make one with `openssl pkey -in PRIVATE -pubout`";

pub(crate) const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
pub(crate) const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
pub(crate) const OID_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
pub(crate) const OID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// `SEQUENCE { SEQUENCE { algorithm, parameters }, BIT STRING key }` (RFC 5280, 3279, 5480, 8410).
fn parse_spki(der: &[u8]) -> Result<(Algorithm, &[u8]), &'static str> {
    const DAMAGED: &str = "its SubjectPublicKeyInfo is damaged";
    let split = || {
        let mut spki = Der::whole(der::SEQUENCE, der)?;
        let mut algorithm = spki.enter(der::SEQUENCE)?;
        let oid = algorithm.take(der::OID)?;
        let key = spki.take(der::BIT_STRING)?.strip_prefix(&[0])?;
        spki.end()?;
        Some((oid, algorithm, key))
    };
    let (oid, mut parameters, key) = split().ok_or(DAMAGED)?;
    match oid {
        OID_RSA => match modulus_bits(key).ok_or(DAMAGED)? {
            2048..=8192 => Ok((Algorithm::Rsa, key)),
            _ => Err("its RSA modulus does not have 2048 to 8192 bits"),
        },
        OID_EC if parameters.take(der::OID) != Some(OID_P256) => Err("its curve is not P-256"),
        OID_EC if key.len() != 65 || !key.starts_with(&[4]) => Err(
            "its point is compressed: convert it with `openssl ec -pubin -in FILE -conv_form uncompressed`",
        ),
        OID_EC => Ok((Algorithm::EcdsaP256, key)),
        OID_ED25519 if key.len() == 32 => Ok((Algorithm::Ed25519, key)),
        OID_ED25519 => Err(DAMAGED),
        _ => Err("it is neither RSA nor ECDSA P-256 nor Ed25519"),
    }
}

/// The size of an RSA public key (PKCS#1).
fn modulus_bits(rsa: &[u8]) -> Option<usize> {
    let modulus = Der::whole(der::SEQUENCE, rsa)?.take(der::INTEGER)?;
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let top = usize::try_from(modulus.first()?.leading_zeros()).ok()?;
    modulus.len().checked_mul(8)?.checked_sub(top)
}

/// The bytes of a signature. Line breaks in the base64 are tolerated, nothing else.
fn decode(text: &[u8]) -> Result<Vec<u8>, Error> {
    let fault = |reason: &str| Error::SignatureForm {
        reason: reason.to_owned(),
    };
    let text: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !b"\r\n".contains(byte))
        .collect();
    match STANDARD.decode(text) {
        Ok(bytes) if bytes.is_empty() => Err(fault("is empty")),
        Ok(bytes) => Ok(bytes),
        Err(_) => Err(fault("is not base64")),
    }
}
