//! Who a device says it is.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use tandem_artifact::Digest;

/// The identity of a device: a JSON object, by which the device is known again. Two texts that differ in the order of
/// keys or in white space are the same identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    text: String,
    hash: Digest,
}

/// Bytes of a normalised identity. Real ones are a MAC address or a serial number.
const LIMIT: usize = 8 << 10;

impl Identity {
    /// Reads an identity and brings it into its normal form: keys sorted at every level, no white space.
    ///
    /// # Errors
    /// With the reason, if it is not a JSON object or too large.
    pub fn parse(id_data: &str) -> Result<Self, String> {
        match serde_json::from_str(id_data) {
            Ok(Value::Object(object)) => Self::of(&object),
            Ok(_) => Err("id_data is not a JSON object".to_owned()),
            Err(err) => Err(format!("id_data is not JSON: {err}")),
        }
    }

    /// The identity that `object` describes.
    ///
    /// # Errors
    /// If it is too large.
    pub fn of(object: &Map<String, Value>) -> Result<Self, String> {
        let mut text = String::new();
        write_object(&mut text, object);
        if text.len() > LIMIT {
            return Err(format!("id_data is over the limit of {LIMIT} bytes"));
        }
        let hash = Digest::of(text.as_bytes());
        Ok(Self { text, hash })
    }

    /// The normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The SHA-256 of the normal form.
    #[must_use]
    pub fn hash(&self) -> Digest {
        self.hash
    }
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        Value::Object(object) => write_object(text, object),
        Value::Array(values) => {
            text.push('[');
            for (n, value) in values.iter().enumerate() {
                separate(text, n);
                write_value(text, value);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            write_plain(text, value)
        }
    }
}

/// Sorts by itself: what `Map` does depends on features of serde_json that any crate may switch on.
fn write_object(text: &mut String, object: &Map<String, Value>) {
    let mut members: Vec<_> = object.iter().collect();
    members.sort_by_key(|(key, _)| key.as_str());
    text.push('{');
    for (n, (key, value)) in members.into_iter().enumerate() {
        separate(text, n);
        write_plain(text, &Value::String(key.clone()));
        text.push(':');
        write_value(text, value);
    }
    text.push('}');
}

fn separate(text: &mut String, n: usize) {
    if n > 0 {
        text.push(',');
    }
}

fn write_plain(text: &mut String, value: &Value) {
    // Writing to a string cannot fail.
    let _ = write!(text, "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(id_data: &str, normal: &str) {
        assert_eq!(Identity::parse(id_data).unwrap().as_str(), normal);
    }

    #[test]
    fn order_and_space_do_not_matter() {
        check("{}", "{}");
        check(
            r#" { "sn" : "A1", "mac":[ "x", "y" ] }"#,
            r#"{"mac":["x","y"],"sn":"A1"}"#,
        );
        check(
            r#"{"b":{"z":1,"a":null},"a":1.50}"#,
            r#"{"a":1.5,"b":{"a":null,"z":1}}"#,
        );
        check(r#"{"a\u0041":"\u00e9\n"}"#, r#"{"aA":"é\n"}"#);
    }

    #[test]
    fn only_an_object_of_bounded_size_is_an_identity() {
        for wrong in ["", "[]", "null", "\"mac\"", "{", "{}{}"] {
            assert!(Identity::parse(wrong).is_err(), "{wrong}");
        }
        let deep = "[".repeat(200) + &"]".repeat(200);
        assert!(Identity::parse(&format!(r#"{{"a":{deep}}}"#)).is_err());
        assert!(Identity::parse(&format!(r#"{{"a":"{}"}}"#, "x".repeat(LIMIT))).is_err());
    }
}
