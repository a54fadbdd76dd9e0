//! The cookie in which a browser keeps the token of a session.

use http::{HeaderMap, HeaderValue, header};

use crate::management::login::SESSION;

/// Its prefix makes browsers refuse it from elsewhere, without TLS, or for a part of the server only.
const NAME: &str = "__Host-tandem";

/// The token that a browser sends.
#[must_use]
pub(crate) fn read(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == NAME)
        .map(|(_, token)| token)
}

/// The header that has a browser keep a token as long as the session lasts.
#[must_use]
pub(super) fn keep(token: &str) -> Option<HeaderValue> {
    write(token, SESSION / 1000)
}

/// The header that has a browser forget the token.
#[must_use]
pub(super) fn forget() -> Option<HeaderValue> {
    write("", 0)
}

/// `Lax` and not `Strict`: who follows a link in a message is signed in. What changes something is looked at apart.
fn write(token: &str, seconds: i64) -> Option<HeaderValue> {
    let attributes = "Path=/; Secure; HttpOnly; SameSite=Lax";
    HeaderValue::try_from(format!("{NAME}={token}; {attributes}; Max-Age={seconds}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_among_other_cookies() {
        let check = |cookies: &[&'static str], expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            for cookie in cookies {
                headers.append(header::COOKIE, HeaderValue::from_static(cookie));
            }
            assert_eq!(read(&headers), expected);
        };
        check(&[], None);
        check(&["a=b; __Host-tandem=x.y.z"], Some("x.y.z"));
        check(&["a=b", "c=d;__Host-tandem=t; e"], Some("t"));
        check(
            &["__Host-tandem2=t; x__Host-tandem=u", "__host-tandem=v"],
            None,
        );
    }
}
