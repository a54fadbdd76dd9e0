//! The links below a list that goes over several pages. Pure.

use super::wording::grouped;
use crate::paging::{Page, Window};
use crate::query::Query;
use crate::reply::Refusal;

/// Entries on one page.
pub(super) const SIZE: u32 = 50;

/// Where in a list one is.
pub(super) struct Pager {
    /// `1–50 of 1 234`
    pub(super) place: String,
    /// The address of the page before, if there is one.
    pub(super) previous: Option<String>,
    /// The address of the page after, if there is one.
    pub(super) next: Option<String>,
}

/// The part of a list that a query asks for.
///
/// # Errors
/// A refusal if it asks for none that can be.
pub(super) fn window(query: &Query) -> Result<Window, Refusal> {
    Ok(Page::new(number(query), SIZE)?.window())
}

impl Pager {
    /// For a list of `total` entries at `path`.
    pub(super) fn new(path: &str, query: &Query, total: u64) -> Self {
        let number = number(query);
        let last = u32::try_from(total.div_ceil(u64::from(SIZE))).unwrap_or(u32::MAX);
        let link = |number: u32| {
            let mut text = form_urlencoded::Serializer::new(String::new());
            text.extend_pairs(query.pairs().filter(|(key, _)| *key != "page"));
            text.append_pair("page", &number.to_string());
            format!("{path}?{}", text.finish())
        };
        let skipped = u64::from(number.saturating_sub(1)).saturating_mul(u64::from(SIZE));
        let end = skipped.saturating_add(u64::from(SIZE)).min(total);
        let place = if skipped >= total {
            format!("0 of {}", grouped(total))
        } else {
            let first = skipped.saturating_add(1);
            format!("{}–{} of {}", grouped(first), grouped(end), grouped(total))
        };
        Self {
            place,
            previous: (number > 1).then(|| link(number.saturating_sub(1).min(last.max(1)))),
            next: (number < last).then(|| link(number.saturating_add(1))),
        }
    }
}

fn number(query: &Query) -> u32 {
    let number = query.number("page").ok().flatten().unwrap_or(1);
    number.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, total: u64, expected: (&str, Option<&str>, Option<&str>)) {
        let pager = Pager::new("/d", &Query::parse(query).unwrap(), total);
        let found = (
            pager.place.as_str(),
            pager.previous.as_deref(),
            pager.next.as_deref(),
        );
        assert_eq!(found, expected);
    }

    #[test]
    fn neighbours_are_linked_and_the_filters_stay() {
        check("", 0, ("0 of 0", None, None));
        check("", 50, ("1–50 of 50", None, None));
        check(
            "q=a%26b",
            51,
            ("1–50 of 51", None, Some("/d?q=a%26b&page=2")),
        );
        check("page=2", 51, ("51–51 of 51", Some("/d?page=1"), None));
        check("page=99", 51, ("0 of 51", Some("/d?page=2"), None));
        check("page=x", 1, ("1–1 of 1", None, None));
    }
}
