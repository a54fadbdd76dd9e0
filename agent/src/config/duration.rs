//! Durations as people write them.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A whole number of seconds, written as a number or as text with units: `90`, `"30m"`, `"1h30m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seconds(pub(super) Duration);

/// Ten years; what is longer is a mistake, and would overflow deadlines.
const MAX: u64 = 10 * 365 * 24 * 3600;

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Seconds, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(i64),
            Text(String),
        }
        let seconds = match Written::deserialize(deserializer)? {
            Written::Number(number) => u64::try_from(number).ok(),
            Written::Text(text) => parse(&text),
        };
        match seconds {
            Some(seconds) if seconds <= MAX => Ok(Seconds(Duration::from_secs(seconds))),
            _ => Err(de::Error::custom(
                "expected a duration: seconds as a number, or text such as \"90s\", \"30m\", \"1h30m\" or \"2d\"",
            )),
        }
    }
}

/// The seconds in `text`: one or more numbers, each with a unit (without one: seconds).
fn parse(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let mut tail = tail.chars();
        let factor = match tail.next()? {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 24 * 3600,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = tail.as_str();
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("90", Some(90)),
            ("90s", Some(90)),
            ("30m", Some(1800)),
            ("1h30m", Some(5400)),
            ("2d", Some(172_800)),
            ("", None),
            ("m", None),
            ("5", Some(5)),
            ("5x", None),
            ("1h30", None),
            ("-5", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(parse(text), seconds, "{text:?}");
        }
    }
}
