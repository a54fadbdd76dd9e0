//! Finding words in the book.

use super::book::{Chapter, Section};

/// A section that has all words that were looked for.
pub(super) struct Hit<'a> {
    /// The chapter.
    pub(super) chapter: &'a Chapter,
    /// The section.
    pub(super) section: &'a Section,
    /// What stands around the first word.
    pub(super) excerpt: String,
}

/// How many are shown.
const MOST: usize = 30;
/// How many words and how long a text are looked for; more is no question.
const MOST_WORDS: usize = 8;
const LONGEST: usize = 200;
/// Characters around a word in an excerpt.
const AROUND: usize = 90;

/// The sections with all of `words`, those first that have them in their headings.
pub(super) fn search<'a>(chapters: &'a [Chapter], words: &str) -> Vec<Hit<'a>> {
    let words: String = words
        .chars()
        .take(LONGEST)
        .collect::<String>()
        .to_lowercase();
    let words: Vec<&str> = words.split_whitespace().take(MOST_WORDS).collect();
    if words.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<(usize, Hit)> = Vec::new();
    for chapter in chapters {
        for section in &chapter.sections {
            let heading = section.heading.to_lowercase();
            let text = section.text.to_lowercase();
            if !words
                .iter()
                .all(|word| heading.contains(word) || text.contains(word))
            {
                continue;
            }
            let in_heading = words.iter().filter(|word| heading.contains(**word)).count();
            found.push((
                in_heading,
                Hit {
                    chapter,
                    section,
                    excerpt: excerpt(&section.text, &words),
                },
            ));
        }
    }
    // Stable: within a rank, the order of the book.
    found.sort_by_key(|(in_heading, _)| std::cmp::Reverse(*in_heading));
    found.into_iter().take(MOST).map(|(_, hit)| hit).collect()
}

/// What stands around the first of the words, one line.
fn excerpt(text: &str, words: &[&str]) -> String {
    let characters: Vec<char> = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .collect();
    // Lower case by character, so that places stay what they are.
    let lower: String = characters
        .iter()
        .map(|c| c.to_lowercase().next().unwrap_or(*c))
        .collect();
    let place = words.iter().find_map(|word| {
        let bytes = lower.find(word)?;
        Some(lower.get(..bytes)?.chars().count())
    });
    let place = place.unwrap_or(0);
    let (start, end) = (place.saturating_sub(AROUND), place.saturating_add(AROUND));
    let shown: String = characters
        .iter()
        .skip(start)
        .take(end.saturating_sub(start))
        .collect();
    let before = if start > 0 { "… " } else { "" };
    let after = if end < characters.len() { " …" } else { "" };
    format!("{before}{}{after}", shown.trim())
}

#[cfg(test)]
mod tests {
    use super::super::book::Book;
    use super::*;

    #[test]
    fn a_section_must_have_all_words_and_headings_come_first() {
        let book = Book::read();
        let hits = search(&book.chapters, "EXIT codes");
        assert!(!hits.is_empty());
        assert!(hits[0].section.heading.to_lowercase().contains("exit"));
        assert!(search(&book.chapters, "exit qqqqzzzz").is_empty());
        assert!(search(&book.chapters, "  ").is_empty());
        assert!(search(&book.chapters, &"ä ".repeat(10_000)).len() <= MOST);
    }

    #[test]
    fn an_excerpt_is_short_and_has_the_word() {
        let text = format!("{} Ünder WORD {}", "x ".repeat(500), "ÿ ".repeat(500));
        let excerpt = excerpt(&text, &["word"]);
        assert!(excerpt.contains("WORD"), "{excerpt}");
        assert!(excerpt.chars().count() < 200, "{excerpt}");
    }
}
