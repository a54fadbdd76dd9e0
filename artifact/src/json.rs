//! JSON as this format allows it: stricter than most parsers, so that no two of them can disagree about a document.
//!
//! UTF-8 only, one value, nothing after it, at most [`DEPTH`] levels, no key twice in one object at any level. Unknown
//! keys are ignored. Objects are objects: serde's struct-from-array convenience is off.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor,
};
use serde::ser::Serialize;

use crate::error::Error;

/// Levels of arrays and objects that a document may nest.
const DEPTH: u8 = 32;

/// Reads `bytes`, the content of `member`, as an object of type `T`.
pub(crate) fn parse<'a, T: Deserialize<'a>>(member: &str, bytes: &'a [u8]) -> Result<T, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::malformed(member, "is not UTF-8"))?;
    let fault = |source| Error::Json {
        member: member.to_owned(),
        source,
    };
    let mut strict = serde_json::Deserializer::from_str(text);
    Strict { depth: DEPTH }
        .deserialize(&mut strict)
        .map_err(fault)?;
    strict.end().map_err(fault)?;
    let Object(value) = serde_json::from_str(text).map_err(fault)?;
    Ok(value)
}

/// Checks that `bytes`, the content of `member`, is an object, whatever its keys.
pub(crate) fn check_object(member: &str, bytes: &[u8]) -> Result<(), Error> {
    #[derive(serde::Deserialize)]
    struct Anything {}
    parse::<Anything>(member, bytes).map(|Anything {}| ())
}

/// `value` as Go's `encoding/json` writes it, which is how Mender's tool writes: minified, `<`, `>`, `&`, U+2028 and
/// U+2029 escaped.
pub(crate) fn to_bytes<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, GoFormatter);
    match value.serialize(&mut serializer) {
        Ok(()) => Ok(bytes),
        Err(err) => Err(Error::Description {
            rule: err.to_string(),
        }),
    }
}

/// A `T` that is read from a JSON object and from nothing else.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnlyMap<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyMap<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(OnlyMap(PhantomData))
    }
}

/// For a key that may be absent but not `null`: use with `#[serde(default, deserialize_with = ...)]`.
pub(crate) fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// For a key that may be `null` but not absent: serde takes any other `Option` as optional.
pub(crate) fn nullable<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer)
}

/// Walks any value and keeps nothing but the keys of the objects it is in.
#[derive(Clone, Copy)]
struct Strict {
    /// Levels that may still open.
    depth: u8,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        depth
            .map(|depth| Self { depth })
            .ok_or_else(|| E::custom(format_args!("more than {DEPTH} levels deep")))
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut keys = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            keys.push(key);
            map.next_value_seed(inner)?;
        }
        keys.sort_unstable();
        let twice = keys.windows(2).find_map(|pair| match pair {
            [first, second] if first == second => Some(second),
            _ => None,
        });
        twice.map_or(Ok(()), |key| {
            Err(A::Error::custom(format_args!(
                "key {key:?} stands twice in one object"
            )))
        })
    }
}

/// An object's key, borrowed from the document where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

struct GoFormatter;

impl serde_json::ser::Formatter for GoFormatter {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for c in fragment.chars() {
            match c {
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    write!(out, "\\u{:04x}", u32::from(c))?
                }
                _ => out.write_all(c.encode_utf8(&mut [0; 4]).as_bytes())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(document: &[u8], fault: Option<&str>) {
        let verdict = check_object("it", document).err().map(|err| {
            let source = std::error::Error::source(&err)
                .map(ToString::to_string)
                .unwrap_or_default();
            format!("{err}: {source}")
        });
        match (verdict, fault) {
            (None, None) => {}
            (Some(found), Some(fault)) if found.contains(fault) => {}
            (found, _) => panic!(
                "{}: {found:?}, expected {fault:?}",
                String::from_utf8_lossy(document)
            ),
        }
    }

    #[test]
    fn only_documents_that_every_parser_reads_alike_are_read() {
        check(b"{}", None);
        check(
            b" {\"a\": [1, -2, 3.5e7, \"x\", null, true, {\"a\": {}}]}\n",
            None,
        );
        check(br#"{"a":{"b":1},"c":{"b":1}}"#, None);
        check(br#"{"a":1,"a":1}"#, Some("twice"));
        check(br#"{"a":1,"\u0061":1}"#, Some("twice"));
        check(br#"{"x":[{"a":1,"b":2,"a":3}]}"#, Some("twice"));
        check(b"", Some("EOF"));
        check(b"[]", Some("an object"));
        check(b"null", Some("an object"));
        check(b"{} {}", Some("trailing"));
        check(b"{}x", Some("trailing"));
        check(b"\xEF\xBB\xBF{}", Some("expected value"));
        check(b"{\"a\":\"\xff\"}", Some("UTF-8"));
        check(br#"{"a":"\ud800"}"#, Some("hex escape"));
        check(b"{\"a\":\"\0\"}", Some("control character"));
        check(br#"{"a":1e999}"#, Some("out of range"));
        check(br#"{"a":01}"#, Some("invalid number"));
        check(br#"{"a":NaN}"#, Some("expected value"));
        check(br#"{'a':1}"#, Some("key must be a string"));
        check(br#"{"a":1,}"#, Some("trailing comma"));
    }

    #[test]
    fn depth_is_limited() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        check(nested(31).as_bytes(), None);
        check(nested(32).as_bytes(), Some("32 levels"));
        check(nested(100_000).as_bytes(), Some("32 levels"));
        check("[".repeat(1_000_000).as_bytes(), Some("32 levels"));
    }

    #[test]
    fn objects_are_not_read_from_arrays() {
        #[derive(serde::Deserialize)]
        struct Pair {
            #[expect(dead_code, reason = "only whether it can be read matters")]
            a: u8,
        }
        assert!(parse::<Pair>("it", br#"{"a":1}"#).is_ok());
        assert!(parse::<Pair>("it", b"[1]").is_err());
    }

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        let written = |text: &str| String::from_utf8(to_bytes(&text).unwrap()).unwrap();
        assert_eq!(written("a<b>&c"), r#""a\u003cb\u003e\u0026c""#);
        assert_eq!(written("<>"), r#""\u003c\u003e""#);
        assert_eq!(
            written("é\"\\\u{2028}\u{2029}x\t"),
            "\"é\\\"\\\\\\u2028\\u2029x\\t\""
        );
        assert_eq!(written(""), r#""""#);
    }
}
