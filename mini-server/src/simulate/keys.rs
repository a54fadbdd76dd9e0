//! Who the devices of a fleet are: their keys (Ed25519) and identities, made of the seed whenever they are needed. So a
//! hundred thousand of them take no room, and the same seed is the same fleet.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;
use tandem_api::device::AuthRequest;
use tandem_api::management::Preauthorized;

/// What all keys are made of.
pub(super) struct Keys {
    secret: hmac::Key,
    name: String,
}

/// A device as it presents itself.
pub(super) struct Papers {
    key: Ed25519KeyPair,
    identity: serde_json::Map<String, serde_json::Value>,
}

/// A body, and its signature for the header.
pub(super) struct Signed {
    pub(super) body: Vec<u8>,
    pub(super) signature: String,
}

impl Keys {
    /// Those of a fleet.
    pub(super) fn new(name: &str, seed: &str) -> Self {
        Self {
            secret: hmac::Key::new(hmac::HMAC_SHA256, seed.as_bytes()),
            name: name.to_owned(),
        }
    }

    /// Those of one device of it; `None` if the cryptography refuses.
    pub(super) fn papers(&self, device: u32) -> Option<Papers> {
        let derived = |what: &str| {
            hmac::sign(
                &self.secret,
                format!("{what} {device} {}", self.name).as_bytes(),
            )
        };
        let key = Ed25519KeyPair::from_seed_unchecked(derived("key").as_ref()).ok()?;
        let address = derived("address");
        let address: Vec<String> = address
            .as_ref()
            .iter()
            .take(5)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let identity = json!({
            // One of those that are not given to anybody.
            "mac": format!("02:{}", address.join(":")),
            "simulated": format!("{}-{device:06}", self.name),
        });
        Some(Papers {
            key,
            identity: identity.as_object().cloned().unwrap_or_default(),
        })
    }
}

impl Papers {
    /// The public key between the lines of its PEM.
    pub(super) fn public_key(&self) -> String {
        // SubjectPublicKeyInfo of an Ed25519 key, RFC 8410.
        let mut der = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00".to_vec();
        der.extend(self.key.public_key().as_ref());
        STANDARD.encode(der)
    }

    fn pem(&self) -> String {
        let key = self.public_key();
        format!("-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n")
    }

    /// A part of the identity.
    pub(super) fn part(&self, name: &str) -> &str {
        let value = self.identity.get(name).and_then(|value| value.as_str());
        value.unwrap_or_default()
    }

    /// As an operator announces it.
    pub(super) fn announcement(&self) -> Preauthorized {
        Preauthorized {
            identity_data: self.identity.clone(),
            pubkey: self.pem(),
            force: false,
        }
    }

    /// The request for a token.
    pub(super) fn auth_request(&self) -> Signed {
        let request = AuthRequest {
            id_data: serde_json::Value::Object(self.identity.clone()).to_string(),
            pubkey: self.pem(),
            tenant_token: Some(String::new()),
        };
        let body = json!(request).to_string().into_bytes();
        let signature = STANDARD.encode(self.key.sign(&body));
        Signed { body, signature }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device_key::DeviceKey;

    #[test]
    fn a_seed_is_a_fleet_and_its_signatures_are_real() {
        let keys = Keys::new("sim", "1");
        let (one, two) = (keys.papers(1).unwrap(), keys.papers(2).unwrap());
        assert_eq!(one.part("simulated"), "sim-000001");
        assert_ne!(one.public_key(), two.public_key());
        assert_ne!(one.part("mac"), two.part("mac"));
        let again = Keys::new("sim", "1").papers(1).unwrap();
        assert_eq!(one.auth_request().body, again.auth_request().body);
        for other in [Keys::new("sim", "2"), Keys::new("mis", "1")] {
            assert_ne!(other.papers(1).unwrap().public_key(), one.public_key());
        }
        let signed = one.auth_request();
        let key = DeviceKey::parse(&one.announcement().pubkey).unwrap();
        let signature = STANDARD.decode(&signed.signature).unwrap();
        assert!(key.verifies(&signed.body, &signature));
        assert!(!key.verifies(b"another", &signature));
    }
}
