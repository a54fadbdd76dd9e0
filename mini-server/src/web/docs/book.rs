//! The chapters, in the order of `SUMMARY.md`, made into HTML.

use std::collections::HashSet;

use pulldown_cmark::{
    CodeBlockKind, CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html,
};

/// The files, by their names without `.md`.
macro_rules! chapters {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../../docs/src/", $name, ".md")))),*]
    };
}

/// The pictures.
macro_rules! images {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../../docs/src/img/", $name)))),*]
    };
}

const SUMMARY: &str = include_str!("../../../docs/src/SUMMARY.md");

pub(super) const CHAPTERS: &[(&str, &str)] = chapters! {
    "index" "first-update" "how-it-works"
    "integrate" "integrate-uboot" "integrate-grub" "integrate-custom" "images" "artifacts" "state-scripts"
    "update-modules"
    "operate" "growing" "security" "troubleshooting"
    "from-mender" "from-rauc" "from-swupdate"
    "reference-commands" "reference-settings" "reference-states" "reference-metrics" "reference-api"
};

const IMAGES: &[(&str, &str)] = images! { "update.svg" "disk.svg" "trial.svg" "fleet.svg" "install.svg" "keys.svg" "scripts.svg" };

/// The book.
pub(super) struct Book {
    /// The table of contents.
    pub(super) parts: Vec<Part>,
    /// All chapters.
    pub(super) chapters: Vec<Chapter>,
}

/// Chapters under one heading.
pub(super) struct Part {
    /// The heading; empty before the first.
    pub(super) title: &'static str,
    /// What belongs to it.
    pub(super) entries: Vec<Entry>,
}

/// A line of the table of contents.
pub(super) struct Entry {
    /// The chapter.
    pub(super) name: &'static str,
    /// How it is called there.
    pub(super) title: &'static str,
}

/// A chapter.
pub(super) struct Chapter {
    pub(super) name: &'static str,
    pub(super) title: String,
    pub(super) html: String,
    pub(super) sections: Vec<Section>,
}

/// What stands under one heading of a chapter.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    /// Where to find it on the page.
    pub(super) id: String,
    /// Its heading.
    pub(super) heading: String,
    /// Whether it is one of the chapter's main sections.
    pub(super) main: bool,
    /// Its words.
    pub(super) text: String,
}

impl Book {
    /// Makes all of it of the files.
    pub(super) fn read() -> Self {
        Self {
            parts: contents(SUMMARY),
            chapters: CHAPTERS
                .iter()
                .map(|(name, text)| Chapter::read(name, text))
                .collect(),
        }
    }

    /// The chapter of this name.
    pub(super) fn chapter(&self, name: &str) -> Option<&Chapter> {
        self.chapters.iter().find(|chapter| chapter.name == name)
    }

    /// What stands before and behind a chapter.
    pub(super) fn neighbours(&self, name: &str) -> (Option<&Entry>, Option<&Entry>) {
        let entries: Vec<&Entry> = self.parts.iter().flat_map(|part| &part.entries).collect();
        let Some(place) = entries.iter().position(|entry| entry.name == name) else {
            return (None, None);
        };
        let at = |place: Option<usize>| place.and_then(|place| entries.get(place).copied());
        (at(place.checked_sub(1)), at(place.checked_add(1)))
    }
}

/// A picture as a part of the page: without its own style, which the page does not allow, but with that of `app.css`.
fn picture(link: &str) -> String {
    let name = link.strip_prefix("img/").unwrap_or(link);
    let found = IMAGES.iter().find(|(found, _)| *found == name);
    let Some((_, content)) = found else {
        return String::new();
    };
    let drawing = match (
        content.split_once("<style>"),
        content.split_once("</style>\n"),
    ) {
        (Some((before, _)), Some((_, behind))) => format!("{before}{behind}"),
        _ => (*content).to_owned(),
    };
    format!("<span class=\"scroll\" tabindex=\"0\">{drawing}</span>")
}

/// The table of contents: headings, and lines `- [title](file)`.
fn contents(summary: &'static str) -> Vec<Part> {
    let mut parts = vec![Part {
        title: "",
        entries: Vec::new(),
    }];
    for line in summary.lines().skip(1) {
        if let Some(title) = line.strip_prefix("# ") {
            parts.push(Part {
                title,
                entries: Vec::new(),
            });
        } else if let Some((title, name)) = link(line)
            && let Some(part) = parts.last_mut()
        {
            part.entries.push(Entry { name, title });
        }
    }
    parts
}

