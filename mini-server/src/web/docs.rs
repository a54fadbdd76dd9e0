//! The book at `/docs`: how to use all of this, for whoever can reach the server.
//!
//! Its chapters are files of Markdown in `mini-server/docs/src`, in the program as they are. They are made into HTML at
//! the first look, in the frame of the other pages: one source, nothing to be built before, nothing to be delivered
//! beside the program. The same files are a book for mdBook.

mod book;
mod search;

use std::sync::LazyLock;

use askama::Template;

use super::answer::page;
use super::assets;
use crate::query::Query;
use crate::reply::{Refusal, Result};
use crate::request::Params;
use book::{Book, Chapter, Entry};
use search::Hit;

static BOOK: LazyLock<Book> = LazyLock::new(Book::read);

#[derive(Template)]
#[template(path = "docs.html")]
struct Page<'a> {
    css: String,
    js: String,
    icon: String,
    book: &'a Book,
    /// The chapter that is shown.
    chapter: Option<&'a Chapter>,
    /// What is looked for.
    words: &'a str,
    hits: Vec<Hit<'a>>,
}

impl<'a> Page<'a> {
    fn new(chapter: Option<&'a Chapter>, words: &'a str) -> Self {
        Self {
            css: assets::path("app.css"),
            js: assets::path("app.js"),
            icon: assets::path("icon.svg"),
            book: &BOOK,
            chapter,
            words,
            hits: search::search(&BOOK.chapters, words),
        }
    }

    fn title(&self) -> &str {
        self.chapter
            .map_or("Search", |chapter| chapter.title.as_str())
    }

    /// Whether `entry` is what is shown.
    fn is(&self, entry: &Entry) -> bool {
        self.chapter
            .is_some_and(|chapter| chapter.name == entry.name)
    }

    fn neighbours(&self) -> (Option<&'a Entry>, Option<&'a Entry>) {
        self.chapter
            .map_or((None, None), |chapter| self.book.neighbours(chapter.name))
    }
}

/// `GET /docs`: the first chapter, or what is found for `?q=`.
pub(crate) async fn start(query: Query) -> Result {
    match query.one("q").map(str::trim) {
        Some(words) if !words.is_empty() => page(&Page::new(None, words)),
        Some(_) | None => page(&Page::new(BOOK.chapter("index"), "")),
    }
}

/// `GET /docs/{chapter}`
pub(crate) async fn chapter(Params(name): Params<String>) -> Result {
    // The files link to each other by their names.
    let name = name.strip_suffix(".md").unwrap_or(&name);
    let chapter = BOOK.chapter(name);
    let chapter = chapter.ok_or_else(|| Refusal::not_found("page"))?;
    page(&Page::new(Some(chapter), ""))
}
