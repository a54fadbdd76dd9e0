//! Lines of comma-separated values (RFC 4180): written so that a spreadsheet takes nothing in them for a formula and
//! nothing hides, and read. Pure.

use crate::inert::visible;

/// A line with these cells.
#[must_use]
pub fn line<const N: usize>(cells: [&str; N]) -> String {
    let mut text = String::new();
    for (n, cell) in cells.into_iter().enumerate() {
        if n > 0 {
            text.push(',');
        }
        push(&mut text, cell);
    }
    text.push_str("\r\n");
    text
}

/// What a formula begins with; the wide ones where people write Chinese or Japanese.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

fn push(text: &mut String, cell: &str) {
    let cell: String = cell.chars().map(visible).collect();
    let formula = cell.trim_start().starts_with(FORMULA);
    if !formula && !cell.contains([',', '"']) {
        text.push_str(&cell);
        return;
    }
    text.push('"');
    if formula {
        // Spreadsheets show what is behind an apostrophe as it is.
        text.push('\'');
    }
    text.push_str(&cell.replace('"', "\"\""));
    text.push('"');
}

/// The lines of a text, as cells; empty lines are left out. Each has the number of the line where it begins, from 1.
///
/// # Errors
/// A sentence, if a quoted cell does not end or goes on behind its end.
pub fn parse(text: &str) -> Result<Vec<(usize, Vec<String>)>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut lines, mut cells, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut number, mut begun) = (1_usize, 1_usize);
    let mut characters = text.chars().chain(['\n']).peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if cell.is_empty() => {
                let begin = number;
                loop {
                    match characters.next() {
                        Some('"') if characters.next_if_eq(&'"').is_some() => cell.push('"'),
                        Some('"') => break,
                        // The newline that was put behind the text.
                        Some('\n') if characters.peek().is_none() => {
                            return Err(format!("line {begin}: a quotation mark is not closed"));
                        }
                        Some(c) => {
                            number = number.saturating_add(usize::from(c == '\n'));
                            cell.push(c);
                        }
                        None => {
                            return Err(format!("line {begin}: a quotation mark is not closed"));
                        }
                    }
                }
                if !matches!(characters.peek(), Some(',' | '\r' | '\n')) {
                    return Err(format!(
                        "line {number}: a comma is missing behind a quotation mark"
                    ));
                }
            }
            ',' => cells.push(std::mem::take(&mut cell)),
            '\r' if characters.peek() == Some(&'\n') => {}
            '\n' => {
                cells.push(std::mem::take(&mut cell));
                let line = std::mem::take(&mut cells);
                if line.iter().any(|cell| !cell.is_empty()) {
                    lines.push((begun, line));
                }
                number = number.saturating_add(1);
                begun = number;
            }
            c => cell.push(c),
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(text: &str, expected: &[(usize, &[&str])]) {
        let expected: Vec<(usize, Vec<String>)> = expected
            .iter()
            .map(|(n, cells)| (*n, cells.iter().map(ToString::to_string).collect()))
            .collect();
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn lines_are_read_as_spreadsheets_write_them() {
        read("", &[]);
        read("a,b\r\n1,2\r\n", &[(1, &["a", "b"]), (2, &["1", "2"])]);
        read("a,\n\n,\n1,2", &[(1, &["a", ""]), (4, &["1", "2"])]);
        read(
            "\"a,\"\"b\"\"\nc\",d\ne",
            &[(1, &["a,\"b\"\nc", "d"]), (3, &["e"])],
        );
        read("\u{feff}a b,\"\"\n", &[(1, &["a b", ""])]);
        for wrong in ["\"a", "a,\"b\nc", "\"a\"b,c", "\""] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[track_caller]
    fn check(cell: &str, written: &str) {
        assert_eq!(line([cell, "x"]), format!("{written},x\r\n"));
    }

    #[test]
    fn cells_are_what_they_are_and_no_formulas() {
        check("plain", "plain");
        check("", "");
        check("a,b", "\"a,b\"");
        check("say \"hi\"", "\"say \"\"hi\"\"\"");
        check("two\nlines", "two␊lines");
        check(" =1+1", "\"' =1+1\"");
        check("＝1+1", "\"'＝1+1\"");
        check("\u{1b}[2J\u{202e}x", "␛[2J\u{fffd}x");
        check("=1+1", "\"'=1+1\"");
        check("@SUM(A1)", "\"'@SUM(A1)\"");
        check("-2", "\"'-2\"");
        check("\t=1", "␉=1");
    }
}
