//! Paths and bodies of the device API, as a device writes and reads them.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tandem_artifact::{ARTIFACT_NAME, Provides};

use crate::key_values::{KeyValues, Values};

pub(super) const AUTHORISATION: &str = "/api/devices/v1/authentication/auth_requests";
pub(super) const NEXT_V2: &str = "/api/devices/v2/deployments/device/deployments/next";
pub(super) const ATTRIBUTES: &str = "/api/devices/v1/inventory/device/attributes";
const DEPLOYMENTS: &str = "/api/devices/v1/deployments/device/deployments";

/// The path of a deployment's status.
///
/// # Errors
/// When the id cannot stand in a path; it has come from a server.
pub(super) fn status(deployment: &str) -> Result<String> {
    Ok(format!("{DEPLOYMENTS}/{}/status", plain(deployment)?))
}

/// The path of a deployment's log.
///
/// # Errors
/// As [`status`].
pub(super) fn log(deployment: &str) -> Result<String> {
    Ok(format!("{DEPLOYMENTS}/{}/log", plain(deployment)?))
}

/// The older way to ask for a deployment.
pub(super) fn next_v1(device_type: &str, provides: &Provides) -> String {
    let name = provides
        .get(ARTIFACT_NAME)
        .map(String::as_str)
        .unwrap_or_default();
    format!(
        "{DEPLOYMENTS}/next?artifact_name={}&device_type={}",
        percent(name),
        percent(device_type)
    )
}

/// The body of the newer way: everything that is installed, flat.
pub(super) fn next_request(device_type: &str, provides: &Provides) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Next<'a> {
        device_provides: std::collections::BTreeMap<&'a str, &'a str>,
    }
    let mut all: std::collections::BTreeMap<&str, &str> = provides
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    all.insert("device_type", device_type);
    Ok(serde_json::to_vec(&Next {
        device_provides: all,
    })?)
}

/// A deployment that is offered.
pub(super) struct Offer {
    pub(super) id: String,
    pub(super) artifact_name: String,
    pub(super) url: String,
    pub(super) expires: Option<String>,
}

/// Reads an offer; what it says about the artifact is not believed, the artifact's own header is.
pub(super) fn offer(body: &[u8]) -> Result<Offer> {
    #[derive(Deserialize)]
    struct Next {
        id: String,
        artifact: Artifact,
    }
    #[derive(Deserialize)]
    struct Artifact {
        #[serde(default)]
        artifact_name: String,
        source: Source,
    }
    #[derive(Deserialize)]
    struct Source {
        uri: String,
        #[serde(default)]
        expire: Option<String>,
    }
    let next: Next = serde_json::from_slice(body)?;
    plain(&next.id)?;
    Ok(Offer {
        id: next.id,
        artifact_name: next.artifact.artifact_name,
        url: next.artifact.source.uri,
        expires: next.artifact.source.expire,
    })
}

/// The body of a report.
pub(super) fn report(status: &str, substate: Option<&str>) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Report<'a> {
        status: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        substate: Option<&'a str>,
    }
    Ok(serde_json::to_vec(&Report { status, substate })?)
}

/// The body of an inventory.
pub(super) fn inventory(attributes: &KeyValues) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Attribute<'a> {
        name: &'a str,
        value: &'a Values,
    }
    let all: Vec<Attribute> = attributes
        .iter()
        .map(|(name, value)| Attribute { name, value })
        .collect();
    Ok(serde_json::to_vec(&all)?)
}

/// The body of a request for authorisation; it is signed as it is.
pub(super) fn authorisation(
    identity: &str,
    public_key: &str,
    tenant_token: Option<&str>,
) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Authorisation<'a> {
        id_data: &'a str,
        pubkey: &'a str,
        tier: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        tenant_token: Option<&'a str>,
    }
    let request = Authorisation {
        id_data: identity,
        pubkey: public_key,
        tier: "standard",
        tenant_token,
    };
    Ok(serde_json::to_vec(&request)?)
}

/// What a server says in an error's body, shortened and on one line.
pub(super) fn error_text(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Error {
        error: String,
    }
    let text = match serde_json::from_slice::<Error>(body) {
        Ok(Error { error }) => error,
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
            encoded.push_str(&format!("%{byte:02X}"));
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
        let whole =
            br#"{"id":"x","artifact":{"artifact_name":"a","source":{"uri":"https://h/a"}}}"#;
        assert_eq!(offer(whole).unwrap().url, "https://h/a");
        for body in [
            &br#"{"artifact":{"source":{"uri":"u"}}}"#[..],
            br#"{"id":"x","artifact":{}}"#,
            br#"{"id":"../x","artifact":{"source":{"uri":"u"}}}"#,
            br#"{"id": 7, "artifact": ["#,
            b"",
        ] {
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
