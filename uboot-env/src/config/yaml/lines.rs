//! The part of YAML that `fw_env.config` takes, line by line.
//!
//! Mappings and sequences in block style, plain and quoted scalars without escapes, comments, `---` at
//! the start and `...` at the end. Flow style, anchors, tags, multi-line scalars and tabs are refused.

use crate::config::scan::Scan;

/// One line with content: a key, a value, or both.
#[derive(Clone, Debug)]
pub(super) struct Line {
    number: usize,
    /// Blanks before the content, or before the `-` of an item.
    pub(super) indent: usize,
    /// Whether a `-` begins it.
    item: bool,
    /// Where the key or value begins.
    pub(super) column: usize,
    /// Empty for a bare value.
    pub(super) key: String,
    /// Empty when it follows on further lines.
    value: String,
}

impl Line {
    /// An error message that names the line.
    pub(super) fn fault(&self, what: &str) -> String {
        format!("line {}: {what}", self.number)
    }

    /// The value, which must be there.
    pub(super) fn value(&self) -> Result<&str, String> {
        match self.value.as_str() {
            "" => Err(self.fault("a value is missing")),
            value => Ok(value),
        }
    }

    /// Checks that what the key means follows on further lines.
    pub(super) fn no_value(&self) -> Result<(), String> {
        if self.value.is_empty() {
            Ok(())
        } else {
            Err(self.fault("expected nothing after the key"))
        }
    }

    /// The value as a number, written as `strtoull` with base 0 takes it.
    pub(super) fn number(&self) -> Result<i64, String> {
        let mut scan = Scan::new(self.value()?.as_bytes());
        scan.signed()
            .filter(|_| scan.at_end())
            .ok_or_else(|| self.fault("expected a number"))
    }

    /// The value as a switch.
    pub(super) fn yes_or_no(&self) -> Result<bool, String> {
        match self.value()? {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err(self.fault("expected yes or no")),
        }
    }
}

/// The lines that have not been taken yet.
pub(super) struct Lines {
    lines: Vec<Line>,
    next: usize,
}

impl Lines {
    /// Takes a text apart.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        Ok(Self {
            lines: tokenise(text)?,
            next: 0,
        })
    }

    /// The next line.
    pub(super) fn peek(&self) -> Option<&Line> {
        self.lines.get(self.next)
    }

    /// Takes the next line if it is `key: ...` at exactly this indentation.
    pub(super) fn take_key_at(&mut self, indent: usize) -> Option<Line> {
        self.take(|line| !line.item && line.indent == indent && !line.key.is_empty())
    }

    /// Takes the next line if it is `- ...` at exactly this indentation.
    pub(super) fn take_item_at(&mut self, indent: usize) -> Option<Line> {
        self.take(|line| line.item && line.indent == indent)
    }

    /// Nothing further may belong to a key.
    pub(super) fn end_of(&self, head: &Line) -> Result<(), String> {
        match self.peek() {
            Some(line) if line.indent > head.indent => Err(line.fault("unexpected here")),
            _ => Ok(()),
        }
    }

    fn take(&mut self, fits: impl Fn(&Line) -> bool) -> Option<Line> {
        let line = self.peek().filter(|line| fits(line)).cloned()?;
        self.next = self.next.saturating_add(1);
        Some(line)
    }

    /// The indentation of what belongs to a key; no line has it if nothing does.
    pub(super) fn indent_below(&self, head: &Line) -> usize {
        self.peek()
            .map(|line| line.indent)
            .filter(|&indent| indent > head.indent)
            .unwrap_or(NOWHERE)
    }

    /// The same for a sequence, which may stand as far left as its key.
    pub(super) fn indent_of_items(&self, head: &Line) -> usize {
        self.peek()
            .map(|line| line.indent)
            .filter(|&indent| indent >= head.indent)
            .unwrap_or(NOWHERE)
    }
}

fn tokenise(text: &str) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    for (number, text) in (1..).zip(text.lines()) {
        let fault = |what: &str| format!("line {number}: {what}");
        let text = strip_comment(text).trim_end_matches([' ', '\r']);
        let content = text.trim_start_matches(' ');
        if content.is_empty() || (lines.is_empty() && text == "---") {
            continue;
        }
        if text == "..." {
            break;
        }
        if text.contains('\t') {
            return Err(fault("tabs are not read"));
        }
        let indent = text.len().saturating_sub(content.len());
        let (item, content) = match content.strip_prefix("- ") {
            Some(content) => (true, content.trim_start_matches(' ')),
            None => (false, content),
        };
        let column = text.len().saturating_sub(content.len());
        let (key, value) = match split_key(content) {
            Some((key, value)) => (scalar(key).ok_or_else(|| fault("expected a key"))?, value),
            None => ("", content),
        };
        let value = scalar(value).ok_or_else(|| fault("this kind of value is not read"))?;
        let (key, value) = (key.to_owned(), value.to_owned());
        lines.push(Line {
            number,
            indent,
            item,
            column,
            key,
            value,
        });
    }
    Ok(lines)
}

/// Everything before a `#` that begins the line or follows a blank and is not within quotes.
fn strip_comment(text: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (None, '#') if before == ' ' => return text.get(..at).unwrap_or(text),
            (None, '\'' | '"') if before == ' ' => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
        before = character;
    }
    text
}

/// Splits `key: value` or `key :`; a colon without a blank after it belongs to the text.
fn split_key(content: &str) -> Option<(&str, &str)> {
    let (key, value) = content
        .split_once(": ")
        .or_else(|| Some((content.strip_suffix(':')?, "")))?;
    Some((key.trim_end_matches(' '), value.trim_start_matches(' ')))
}

/// A plain scalar, or the inside of a quoted one.
fn scalar(text: &str) -> Option<&str> {
    for quote in ['"', '\''] {
        if let Some(rest) = text.strip_prefix(quote) {
            return rest
                .strip_suffix(quote)
                .filter(|inside| !inside.contains([quote, '\\']));
        }
    }
    let plain = !text.starts_with([
        '[', ']', '{', '}', '&', '*', '!', '|', '>', '%', '@', '`', '?', ',',
    ]) && !text.contains(": ")
        && text != "-"
        && !text.starts_with("- ");
    plain.then_some(text)
}

/// An indentation that no line has.
const NOWHERE: usize = usize::MAX;
