//! Lists in pages: which page is asked for, and the links to its neighbours.

use http::{HeaderMap, HeaderValue, header};
use tandem_api::TOTAL_COUNT;

use crate::query::Query;
use crate::reply::Refusal;

/// A page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// From 1.
    number: u32,
    /// How many on a page.
    size: u32,
}

const DEFAULT_SIZE: u32 = 20;
const MAX_SIZE: u32 = 500;

impl Page {
    /// The first page of `size`.
    #[must_use]
    pub fn first(size: u32) -> Self {
        Self { number: 1, size }
    }

    /// A page by number and size.
    ///
    /// # Errors
    /// A refusal if either is out of range.
    pub fn new(number: u32, size: u32) -> Result<Self, Refusal> {
        if number < 1 {
            return Err(Refusal::bad_request("page must be a number from 1"));
        }
        if !(1..=MAX_SIZE).contains(&size) {
            let limit = format!("per_page must be a number from 1 to {MAX_SIZE}");
            return Err(Refusal::bad_request(limit));
        }
        Ok(Self { number, size })
    }

    /// The page that a query asks for.
    ///
    /// # Errors
    /// A refusal if it asks for none that can be.
    pub fn of(query: &Query) -> Result<Self, Refusal> {
        let number = query.number("page")?.unwrap_or(1);
        let size = query.number("per_page")?.unwrap_or(DEFAULT_SIZE);
        Self::new(number, size)
    }

    /// The same; a size out of range becomes the usual one, as Mender's server has it for artifacts and releases.
    ///
    /// # Errors
    /// A refusal if the number of the page is none.
    pub fn lenient(query: &Query) -> Result<Self, Refusal> {
        let size = query.number("per_page").ok().flatten();
        let size = size.filter(|size| (1..=MAX_SIZE).contains(size));
        Self::new(
            query.number("page")?.unwrap_or(1),
            size.unwrap_or(DEFAULT_SIZE),
        )
    }

    /// The entries on this page.
    #[must_use]
    pub fn window(self) -> Window {
        let size = i64::from(self.size);
        let skipped = i64::from(self.number).saturating_sub(1);
        Window {
            offset: skipped.saturating_mul(size),
            limit: size,
        }
    }

    /// The entries on this page and one more, by which one sees whether there is a next page.
    #[must_use]
    pub fn peek(self) -> Window {
        let Window { offset, limit } = self.window();
        Window {
            offset,
            limit: limit.saturating_add(1),
        }
    }

    /// Takes the entry behind this page away again; whether there was one.
    pub fn trim<T>(self, list: &mut Vec<T>) -> bool {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let more = list.len() > size;
        list.truncate(size);
        more
    }

    /// The entries of this page out of the whole list.
    pub fn cut<T>(self, list: Vec<T>) -> Vec<T> {
        let skipped = usize::try_from(self.window().offset).unwrap_or(usize::MAX);
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        list.into_iter().skip(skipped).take(size).collect()
    }

    /// The links to other pages of a list of `total` entries, and that number.
    pub fn headers_with_total(self, path: &str, query: &Query, total: u64) -> HeaderMap {
        let last = total.div_ceil(u64::from(self.size)).max(1);
        let last = u32::try_from(last).unwrap_or(u32::MAX);
        let mut headers = self.links(path, query, self.number < last, Some(last));
        headers.insert(TOTAL_COUNT, HeaderValue::from(total));
        headers
    }

    /// The links to other pages of a list of which only the next page, if there is one, is known.
    pub fn headers(self, path: &str, query: &Query, more: bool) -> HeaderMap {
        self.links(path, query, more, None)
    }

    fn links(self, path: &str, query: &Query, more: bool, last: Option<u32>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut link = |number: u32, relation: &str| {
            let query = query.with_page(number, self.size);
            let link = format!("<{path}?{query}>; rel=\"{relation}\"");
            // One header each, as the real server sends them. What cannot be in a header was not asked for.
            if let Ok(value) = HeaderValue::try_from(link) {
                headers.append(header::LINK, value);
            }
        };
        link(1, "first");
        if self.number > 1 {
            link(self.number.saturating_sub(1), "prev");
        }
        if more {
            link(self.number.saturating_add(1), "next");
        }
        if let Some(last) = last {
            link(last, "last");
        }
        headers
    }
}

/// A stretch of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// How many entries are skipped before it.
    pub offset: i64,
    /// How many entries it has at most.
    pub limit: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, total: u64, expected: &[&str]) {
        let query = Query::parse(query).unwrap();
        let page = Page::of(&query).unwrap();
        let headers = page.headers_with_total("/api/x", &query, total);
        let links: Vec<_> = headers
            .get_all(header::LINK)
            .iter()
            .map(|link| link.to_str().unwrap())
            .collect();
        assert_eq!(links, expected);
        assert_eq!(headers[TOTAL_COUNT], total.to_string());
    }

    #[test]
    fn there_is_a_link_to_each_neighbour() {
        check(
            "",
            0,
            &[
                "</api/x?page=1&per_page=20>; rel=\"first\"",
                "</api/x?page=1&per_page=20>; rel=\"last\"",
            ],
        );
        check(
            "status=a%20b&page=2&per_page=10&status=c",
            31,
            &[
                "</api/x?status=a+b&status=c&page=1&per_page=10>; rel=\"first\"",
                "</api/x?status=a+b&status=c&page=1&per_page=10>; rel=\"prev\"",
                "</api/x?status=a+b&status=c&page=3&per_page=10>; rel=\"next\"",
                "</api/x?status=a+b&status=c&page=4&per_page=10>; rel=\"last\"",
            ],
        );
        check(
            "page=9&per_page=500",
            3,
            &[
                "</api/x?page=1&per_page=500>; rel=\"first\"",
                "</api/x?page=8&per_page=500>; rel=\"prev\"",
                "</api/x?page=1&per_page=500>; rel=\"last\"",
            ],
        );
    }

    #[test]
    fn pages_out_of_range_are_refused() {
        for wrong in [
            "page=0",
            "page=-1",
            "page=x",
            "page=99999999999",
            "per_page=0",
            "per_page=501",
            "per_page=",
        ] {
            assert!(Page::of(&Query::parse(wrong).unwrap()).is_err(), "{wrong}");
        }
        let lenient = Page::lenient(&Query::parse("per_page=501&page=3").unwrap()).unwrap();
        assert_eq!(
            lenient.window(),
            Window {
                offset: 40,
                limit: 20
            }
        );
    }
}