/// Title and name of the file of a line of the table of contents.
fn link(line: &'static str) -> Option<(&'static str, &'static str)> {
    let line = line.trim_start_matches([' ', '-']);
    let (title, file) = line.strip_prefix('[')?.split_once("](")?;
    Some((title, file.strip_suffix(".md)")?))
}

impl Chapter {
    fn read(name: &'static str, text: &str) -> Self {
        let (events, sections) = Reader::default().read(text);
        let mut page = String::new();
        html::push_html(&mut page, events.into_iter());
        Self {
            name,
            title: sections
                .first()
                .map(|section| section.heading.clone())
                .unwrap_or_default(),
            html: page,
            sections,
        }
    }
}

/// Goes through the events of a chapter: headings get their places, links lead to pages of ours.
#[derive(Default)]
struct Reader<'a> {
    events: Vec<Event<'a>>,
    sections: Vec<Section>,
    ids: HashSet<String>,
    /// Where the heading begins that is being read.
    heading: Option<usize>,
    /// What comes now stands for a picture that is there.
    is_in_picture: bool,
}

impl<'a> Reader<'a> {
    fn read(mut self, text: &'a str) -> (Vec<Event<'a>>, Vec<Section>) {
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            self.take(event);
        }
        (self.events, self.sections)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "most of Markdown stays as it is"
    )]
    fn take(&mut self, event: Event<'a>) {
        if self.is_in_picture {
            self.is_in_picture = event != Event::End(TagEnd::Image);
            return;
        }
        let event = match event {
            Event::Start(Tag::Heading { level, .. }) => {
                self.heading = Some(self.events.len());
                self.sections.push(Section {
                    main: level == HeadingLevel::H2,
                    ..Section::default()
                });
                event
            }
            Event::End(TagEnd::Heading(_)) => {
                self.end_heading();
                event
            }
            Event::Text(ref words) | Event::Code(ref words) => {
                self.read_words(words);
                event
            }
            Event::SoftBreak | Event::HardBreak | Event::End(_) => {
                self.read_words(" ");
                self.end(event)
            }
            // Nothing but Markdown has a meaning.
            Event::Html(words) | Event::InlineHtml(words) => Event::Text(words),
            Event::Start(tag) => self.start(tag),
            other => other,
        };
        self.events.push(event);
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "most of Markdown stays as it is"
    )]
    fn start(&mut self, tag: Tag<'a>) -> Event<'a> {
        match tag {
            Tag::Link {
                link_type,
                dest_url,
                title,
                id,
            } => Event::Start(Tag::Link {
                link_type,
                dest_url: target(&dest_url).into(),
                title,
                id,
            }),
            Tag::Image { dest_url, .. } => {
                self.is_in_picture = true;
                Event::Html(picture(&dest_url).into())
            }
            // What is to be typed or put into a file can be copied. What may be wider than the window can be
            // reached, and so moved, with the keyboard.
            Tag::CodeBlock(CodeBlockKind::Fenced(kind)) if !is_output(&kind) => {
                fixed("<pre class=\"copy\" tabindex=\"0\"><code>")
            }
            Tag::CodeBlock(_) => fixed("<pre tabindex=\"0\"><code>"),
            Tag::Table(_) => {
                self.events
                    .push(fixed("<div class=\"scroll\" tabindex=\"0\">"));
                Event::Start(tag)
            }
            tag => Event::Start(tag),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "most of Markdown stays as it is"
    )]
    fn end(&mut self, event: Event<'a>) -> Event<'a> {
        match event {
            Event::End(TagEnd::CodeBlock) => fixed("</code></pre>"),
            Event::End(TagEnd::Table) => {
                self.events.push(event);
                fixed("</div>")
            }
            event => event,
        }
    }

    fn read_words(&mut self, words: &str) {
        if let Some(section) = self.sections.last_mut() {
            match self.heading {
                Some(_) => section.heading.push_str(words),
                None => section.text.push_str(words),
            }
        }
    }

    fn end_heading(&mut self) {
        let (Some(start), Some(section)) = (self.heading.take(), self.sections.last_mut()) else {
            return;
        };
        let base = place(&section.heading);
        let mut place = base.clone();
        let mut number: u32 = 0;
        while !self.ids.insert(place.clone()) {
            number = number.saturating_add(1);
            place = format!("{base}-{number}");
        }
        section.id.clone_from(&place);
        if let Some(Event::Start(Tag::Heading { id, .. })) = self.events.get_mut(start) {
            *id = Some(place.into());
        }
    }
}

fn fixed(text: &'static str) -> Event<'static> {
    Event::Html(CowStr::Borrowed(text))
}

/// Whether a block shows what a program says.
fn is_output(kind: &str) -> bool {
    matches!(kind, "" | "text" | "output")
}

/// Where a link leads to on the server.
fn target(link: &str) -> String {
    let (file, place) = link.split_at(link.find('#').unwrap_or(link.len()));
    match file.strip_suffix(".md") {
        Some("index") => format!("/docs{place}"),
        Some(name) => format!("/docs/{name}{place}"),
        None => link.to_owned(),
    }
}

/// The place of a heading, as mdBook and code hosts make it.
fn place(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    });
    kept.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(markdown: &str, page: &str) {
        assert_eq!(Chapter::read("x", markdown).html.trim(), page);
    }

    #[test]
    fn markdown_becomes_pages_of_ours() {
        check("# A `b` c!", "<h1 id=\"a-b-c\">A <code>b</code> c!</h1>");
        check(
            "[x](operate.md#backup)",
            "<p><a href=\"/docs/operate#backup\">x</a></p>",
        );
        check(
            "[x](index.md) [y](#here)",
            "<p><a href=\"/docs\">x</a> <a href=\"#here\">y</a></p>",
        );
        check("![a](img/nothing.svg) b", "<p> b</p>");
        check(
            "```sh\na <b\n```",
            "<pre class=\"copy\" tabindex=\"0\"><code>a &lt;b\n</code></pre>",
        );
        check(
            "```output\na\n```",
            "<pre tabindex=\"0\"><code>a\n</code></pre>",
        );
        check(
            "|a|\n|-|\n",
            "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th>a</th></tr></thead><tbody>\n</tbody></table>\n</div>",
        );
        check("<script>x</script>", "&lt;script&gt;x&lt;/script&gt;");
    }

    #[test]
    fn two_headings_of_a_name_have_two_places() {
        let chapter = Chapter::read("x", "# A\n## B\ntext\n## B\n");
        let ids: Vec<&str> = chapter.sections.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "b-1"]);
        assert_eq!(chapter.title, "A");
        assert_eq!(chapter.sections[1].text.trim(), "text");
    }

    #[test]
    fn the_table_of_contents_has_every_chapter_once() {
        let book = Book::read();
        let mut listed: Vec<&str> = book
            .parts
            .iter()
            .flat_map(|part| part.entries.iter().map(|entry| entry.name))
            .collect();
        let mut there: Vec<&str> = CHAPTERS.iter().map(|(name, _)| *name).collect();
        assert_eq!(listed.first(), Some(&"index"));
        listed.sort_unstable();
        there.sort_unstable();
        assert_eq!(listed, there);
    }

    #[test]
    fn every_link_leads_somewhere() {
        let book = Book::read();
        let place_of = |chapter: &str, id: &str| {
            let chapter = book.chapter(chapter).unwrap();
            id.is_empty() || chapter.sections.iter().any(|section| section.id == id)
        };
        for chapter in &book.chapters {
            for link in targets(&chapter.html) {
                let (path, id) = link.split_once('#').unwrap_or((link, ""));
                let leads = match path.strip_prefix("/docs") {
                    Some("") => place_of("index", id),
                    Some(path) => {
                        let name = path.trim_start_matches('/');
                        book.chapter(name).is_some() && place_of(name, id)
                    }
                    None => path.is_empty() && place_of(chapter.name, id),
                };
                assert!(leads, "{} has a link to {link}", chapter.name);
            }
        }
    }

    /// What the links and pictures of a page lead to.
    fn targets(html: &str) -> Vec<&str> {
        let parts = html
            .split(" href=\"")
            .skip(1)
            .chain(html.split(" src=\"").skip(1));
        parts.map(|part| part.split('"').next().unwrap()).collect()
    }

    #[test]
    fn every_picture_is_shown_and_asks_nobody() {
        let book = Book::read();
        for (name, content) in IMAGES {
            let text = format!("id=\"{}-title\"", name.trim_end_matches(".svg"));
            assert!(
                book.chapters
                    .iter()
                    .any(|chapter| chapter.html.contains(&text)),
                "{name}"
            );
            let content = content.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !content.contains("http") && !content.contains("<script"),
                "{name}"
            );
        }
        for chapter in &book.chapters {
            assert!(
                !chapter.html.contains("<style") && !chapter.html.contains("<img"),
                "{}",
                chapter.name
            );
        }
    }
}
