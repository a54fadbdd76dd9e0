//! Tokens: what devices and people show with every request.
//!
//! A token is a JWT of one fixed form: the header is compared byte for byte, so nothing in it is ever interpreted (no
//! `alg`, `kid`, `jwk`); the signature is HMAC-SHA256 with a key that never leaves the server; the claims are exactly
//! ours and have exactly our types. Who may use it at this moment is not in it: see `sessions.rs`.
//!
//! HMAC and not Ed25519: nobody but the server verifies a token, and it costs a microsecond and not eighty.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::store::Id;

/// The key for tokens, and what is derived from it.
pub struct TokenKey {
    tokens: hmac::Key,
    links: hmac::Key,
}

/// Whose a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bearer {
    /// A device.
    Device {
        /// Which.
        device: Id,
        /// The key with which it was let in.
        auth_set: Id,
        /// Tokens of another generation are revoked.
        generation: i64,
    },
    /// A person.
    Person {
        /// Who.
        user: Id,
        /// Which of the person's tokens.
        token: Id,
    },
}

/// `{"alg":"HS256","typ":"JWT"}`
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// Bytes of a token; ours have about 400.
const LIMIT: usize = 1024;

/// Our name in tokens.
const ISSUER: &str = "tandem";

/// Seconds that the clock may have been set back since a token was made.
const SKEW: i64 = 300;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    aud: Audience,
    jti: Id,
    sub: Id,
    iat: i64,
    exp: i64,
    #[serde(rename = "gen", default, skip_serializing_if = "Option::is_none")]
    generation: Option<i64>,
    /// As Mender's server has them, for programs that look into tokens.
    #[serde(
        rename = "mender.device",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    device: Option<bool>,
    #[serde(
        rename = "mender.user",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    user: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Audience {
    Devices,
    Management,
}

