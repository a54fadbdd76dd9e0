//! Durations as people write them.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A number of seconds, or text with units: `90`, `"30m"`, `"1h 30m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seconds(pub(super) Duration);

/// Ten years; what is longer is a mistake, and would overflow deadlines.
const MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Seconds, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(i64),
            Text(String),
        }
        let duration = match Written::deserialize(deserializer)? {
            Written::Number(number) => u64::try_from(number).ok().map(Duration::from_secs),
            Written::Text(text) => humantime::parse_duration(&text).ok(),
        };
        match duration {
            Some(duration) if duration <= MAX => Ok(Seconds(duration)),
            _ => Err(de::Error::custom(
                "expected a duration: seconds as a number, or text such as \"90s\", \"30m\", \"1h 30m\" or \"2days\"",
            )),
        }
    }
}
