//! Bodies and paths of the device API, from what the agent knows and to what it needs.

use std::fmt::Write;

use anyhow::{Result, ensure};
use tandem_api::device::{
    Attribute, AttributeValue, NEXT_V1, NextDeployment, NextRequest, StatusReport, log_path,
    status_path,
};
use tandem_api::{DeploymentStatus, ErrorBody};
use tandem_artifact::{ARTIFACT_NAME, Provides};

use crate::key_values::{KeyValues, Values};

/// The path of a deployment's status.
///
/// # Errors
/// When the id cannot stand in a path; it has come from a server.
pub(super) fn status(deployment: &str) -> Result<String> {
    Ok(status_path(plain(deployment)?))
}

/// The path of a deployment's log.
///
/// # Errors
/// As [`status`].
pub(super) fn log(deployment: &str) -> Result<String> {
    Ok(log_path(plain(deployment)?))
}

/// The older way to ask for a deployment.
pub(super) fn next_v1(device_type: &str, provides: &Provides) -> String {
    let name = provides
        .get(ARTIFACT_NAME)
        .map(String::as_str)
        .unwrap_or_default();
    let (name, device_type) = (percent(name), percent(device_type));
    format!("{NEXT_V1}?artifact_name={name}&device_type={device_type}")
}

/// The body of the newer way: everything that is installed, flat.
pub(super) fn next_v2(device_type: &str, provides: &Provides) -> Result<Vec<u8>> {
    let mut device_provides = provides.clone();
    device_provides.insert("device_type".to_owned(), device_type.to_owned());
    let request = NextRequest {
        device_provides,
        update_control_map: false,
    };
    Ok(serde_json::to_vec(&request)?)
}

/// Reads an offer. What it says about the artifact is not believed; the artifact's header is.
pub(super) fn offer(body: &[u8]) -> Result<NextDeployment> {
    let offer: NextDeployment = serde_json::from_slice(body)?;
    plain(&offer.id)?;
    Ok(offer)
}

/// The body of a report.
pub(super) fn report(status: DeploymentStatus, substate: Option<&str>) -> Result<Vec<u8>> {
    let substate = substate.map(str::to_owned);
    Ok(serde_json::to_vec(&StatusReport { status, substate })?)
}

/// The body of an inventory.
pub(super) fn inventory(attributes: &KeyValues) -> Result<Vec<u8>> {
    let attributes: Vec<Attribute> = attributes
        .iter()
        .map(|(name, values)| Attribute {
            name: name.clone(),
            value: match values {
                Values::One(value) => AttributeValue::Text(value.clone()),
                Values::Many(values) => AttributeValue::Texts(values.clone()),
            },
            scope: None,
            description: None,
            timestamp: None,
        })
        .collect();
    Ok(serde_json::to_vec(&attributes)?)
}

/// What a server says in an error's body, shortened and on one line.
pub(super) fn error_text(body: &[u8]) -> Option<String> {
    let text = match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => body.error,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let line: String = text
        .chars()
        .take(200)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let line = line.trim().to_owned();
    (!line.is_empty()).then_some(line)
}

/// An id that is safe in a path and in a file name.
fn plain(id: &str) -> Result<&str> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    ensure!(
        !id.is_empty() && id.len() <= 128 && id.chars().all(fine),
        "{id:?} is no deployment id"
    );
    Ok(id)
}

/// Percent-encoding for a query (RFC 3986): all but what is unreserved.
fn percent(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_a_query() {
        assert_eq!(percent("a b&c/d"), "a%20b%26c%2Fd");
        assert_eq!(percent("release-1.0_x~"), "release-1.0_x~");
        assert_eq!(percent("ü"), "%C3%BC");
    }

    #[test]
    fn an_id_is_never_a_path() {
        for id in ["../../etc", "", "a/b", "a b", "%2e", &"x".repeat(129)] {
            assert!(status(id).is_err(), "{id:?}");
        }
        assert!(status("3f2504e0-4f89-11d3-9a0c-0305e82c3301").is_ok());
    }

    #[test]
    fn an_offer_needs_an_id_and_an_address() {
        let offered = |id: &str, source: &str| {
            offer(
                format!(
                    r#"{{"id":"{id}","artifact":{{"artifact_name":"a","device_types_compatible":["t"],"source":{{{source}}}}}}}"#
                )
                .as_bytes(),
            )
        };
        let whole = offered(
            "x",
            r#""uri":"https://h/a","expire":"2026-11-24T08:00:00.123Z""#,
        );
        assert_eq!(whole.unwrap().artifact.source.uri, "https://h/a");
        assert!(offered("../x", r#""uri":"https://h/a""#).is_err());
        assert!(offered("x", "").is_err());
        for body in [&br#"{"id": 7, "artifact": ["#[..], b"", b"[]", b"null"] {
            assert!(offer(body).is_err());
        }
    }

    #[test]
    fn what_a_server_says_fits_on_a_line() {
        assert_eq!(
            error_text(br#"{"error":"no\nway"}"#).as_deref(),
            Some("no way")
        );
        assert_eq!(
            error_text(b"404 page not found\n").as_deref(),
            Some("404 page not found")
        );
        assert_eq!(error_text(b""), None);
        assert_eq!(error_text(&[b'x'; 5000]).unwrap().len(), 200);
    }
}
