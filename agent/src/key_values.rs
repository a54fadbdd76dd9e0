//! The output of identity and inventory scripts: `key=value` lines; a key that comes again has
//! several values.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;

/// The values of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Values {
    /// The key came once.
    One(String),
    /// It came more often; in that order.
    Many(Vec<String>),
}

/// Keys with their values, sorted.
pub(crate) type KeyValues = BTreeMap<String, Values>;

/// Adds the lines of `text` to `all`.
///
/// # Errors
/// At the first line without `=`; the ones before it have been added.
pub(crate) fn add(all: &mut KeyValues, text: &str) -> Result<()> {
    for line in text.lines() {
        let (key, value) = line
            .split_once('=')
            .with_context(|| format!("the line {line:?} is not key=value"))?;
        let value = value.to_owned();
        match all.remove(key) {
            None => all.insert(key.to_owned(), Values::One(value)),
            Some(Values::One(first)) => {
                all.insert(key.to_owned(), Values::Many(vec![first, value]))
            }
            Some(Values::Many(mut values)) => {
                values.push(value);
                all.insert(key.to_owned(), Values::Many(values))
            }
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, json: Option<&str>) {
        let mut all = KeyValues::new();
        let added = add(&mut all, text).is_ok();
        let found = added.then(|| serde_json::to_string(&all).unwrap());
        assert_eq!(found.as_deref(), json, "{text:?}");
    }

    #[test]
    fn scripts_are_read_as_menders_client_reads_them() {
        check("", Some("{}"));
        check("mac=de:ad\n", Some(r#"{"mac":"de:ad"}"#));
        check("b=2\na=1", Some(r#"{"a":"1","b":"2"}"#));
        check(
            "mac=1\nsn=x\nmac=2\nmac=3\n",
            Some(r#"{"mac":["1","2","3"],"sn":"x"}"#),
        );
        check("a=b=c\n", Some(r#"{"a":"b=c"}"#));
        check("a=\n", Some(r#"{"a":""}"#));
        check("a=1\nnonsense\n", None);
        check("\n", None);
    }
}
