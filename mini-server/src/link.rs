//! Addresses that are a permission by themselves: signed, and good for some time. Pure: the time is given.
//!
//! `PATH?x-men-expire=TIME&x-men-signature=HMAC`, where the HMAC-SHA256 covers method, path and time (spec
//! `device-api` §6). The path says what may be read, and for a device also who: a link is of no use to a device that is
//! no longer let in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use tandem_api::Timestamp;

use crate::query::Query;

/// How long a device may begin a download with a link, ms.
pub const FOR_DEVICES: i64 = 24 * 60 * 60 * 1000;

/// How long an operator may begin a download with a link, ms.
pub const FOR_OPERATORS: i64 = 15 * 60 * 1000;

/// How long after its end a download that has begun may go on, ms.
const GRACE: i64 = 24 * 60 * 60 * 1000;

/// Why a link is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// We did not make it.
    Forged,
    /// It is too old.
    Expired,
}

/// A download is begun, or goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// From the first byte.
    Begin,
    /// From where it broke off.
    Resume,
}

/// `path` with a permission to read it until `expire`.
#[must_use]
pub fn sign(key: &hmac::Key, path: &str, expire: Timestamp) -> String {
    let expire = expire.to_string();
    let signature = hmac::sign(key, &message(path, &expire));
    let signature = URL_SAFE_NO_PAD.encode(signature);
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("x-men-expire", &expire);
    query.append_pair("x-men-signature", &signature);
    format!("{path}?{}", query.finish())
}

/// Whether `path` with this query may be read at `now`.
///
/// # Errors
/// With the fault, if not.
pub fn check(
    key: &hmac::Key,
    path: &str,
    query: &Query,
    attempt: Attempt,
    now: Timestamp,
) -> Result<(), Fault> {
    let expire = query.one("x-men-expire").ok_or(Fault::Forged)?;
    let signature = query.one("x-men-signature").ok_or(Fault::Forged)?;
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| Fault::Forged)?;
    hmac::verify(key, &message(path, expire), &signature).map_err(|_| Fault::Forged)?;
    let expire: Timestamp = expire.parse().map_err(|_| Fault::Forged)?;
    let end = match attempt {
        Attempt::Begin => expire,
        Attempt::Resume => expire.plus_millis(GRACE),
    };
    if now > end {
        Err(Fault::Expired)
    } else {
        Ok(())
    }
}

fn message(path: &str, expire: &str) -> Vec<u8> {
    format!("GET\n{path}\nx-men-expire={expire}\ntenant_id=\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenKey;

    fn try_link(link: &str, attempt: Attempt, seconds: i64) -> Result<(), Fault> {
        let key = TokenKey::new(&[1; 32]);
        let (path, query) = link.split_once('?').unwrap();
        let now = Timestamp::from_seconds(seconds);
        check(
            key.links(),
            path,
            &Query::parse(query).unwrap(),
            attempt,
            now,
        )
    }

    fn link() -> String {
        sign(
            TokenKey::new(&[1; 32]).links(),
            "/a/b",
            Timestamp::from_seconds(1000),
        )
    }

    #[test]
    fn a_link_is_good_until_it_expires_and_for_going_on_a_day_longer() {
        assert!(link().starts_with("/a/b?x-men-expire=1970-01-01T00%3A16%3A40Z&x-men-signature="));
        assert_eq!(try_link(&link(), Attempt::Begin, 1000), Ok(()));
        assert_eq!(try_link(&link(), Attempt::Begin, 1001), Err(Fault::Expired));
        assert_eq!(try_link(&link(), Attempt::Resume, 1001), Ok(()));
        assert_eq!(
            try_link(&link(), Attempt::Resume, 1001 + 24 * 3600),
            Err(Fault::Expired)
        );
    }

    #[test]
    fn nothing_about_a_link_can_be_changed() {
        for (from, to) in [
            ("/a/b", "/a/c"),
            ("16%3A40", "17%3A40"),
            ("signature=", "signature=A"),
            ("x-men-e", "x-men-f"),
        ] {
            let changed = link().replace(from, to);
            assert_eq!(
                try_link(&changed, Attempt::Begin, 0),
                Err(Fault::Forged),
                "{changed}"
            );
        }
        let signature = link().split("signature=").nth(1).unwrap().to_owned();
        assert_eq!(
            try_link(
                &format!("/a/b?x-men-signature={signature}"),
                Attempt::Begin,
                0
            ),
            Err(Fault::Forged)
        );
    }
}
