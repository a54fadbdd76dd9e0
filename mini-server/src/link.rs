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

/// From whom devices get artifacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Links {
    /// From this server.
    Server,
    /// From the store in which they are kept.
    Store,
    /// From a cache in front of this server, at this address.
    Cache(String),
}

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

/// Whether `path` with this query may be read at `now`, and for how many seconds it still may.
///
/// # Errors
/// With the fault, if not.
pub fn check(
    key: &hmac::Key,
    path: &str,
    query: &Query,
    attempt: Attempt,
    now: Timestamp,
) -> Result<u64, Fault> {
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
        let left = expire.millis().saturating_sub(now.millis());
        Ok(u64::try_from(left).unwrap_or(0) / 1000)
    }
}

/// Until when a link is good that is given to everybody who asks at `now`, so that a cache gets to see the same one from
/// all: once to twice as long as `validity`, ms.
#[must_use]
pub fn shared_expiry(now: Timestamp, validity: i64) -> Timestamp {
    let validity = validity.max(1);
    let period = now.millis().div_euclid(validity);
    Timestamp::from_millis(period.saturating_add(2).saturating_mul(validity))
}

fn message(path: &str, expire: &str) -> Vec<u8> {
    format!("GET\n{path}\nx-men-expire={expire}\ntenant_id=\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenKey;

    fn try_link(link: &str, attempt: Attempt, seconds: i64) -> Result<u64, Fault> {
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
        assert_eq!(try_link(&link(), Attempt::Begin, 990), Ok(10));
        assert_eq!(try_link(&link(), Attempt::Begin, 1000), Ok(0));
        assert_eq!(try_link(&link(), Attempt::Begin, 1001), Err(Fault::Expired));
        assert_eq!(try_link(&link(), Attempt::Resume, 1001), Ok(0));
        assert_eq!(
            try_link(&link(), Attempt::Resume, 1001 + 24 * 3600),
            Err(Fault::Expired)
        );
    }

    #[test]
    fn a_shared_link_is_the_same_for_all_and_good_for_long_enough() {
        for (now, expected) in [(0, 20), (9, 20), (10, 30), (19, 30), (20, 40)] {
            let at = |millis| Timestamp::from_millis(millis);
            assert_eq!(shared_expiry(at(now), 10), at(expected), "{now}");
        }
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
