//! Who a device says it is, in a few words. Pure.

use serde_json::{Map, Value};

use super::wording::inert;

/// Characters of a name on a list, and of one value on a page.
const NAME: usize = 60;
const VALUE: usize = 500;

/// What a device is called: the values of its identity.
pub(super) fn name(identity: &str) -> String {
    let values: Vec<String> = pairs(identity)
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    match values.join(" · ") {
        name if name.is_empty() => "(no identity)".to_owned(),
        name => inert(&name, NAME),
    }
}

/// The keys and values of an identity.
pub(super) fn pairs(identity: &str) -> Vec<(String, String)> {
    // What is stored has been read before.
    let object: Map<String, Value> = serde_json::from_str(identity).unwrap_or_default();
    object
        .into_iter()
        .map(|(key, value)| {
            let value = match value {
                Value::String(text) => text,
                other @ (Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_)) => other.to_string(),
            };
            (inert(&key, NAME), inert(&value, VALUE))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_called_by_what_it_is_known_by() {
        assert_eq!(name(r#"{"mac":"aa:bb"}"#), "aa:bb");
        assert_eq!(name(r#"{"mac":["x",1],"sn":"7"}"#), r#"["x",1] · 7"#);
        assert_eq!(name("{}"), "(no identity)");
        assert_eq!(
            name(&format!(r#"{{"a":"{}"}}"#, "x".repeat(8000)))
                .chars()
                .count(),
            NAME + 1
        );
        assert_eq!(
            pairs("{\"a\\u0007\":\"\\u202e\"}"),
            [("a␇".to_owned(), "\u{fffd}".to_owned())]
        );
    }
}
