//! Tables that can be read as they are and are Markdown too.

use std::fmt;

/// A table; the first row has the headings.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// One without rows yet.
    pub(crate) fn new(headings: &[&str]) -> Table {
        let mut table = Table { rows: Vec::new() };
        table.row(headings);
        table
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: &[impl ToString]) {
        self.rows
            .push(cells.iter().map(ToString::to_string).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            for (cell, &width) in row.iter().zip(&widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if number == 0 {
                for &width in &widths {
                    write!(f, "|-{:-<width$}-", "")?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["a", "program"]);
        table.row(&["100", "x"]);
        assert_eq!(
            table.to_string(),
            "| a   | program |\n|-----|---------|\n| 100 | x       |\n"
        );
    }
}
