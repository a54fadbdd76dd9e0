//! The book, beside the programs that it speaks of: every command in it is run here, or says why
//! not, and its reference is what the programs say themselves.
//!
//! In a chapter, a block ```` ```sh ```` is run, one block after the other in one shell and an empty
//! directory; ```` ```sh skip: REASON ```` is not. A block ```` ```output ```` behind one has lines that must be
//! among what was printed, in this order; `…` stands for anything.
//!
//! The pages of the reference are made here: `UPDATE_BOOK=1 cargo test -p tandem-e2e --test book`.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and its files are its own"
)]

mod chapter;
mod commands;
mod reference;
mod story;

use std::fs;
use std::path::{Path, PathBuf};

use chapter::Chapter;

/// Where the chapters are.
fn book() -> PathBuf {
    repository().join("mini-server/docs/src")
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn chapters() -> Vec<Chapter> {
    let files = fs::read_dir(book())
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|file| file.extension().is_some_and(|end| end == "md"))
        .collect();
    files.sort();
    files.iter().map(|file| Chapter::read(file)).collect()
}

#[test]
fn every_command_is_run_or_says_why_not() {
    let kinds = ["sh", "output", "toml", "text"];
    for chapter in chapters() {
        for block in &chapter.blocks {
            let (kind, more) = block.kind.split_once(' ').unwrap_or((&block.kind, ""));
            assert!(
                kinds.contains(&kind),
                "{}: a block of the kind {:?}",
                chapter.name,
                block.kind
            );
            let reason = more.strip_prefix("skip: ").unwrap_or(more);
            assert!(
                more.is_empty() || (kind == "sh" && reason.len() > 8 && reason != more),
                "{}: {:?} gives no reason",
                chapter.name,
                block.kind
            );
        }
    }
}

#[test]
fn lines_are_short_enough_to_be_read() {
    for chapter in chapters() {
        for (number, line) in (1..).zip(chapter.text.lines()) {
            let is_long = line.chars().count() > 125;
            let may =
                line.starts_with(['|', '!']) || chapter.is_generated() || chapter.is_block(number);
            assert!(!is_long || may, "{}:{number} is too long", chapter.name);
        }
    }
}

#[test]
fn the_stories_come_true() {
    if !story::can_tell() {
        return;
    }
    let stories: Vec<Chapter> = chapters().into_iter().filter(story::is_one).collect();
    assert!(
        stories.len() >= 6,
        "only {} chapters have commands",
        stories.len()
    );
    let failures: Vec<String> = stories
        .iter()
        .filter_map(|story| story::tell(story).err())
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Compares a page with what it must be, or makes it that.
#[track_caller]
fn check_page(name: &str, wanted: &str) {
    let path = book().join(name);
    if std::env::var_os("UPDATE_BOOK").is_some() {
        fs::write(&path, wanted).unwrap();
        return;
    }
    let there = fs::read_to_string(&path).unwrap();
    if there != wanted {
        let mut lines = there.lines().zip(wanted.lines());
        let first = lines.find(|(one, other)| one != other);
        panic!(
            "{name} is out of date, first here: {first:?}\nUPDATE_BOOK=1 cargo test -p tandem-e2e --test book"
        );
    }
}

#[test]
fn the_reference_has_every_command_and_option() {
    check_page("reference-commands.md", &commands::page());
}

#[test]
fn the_reference_has_every_setting() {
    check_page("reference-settings.md", &reference::settings());
}

#[test]
fn the_reference_has_every_route() {
    check_page("reference-api.md", &reference::routes());
}

#[test]
fn the_reference_has_every_metric() {
    if let Some(page) = reference::metrics() {
        check_page("reference-metrics.md", &page);
    }
}

#[test]
fn the_reference_has_every_state_and_status() {
    let page = fs::read_to_string(book().join("reference-states.md")).unwrap();
    for name in reference::states() {
        assert!(
            page.contains(&format!("| `{name}` |")),
            "{name} is not in the book"
        );
    }
}
