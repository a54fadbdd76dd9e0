//! The YAML form of `fw_env.config`, as much of YAML as it takes.
//!
//! ```yaml
//! uboot:                                    # a namespace
//!   size : 0x4000                           # strtoull: decimal, 0x hexadecimal, 0 octal
//!   lockfile : /var/lock/fw_printenv.lock   # optional
//!   writelist:                              # optional: the only variables that may be changed
//!     - bootcount:dw
//!   devices:                                # one or two
//!     - path : /dev/mtd0
//!       offset : 0xA0000                    # optional, as all that follows
//!       sectorsize : 0x10000
//!       disablelock : yes
//! ```
//!
//! Mappings and sequences in block style, plain and quoted scalars without escapes, comments, and a
//! `---` at the start or `...` at the end. Flow style, anchors, tags, multi-line scalars and tabs are not read. A key
//! that is not listed above is an error, with one exception: `unlock`, which libubootenv's own
//! documentation shows and its parser refuses, is accepted and means nothing.

use std::ffi::OsString;
use std::time::Duration;

use super::scan::Scan;
use super::{Config, Lock, Place};
use crate::access::Rule;
use crate::lock;

/// The namespaces in their order, never none.
pub(crate) fn parse(text: &[u8]) -> Result<Vec<(String, Config)>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
    let mut lines = Lines {
        lines: tokenise(text)?,
        next: 0,
    };
    let mut namespaces: Vec<(String, Config)> = Vec::new();
    while let Some(line) = lines.take_key_at(0) {
        if namespaces.iter().any(|(name, _)| *name == line.key) {
            return Err(line.fault("a namespace of this name came before"));
        }
        line.no_value()?;
        namespaces.push((line.key.clone(), namespace(&mut lines, &line)?));
    }
    match lines.peek() {
        Some(line) => Err(line.fault("expected a namespace")),
        None if namespaces.is_empty() => Err("there is no namespace".to_owned()),
        None => Ok(namespaces),
    }
}

fn namespace(lines: &mut Lines, head: &Line) -> Result<Config, String> {
    let (mut size, mut lockfile, mut writelist, mut devices) = (None, None, None, None);
    let indent = lines.indent_below(head);
    while let Some(line) = lines.take_key_at(indent) {
        let unused = match line.key.as_str() {
            "size" => size.replace(line.number()?).is_none(),
            "lockfile" => lockfile.replace(line.value()?.to_owned()).is_none(),
            "writelist" => writelist.replace(self::writelist(lines, &line)?).is_none(),
            "devices" => devices.replace(self::devices(lines, &line)?).is_none(),
            key => return Err(line.fault(&format!("unknown key \"{key}\""))),
        };
        if !unused {
            return Err(line.fault("this key came before"));
        }
    }
    lines.end_of(head)?;
    let size = size.ok_or_else(|| head.fault("`size` is missing"))?;
    let mut devices = devices.unwrap_or_default().into_iter();
    let first = devices
        .next()
        .ok_or_else(|| head.fault("`devices` is missing"))?;
    let second = devices.next();
    if devices.next().is_some() {
        return Err(head.fault("more than two devices"));
    }
    let size = u64::try_from(size).map_err(|_| head.fault("`size` is negative"))?;
    let config = Config::new(size, first, second).map_err(|reason| head.fault(reason))?;
    let config = match lockfile {
        Some(path) => config.with_lock(Lock {
            path: path.into(),
            patience: PATIENCE,
        }),
        None => config,
    };
    // An empty list is no list, as in libubootenv.
    Ok(config.with_writelist(writelist.filter(|rules| !rules.is_empty())))
}

fn writelist(lines: &mut Lines, head: &Line) -> Result<Vec<Rule>, String> {
    head.no_value()?;
    let mut rules = Vec::new();
    let indent = lines.indent_of_items(head);
    while let Some(item) = lines.take_item_at(indent) {
        if !item.key.is_empty() {
            return Err(item.fault("expected `- name:flags`"));
        }
        let rule = Rule::parse(item.value()?.as_bytes());
        rules.push(rule.ok_or_else(|| item.fault("expected `- name:flags`"))?);
    }
    lines.end_of(head)?;
    Ok(rules)
}

