//! What the verbs print: tables for people, JSON for scripts.

use std::io::Write;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::inert::{json, visible};

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// For people.
    Table,
    /// For scripts.
    Json,
}

/// Rows under a head line.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    #[must_use]
    pub fn new(columns: &[&str]) -> Self {
        Self {
            rows: vec![columns.iter().map(ToString::to_string).collect()],
        }
    }

    /// One more row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// The table, its columns aligned.
    #[must_use]
    pub fn render(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| inert(cell)).collect())
            .collect();
        let columns = rows.first().map(Vec::len).unwrap_or_default();
        let width = |n: usize| {
            let cells = rows.iter().filter_map(|row| row.get(n));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

impl Output {
    /// Prints a list or an object: as JSON as it came, or as the table that `table` makes of it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn show<T: Serialize>(self, value: &T, table: impl FnOnce(&T) -> String) -> Result<()> {
        match self {
            Self::Json => {
                let text = serde_json::to_string_pretty(value).context("cannot write JSON")?;
                print(&format!("{}\n", json(&text)))
            }
            Self::Table => print(&table(value)),
        }
    }

    /// Prints what was done: a sentence for people, an object for scripts.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn done(self, value: &serde_json::Value, sentence: &str) -> Result<()> {
        self.show(value, |_| format!("{}\n", inert(sentence)))
    }
}

/// Prints the answer of a verb.
///
/// # Errors
/// If nobody reads it.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot print")
}

/// Text from outside as it may be shown on a terminal.
#[must_use]
pub fn inert(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// Several lines from outside as they may be shown on a terminal.
#[must_use]
pub fn inert_lines(text: &str) -> String {
    let inert = |c: char| match c {
        '\n' | '\t' => c,
        c => visible(c),
    };
    text.chars().map(inert).collect()
}

/// A size as people read it.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut left = bytes;
    let mut shown = format!("{bytes} B");
    for unit in UNITS {
        if left < 1024 {
            break;
        }
        let tenths = left.saturating_mul(10) / 1024;
        shown = format!("{}.{} {unit}", tenths / 10, tenths % 10);
        left /= 1024;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_moves_the_cursor() {
        let mut table = Table::new(&["id", "name"]);
        table.row(["1".to_owned(), "\u{1b}[2Jhidden\r\n".to_owned()]);
        table.row(["22222".to_owned(), "é".to_owned()]);
        assert_eq!(
            table.render(),
            "id     name\n1      ␛[2Jhidden␍␊\n22222  é\n"
        );
    }

    #[test]
    fn sizes_are_rounded_down() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (307_712, "300.5 KiB"),
            (5 << 30, "5.0 GiB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }
}