impl TokenKey {
    /// From the 32 bytes that are kept in a file.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        let derive = |purpose: &str| {
            let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
            hmac::Key::new(
                hmac::HMAC_SHA256,
                hmac::sign(&root, purpose.as_bytes()).as_ref(),
            )
        };
        Self {
            tokens: derive("tokens"),
            links: derive("links"),
        }
    }

    /// A token that is good from `now` until `expires`, seconds since 1970.
    #[must_use]
    pub fn issue(&self, bearer: Bearer, now: i64, expires: i64) -> String {
        let claims = match bearer {
            Bearer::Device {
                device,
                auth_set,
                generation,
            } => Claims {
                iss: ISSUER.to_owned(),
                aud: Audience::Devices,
                jti: auth_set,
                sub: device,
                iat: now,
                exp: expires,
                generation: Some(generation),
                device: Some(true),
                user: None,
            },
            Bearer::Person { user, token } => Claims {
                iss: ISSUER.to_owned(),
                aud: Audience::Management,
                jti: token,
                sub: user,
                iat: now,
                exp: expires,
                generation: None,
                device: None,
                user: Some(true),
            },
        };
        // Such claims always have a JSON form; if not, nobody gets in with what comes out.
        let claims = serde_json::to_vec(&claims).unwrap_or_default();
        let mut token = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = hmac::sign(&self.tokens, token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }

    /// Whose `token` is, if it is one of ours and good at `now`, seconds since 1970.
    #[must_use]
    pub fn verify(&self, token: &str, now: i64) -> Option<Bearer> {
        if token.len() > LIMIT {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        if header != HEADER {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.tokens, signed.as_bytes(), &signature).ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        if claims.iss != ISSUER || claims.exp <= now || claims.iat > now.saturating_add(SKEW) {
            return None;
        }
        match claims {
            Claims {
                aud: Audience::Devices,
                generation: Some(generation),
                device: Some(true),
                user: None,
                ..
            } => Some(Bearer::Device {
                device: claims.sub,
                auth_set: claims.jti,
                generation,
            }),
            Claims {
                aud: Audience::Management,
                generation: None,
                device: None,
                user: Some(true),
                ..
            } => Some(Bearer::Person {
                user: claims.sub,
                token: claims.jti,
            }),
            _ => None,
        }
    }

    /// The key for the signatures of links.
    #[must_use]
    pub fn links(&self) -> &hmac::Key {
        &self.links
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn key() -> TokenKey {
        TokenKey::new(&[7; 32])
    }

    fn device() -> Bearer {
        Bearer::Device {
            device: Id::from_bytes([1; 16]),
            auth_set: Id::from_bytes([2; 16]),
            generation: 3,
        }
    }

    /// A token with any header and claims, signed with the right key.
    fn forge(header: &str, claims: &str) -> String {
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key().tokens, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    const RIGHT: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

    fn claims(change: &[(&str, Option<&str>)]) -> String {
        let mut claims: serde_json::Value = serde_json::from_str(
            r#"{"iss":"tandem","aud":"devices","jti":"02020202-0202-0202-0202-020202020202",
                "sub":"01010101-0101-0101-0101-010101010101","iat":1800000000,"exp":1800000001,"gen":3,
                "mender.device":true}"#,
        )
        .unwrap();
        for (name, value) in change {
            match value {
                Some(value) => claims[*name] = serde_json::from_str(value).unwrap(),
                None => drop(claims.as_object_mut().unwrap().remove(*name)),
            }
        }
        claims.to_string()
    }

    #[test]
    fn a_token_is_good_until_it_expires() {
        let person = Bearer::Person {
            user: Id::from_bytes([1; 16]),
            token: Id::from_bytes([2; 16]),
        };
        for bearer in [device(), person] {
            let token = key().issue(bearer, NOW, NOW + 10);
            assert_eq!(key().verify(&token, NOW), Some(bearer));
            assert_eq!(key().verify(&token, NOW + 9), Some(bearer));
            assert_eq!(key().verify(&token, NOW + 10), None);
            assert_eq!(key().verify(&token, NOW - SKEW - 1), None);
            assert_eq!(TokenKey::new(&[8; 32]).verify(&token, NOW), None);
        }
    }

    #[test]
    fn a_changed_token_is_refused_wherever_it_was_changed() {
        let token = key().issue(device(), NOW, NOW + 10);
        for n in 0..token.len() {
            for with in [".", "A", "=", ""] {
                let mut changed = token.clone();
                changed.replace_range(n..=n, with);
                assert!(
                    changed == token || key().verify(&changed, NOW).is_none(),
                    "{n} {with}"
                );
            }
        }
        for wrong in [
            "",
            ".",
            "..",
            "a.b.c",
            &format!("{token}."),
            &format!(".{token}"),
            &format!("{token} "),
        ] {
            assert_eq!(key().verify(wrong, NOW), None, "{wrong}");
        }
    }

    #[test]
    fn no_header_but_ours_is_accepted() {
        assert_eq!(
            key().verify(&forge(RIGHT, &claims(&[])), NOW),
            Some(device())
        );
        for header in [
            r#"{"alg":"none","typ":"JWT"}"#,
            r#"{"alg":"hs256","typ":"JWT"}"#,
            r#"{"alg":"RS256","typ":"JWT"}"#,
            r#"{"alg":"HS512","typ":"JWT"}"#,
            r#"{"typ":"JWT","alg":"HS256"}"#,
            r#"{"alg":"HS256","typ":"JWT","kid":"../../dev/null"}"#,
            r#"{"alg":"HS256","typ":"JWT","jwk":{}}"#,
            r#"{"alg":"HS256","typ":"JWT","jku":"https://elsewhere"}"#,
            "{}",
            "",
        ] {
            assert_eq!(
                key().verify(&forge(header, &claims(&[])), NOW),
                None,
                "{header}"
            );
        }
        let token = key().issue(device(), NOW, NOW + 10);
        let unsigned = token.rsplit_once('.').unwrap().0;
        assert_eq!(key().verify(&format!("{unsigned}."), NOW), None);
        assert_eq!(key().verify(unsigned, NOW), None);
    }

    #[test]
    fn every_claim_has_its_type_and_is_there() {
        for (name, values) in [
            (
                "exp",
                &[
                    "\"1800000001\"",
                    "1800000001.5",
                    "-1",
                    "null",
                    "true",
                    "1e99",
                ][..],
            ),
            ("iat", &["\"1800000000\"", "1800000301", "null"]),
            (
                "aud",
                &["\"management\"", "[\"devices\"]", "\"Devices\"", "null"],
            ),
            ("iss", &["\"Mender\"", "null"]),
            ("jti", &["\"x\"", "1"]),
            ("sub", &["\"../../x\"", "null"]),
            ("gen", &["\"3\"", "3.0", "null"]),
            ("mender.device", &["false", "1", "\"true\"", "null"]),
            ("mender.user", &["true"]),
            ("nbf", &["0"]),
            ("scp", &["\"mender.*\""]),
        ] {
            for value in values {
                let token = forge(RIGHT, &claims(&[(name, Some(value))]));
                assert_eq!(key().verify(&token, NOW), None, "{name} {value}");
            }
        }
        for name in [
            "exp",
            "iat",
            "aud",
            "iss",
            "jti",
            "sub",
            "gen",
            "mender.device",
        ] {
            assert_eq!(
                key().verify(&forge(RIGHT, &claims(&[(name, None)])), NOW),
                None,
                "{name}"
            );
        }
    }
}