fn devices(lines: &mut Lines, head: &Line) -> Result<Vec<Place>, String> {
    head.no_value()?;
    let mut places = Vec::new();
    let indent = lines.indent_of_items(head);
    while let Some(mut line) = lines.take_item_at(indent) {
        let start = line.clone();
        let mut seen = Vec::new();
        let mut path = None;
        let mut place = Place::new("", 0);
        loop {
            match line.key.as_str() {
                "path" => path = Some(OsString::from(line.value()?)),
                "offset" => place.offset = line.number()?,
                "sectorsize" => {
                    let size = u64::try_from(line.number()?);
                    let size = size.map_err(|_| line.fault("it is negative"))?;
                    place.sector_size = (size != 0).then_some(size);
                }
                "disablelock" => place.keep_locks = line.yes_or_no()?,
                "unlock" => {
                    line.yes_or_no()?;
                }
                key => return Err(line.fault(&format!("unknown key \"{key}\""))),
            }
            if seen.contains(&line.key) {
                return Err(line.fault("this key came before"));
            }
            seen.push(line.key);
            match lines.take_key_at(start.column) {
                Some(next) => line = next,
                None => break,
            }
        }
        place.path = path.ok_or_else(|| start.fault("`path` is missing"))?.into();
        places.push(place);
    }
    lines.end_of(head)?;
    Ok(places)
}

/// One line with content.
#[derive(Clone, Debug)]
struct Line {
    number: usize,
    /// Blanks before the content, or before the `-` of an item.
    indent: usize,
    /// Whether a `-` begins it.
    item: bool,
    /// Where the key or value begins.
    column: usize,
    /// Empty for a bare value.
    key: String,
    /// Empty when it follows on further lines.
    value: String,
}

impl Line {
    fn fault(&self, what: &str) -> String {
        format!("line {}: {what}", self.number)
    }

    fn value(&self) -> Result<&str, String> {
        match self.value.as_str() {
            "" => Err(self.fault("a value is missing")),
            value => Ok(value),
        }
    }

    fn no_value(&self) -> Result<(), String> {
        if self.value.is_empty() {
            Ok(())
        } else {
            Err(self.fault("expected nothing after the key"))
        }
    }

    fn number(&self) -> Result<i64, String> {
        let mut scan = Scan::new(self.value()?.as_bytes());
        scan.signed()
            .filter(|_| scan.at_end())
            .ok_or_else(|| self.fault("expected a number"))
    }

    fn yes_or_no(&self) -> Result<bool, String> {
        match self.value()? {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err(self.fault("expected yes or no")),
        }
    }
}

struct Lines {
    lines: Vec<Line>,
    next: usize,
}

impl Lines {
    fn peek(&self) -> Option<&Line> {
        self.lines.get(self.next)
    }

    /// Takes the next line if it is `key: ...` at exactly this indentation.
    fn take_key_at(&mut self, indent: usize) -> Option<Line> {
        self.take(|line| !line.item && line.indent == indent && !line.key.is_empty())
    }

    /// Takes the next line if it is `- ...` at exactly this indentation.
    fn take_item_at(&mut self, indent: usize) -> Option<Line> {
        self.take(|line| line.item && line.indent == indent)
    }

