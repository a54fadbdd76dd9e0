//! Phases as people write and read them. Pure.
//!
//! ```text
//! 10              ten devices
//! 25%,wait=2h     a quarter of all, two hours after those before are done
//! group=beta,at=2026-12-01T22:00:00Z
//! rest,pause      all others, when somebody says so
//! ```

use std::time::Duration;

use tandem_api::Timestamp;
use tandem_api::management::NewPhase;

/// A phase as it is written.
///
/// # Errors
/// With the reason, if it is none.
pub fn parse(text: &str) -> Result<NewPhase, String> {
    let mut parts = text.split(',').map(str::trim);
    let size = parts.next().unwrap_or_default();
    let mut phase = NewPhase::default();
    if let Some(group) = size.strip_prefix("group=") {
        phase.group = Some(group.to_owned());
    } else if let Some(percent) = size.strip_suffix('%') {
        let percent = percent.trim().parse();
        phase.batch_size = Some(percent.map_err(|_| wrong(text))?);
    } else if size != "rest" {
        phase.batch_count = Some(size.parse().map_err(|_| wrong(text))?);
    }
    for part in parts {
        match part.split_once('=') {
            None if part == "pause" => phase.pause = true,
            Some(("wait", wait)) => phase.wait_seconds = Some(seconds(wait)?),
            Some(("at", at)) => {
                let at = at.parse().map_err(|err| format!("{at:?} is {err}"))?;
                phase.start_ts = Some(at);
            }
            _ => return Err(wrong(text)),
        }
    }
    Ok(phase)
}

/// Phases, one on each line or with semicolons between them.
///
/// # Errors
/// With the reason, if one is none.
pub fn parse_all(text: &str) -> Result<Vec<NewPhase>, String> {
    text.split(['\n', ';'])
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(parse)
        .collect()
}

/// Phases as they are meant by people: the rest follows by itself, and `start` is when the first one begins.
///
/// # Errors
/// With the reason, if `start` and the first phase contradict each other.
pub fn complete(
    mut phases: Vec<NewPhase>,
    start: Option<Timestamp>,
) -> Result<Vec<NewPhase>, String> {
    let takes_rest = |phase: &NewPhase| {
        phase.batch_size.is_none() && phase.batch_count.is_none() && phase.group.is_none()
    };
    let wanted = !phases.is_empty() || start.is_some();
    if wanted && !phases.last().is_some_and(takes_rest) {
        phases.push(NewPhase::default());
    }
    if let (Some(start), Some(first)) = (start, phases.first_mut()) {
        if first.start_ts.is_some() || first.wait_seconds.is_some() {
            return Err("the start and the first phase both say when it begins".to_owned());
        }
        first.start_ts = Some(start);
    }
    Ok(phases)
}

fn wrong(text: &str) -> String {
    format!(
        "{text:?} is no phase: one is written like 10, 25%, group=beta or rest, then ,wait=2h ,at=TIME or ,pause"
    )
}

fn seconds(text: &str) -> Result<u64, String> {
    humantime::parse_duration(text)
        .map(|wait| wait.as_secs())
        .map_err(|err| format!("a wait is written like 90m or 2h, not {text:?}: {err}"))
}

/// A phase in words.
#[must_use]
pub fn describe(phase: &NewPhase) -> String {
    let size = match (phase.batch_size, phase.batch_count, &phase.group) {
        (Some(percent), _, _) => format!("{percent} % of the devices"),
        (None, Some(1), _) => "1 device".to_owned(),
        (None, Some(count), _) => format!("{count} devices"),
        (None, None, Some(group)) => format!("group {group}"),
        (None, None, None) => "all that are left".to_owned(),
    };
    let mut text = size;
    if let Some(at) = phase.start_ts {
        text.push_str(&format!(", from {at}"));
    }
    if let Some(wait) = phase.wait_seconds.filter(|wait| *wait > 0) {
        let wait = humantime::format_duration(Duration::from_secs(wait));
        text.push_str(&format!(", {wait} after those before are done"));
    }
    if phase.pause {
        text.push_str(", when somebody says go on");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, described: &str) {
        assert_eq!(describe(&parse(text).unwrap()), described);
    }

    #[test]
    fn phases_are_read_and_said_in_words() {
        check("1", "1 device");
        check(
            " 25% , wait=2h30m",
            "25 % of the devices, 2h 30m after those before are done",
        );
        check(
            "group=beta,at=2026-12-01T22:00:00+01:00",
            "group beta, from 2026-12-01T21:00:00Z",
        );
        check("rest,pause", "all that are left, when somebody says go on");
        for text in [
            "",
            "x",
            "10%%",
            "-1",
            "300%",
            "10,wait=x",
            "10,at=now",
            "10,stop",
            "10,,",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        let start = "2026-12-01T22:00:00Z".parse().unwrap();
        let whole = complete(vec![parse("1").unwrap()], Some(start)).unwrap();
        assert_eq!(whole.len(), 2);
        assert_eq!(whole[0].start_ts, Some(start));
        assert_eq!(complete(Vec::new(), Some(start)).unwrap().len(), 1);
        assert_eq!(complete(Vec::new(), None).unwrap(), []);
        assert!(complete(vec![parse("1,wait=1h").unwrap()], Some(start)).is_err());
        assert_eq!(parse_all("10\r\n\n 50% ;rest").unwrap().len(), 3);
    }
}
