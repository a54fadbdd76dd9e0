//! Whether a request that changes something comes from a page of ours. Pure.
//!
//! Browsers say where a request comes from, and scripts cannot make them say anything else: `Sec-Fetch-Site` since
//! 2023 in all of them, `Origin` with every POST for longer. Who says neither is no browser that we know.

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, Uri, header};

use crate::app::Settings;
use crate::reply::Refusal;

/// Lets through what only reads, and what a page of ours sends.
///
/// # Errors
/// A refusal for everything else.
pub(crate) fn check(parts: &Parts, settings: &Settings) -> Result<(), Refusal> {
    if [Method::GET, Method::HEAD].contains(&parts.method)
        || is_own(&parts.headers, settings.public_url.as_deref())
    {
        return Ok(());
    }
    Err(Refusal::new(
        http::StatusCode::FORBIDDEN,
        "this request does not come from a page of this server; open the page again and repeat what you did",
    ))
}

/// Whether a request with these headers comes from a page that has the server's own address, or `public_url`.
fn is_own(headers: &HeaderMap, public_url: Option<&str>) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = text(header::ORIGIN.as_str()).and_then(authority) else {
        return false;
    };
    let host = text(header::HOST.as_str()).and_then(|host| host.parse::<Authority>().ok());
    let public = public_url.and_then(authority);
    [host, public]
        .into_iter()
        .flatten()
        .any(|own| own == origin)
}

/// What an `https` address says about host and port.
fn authority(address: &str) -> Option<Authority> {
    let address: Uri = address.parse().ok()?;
    if address.scheme_str() != Some("https") {
        return None;
    }
    address.authority().cloned()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &'static str)], expected: bool) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        assert_eq!(is_own(&map, Some("https://ota.example/")), expected);
    }

    #[test]
    fn only_our_own_pages_may_change_something() {
        let host = ("host", "a.example:8443");
        check(&[host, ("sec-fetch-site", "same-origin")], true);
        for other in ["same-site", "cross-site", "none", ""] {
            check(
                &[
                    host,
                    ("sec-fetch-site", other),
                    ("origin", "https://a.example:8443"),
                ],
                false,
            );
        }
        check(&[host, ("origin", "https://a.example:8443")], true);
        check(&[host, ("origin", "https://ota.example")], true);
        for other in [
            "https://a.example",
            "http://a.example:8443",
            "https://a.example:8443.evil.example",
            "https://evil.example",
            "null",
            "",
        ] {
            check(&[host, ("origin", other)], false);
        }
        check(&[host], false);
    }
}