    /// Nothing further may belong to a key.
    fn end_of(&self, head: &Line) -> Result<(), String> {
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
    fn indent_below(&self, head: &Line) -> usize {
        self.peek()
            .map(|line| line.indent)
            .filter(|&indent| indent > head.indent)
            .unwrap_or(NOWHERE)
    }

    /// The same for a sequence, which may stand as far left as its key.
    fn indent_of_items(&self, head: &Line) -> usize {
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

const PATIENCE: Duration = lock::PATIENCE;

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of libubootenv's `docs/fw_env_config.md`, with its stray `unlock`.
    const DOCUMENTED: &str = "\
uboot:
  size : 0x4000
  lockfile : /var/lock/fw_printenv.lock
  writelist:
    - var1:sw
    - var2:sw
    - var3:dw
  devices:
    - path : /dev/mtd0
      offset : 0xA0000
      sectorsize : 0x10000
      unlock : yes
    - path : /dev/mtd0
      offset : 0xB0000
      sectorsize : 0x10000
      disablelock : yes

appvar:
  size : 0x4000
  lockfile : /var/lock/appvar.lock

  devices:
    - path : /dev/mtd1
      offset : 0
      sectorsize : 0x10000
      unlock : yes
    - path : /dev/mtd1
      offset : 0x10000
      sectorsize : 0x10000
";

    fn place(path: &str, offset: i64, keep_locks: bool) -> Place {
        Place {
            sector_size: Some(0x10000),
            keep_locks,
            ..Place::new(path, offset)
        }
    }

    #[test]
    fn the_documented_example_is_read() {
        let namespaces = parse(DOCUMENTED.as_bytes()).unwrap();
        let [(uboot, first), (appvar, second)] = namespaces.as_slice() else {
            panic!()
        };
        assert_eq!((uboot.as_str(), appvar.as_str()), ("uboot", "appvar"));
        assert_eq!(first.size(), 0x4000);
        let places: Vec<_> = first.places().cloned().collect();
        assert_eq!(
            places,
            [
                place("/dev/mtd0", 0xA0000, false),
                place("/dev/mtd0", 0xB0000, true)
            ]
        );
        assert_eq!(first.writelist().unwrap().len(), 3);
        assert_eq!(second.lock().path.to_str(), Some("/var/lock/appvar.lock"));
        assert!(second.redundant());
        assert!(second.writelist().is_none());
    }

    #[test]
    fn other_ways_to_write_the_same_are_read() {
        for text in [
            "u:\n  size: 16384\n  devices:\n  - path: /e\n",
            "u:\n  size: 16384\n  devices:\n  - path: /e\n...\nanything",
            "---\n# comment\nu:   # comment\n  size: 040000\n  devices:\n      -   path: /e # comment\n",
            "'u':\r\n  \"size\": \"0x4000\"\r\n  devices:\r\n    - offset: 0\r\n      path: '/e'\r\n",
            "u:\n  devices:\n    - path: /e\n  size: 0x4000",
        ] {
            let expected = Config::new(0x4000, Place::new("/e", 0), None).unwrap();
            assert_eq!(
                parse(text.as_bytes()),
                Ok(vec![("u".to_owned(), expected)]),
                "{text}"
            );
        }
    }

    #[test]
    fn names_of_ubi_volumes_and_hashes_within_words_stay_whole() {
        let text =
            "u:\n  size: 0x4000\n  devices:\n    - path: /dev/ubi0:env#1\n      offset: -0x10\n";
        let namespaces = parse(text.as_bytes()).unwrap();
        let places: Vec<_> = namespaces[0].1.places().cloned().collect();
        assert_eq!(places, [Place::new("/dev/ubi0:env#1", -0x10)]);
    }

    #[test]
    fn what_is_not_this_form_is_refused_with_its_line() {
        let device = "devices:\n    - path: /e\n";
        for (text, expected) in [
            ("".to_owned(), "there is no namespace"),
            ("# nothing\n".to_owned(), "there is no namespace"),
            (
                "/dev/mtd0 0 0x4000\n".to_owned(),
                "line 1: expected a namespace",
            ),
            ("u:\n".to_owned(), "line 1: `size` is missing"),
            (format!("u:\n  {device}"), "line 1: `size` is missing"),
            ("u:\n  size: 1\n".to_owned(), "line 1: `devices` is missing"),
            (
                "u:\n  size: 1\n  devices:\n".to_owned(),
                "line 1: `devices` is missing",
            ),
            (
                format!("u:\n  size: 0\n  {device}"),
                "line 1: the environment size is 0",
            ),
            (
                format!("u:\n  size: -5\n  {device}"),
                "line 1: `size` is negative",
            ),
            (
                format!("u:\n  size: 5k\n  {device}"),
                "line 2: expected a number",
            ),
            (
                format!("u:\n  size:\n  {device}"),
                "line 2: a value is missing",
            ),
            (
                format!("u:\n  size: 64\n  size: 64\n  {device}"),
                "line 3: this key came before",
            ),
            (
                format!("u:\n  size: 64\n  color: red\n  {device}"),
                "line 3: unknown key \"color\"",
            ),
            (
                format!("u:\n  size: 64\n   {device}"),
                "line 3: unexpected here",
            ),
            (
                format!("u:\n\tsize: 64\n  {device}"),
                "line 2: tabs are not read",
            ),
            (
                format!("u: x\n  size: 64\n  {device}"),
                "line 1: expected nothing after the key",
            ),
            (
                format!("u: {{size: 64}}\n  {device}"),
                "line 1: this kind of value is not read",
            ),
            (
                format!("u:\n  size: 64\n  {device}    - path: /f\n    - path: /g\n"),
                "line 1: more than two devices",
            ),
            (
                "u:\n  size: 64\n  devices:\n    - offset: 5\n".to_owned(),
                "line 4: `path` is missing",
            ),
            (
                "u:\n  size: 64\n  devices:\n    - path: /e\n      path: /f\n".to_owned(),
                "line 5: this key came before",
            ),
            (
                "u:\n  size: 64\n  devices:\n    - path: /e\n      disablelock: maybe\n".to_owned(),
                "line 5: expected yes or no",
            ),
            (
                format!("u:\n  size: 64\n  writelist:\n    - name: sw\n  {device}"),
                "line 4: expected `- name:flags`",
            ),
            (
                format!("u:\n  size: 64\n  {device}u:\n  size: 64\n  {device}"),
                "line 5: a namespace of this name came before",
            ),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn every_truncation_is_a_configuration_or_an_error() {
        for end in 0..DOCUMENTED.len() {
            let _ = parse(&DOCUMENTED.as_bytes()[..end]);
        }
    }
}
