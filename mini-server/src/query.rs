//! The query of a request's address.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::reply::Refusal;

/// Names and values, in order; a name may come several times.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

/// Parameters of one request.
const LIMIT: usize = 600;

impl Query {
    /// Reads the part of an address behind the question mark.
    ///
    /// # Errors
    /// A refusal if there are far too many parameters.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let pairs: Vec<_> = form_urlencoded::parse(text.as_bytes())
            .into_owned()
            .take(LIMIT.saturating_add(1))
            .collect();
        if pairs.len() > LIMIT {
            return Err(Refusal::bad_request("too many query parameters"));
        }
        Ok(Self(pairs))
    }

    /// The first value of `name`.
    #[must_use]
    pub fn one(&self, name: &str) -> Option<&str> {
        let found = self.pairs().find(|(key, _)| *key == name);
        found.map(|(_, value)| value)
    }

    /// All values of `name`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs()
            .filter(move |(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// Everything.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The value of `name` as a number.
    ///
    /// # Errors
    /// A refusal if it is there and none.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        self.one(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    Refusal::bad_request(format!("{name} must be a number, not {text:?}"))
                })
            })
            .transpose()
    }

    /// All values of `name`, read as `T`.
    ///
    /// # Errors
    /// A refusal if one of them cannot be.
    pub fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Vec<T>, Refusal> {
        self.all(name)
            .map(|text| {
                text.parse()
                    .map_err(|err| Refusal::bad_request(format!("{name}: {err}")))
            })
            .collect()
    }

    /// The value of `name` as a truth.
    ///
    /// # Errors
    /// A refusal if it is there and neither true nor false.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.one(name) {
            None => Ok(None),
            Some("true" | "1" | "t" | "True" | "TRUE") => Ok(Some(true)),
            Some("false" | "0" | "f" | "False" | "FALSE") => Ok(Some(false)),
            Some(_) => Err(Refusal::bad_request(format!(
                "{name} must be true or false"
            ))),
        }
    }

    /// The same query for another page, written again.
    #[must_use]
    pub fn with_page(&self, number: u32, size: u32) -> String {
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(
            self.pairs()
                .filter(|(key, _)| !["page", "per_page"].contains(key)),
        );
        text.append_pair("page", &number.to_string());
        text.append_pair("per_page", &size.to_string());
        text.finish()
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}
