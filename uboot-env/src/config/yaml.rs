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
//! A key that is not listed above is an error, with one exception: `unlock`, which libubootenv's own
//! documentation shows and its parser refuses, is accepted and means nothing.

mod lines;

use std::ffi::OsString;

use super::{Config, Lock, Place};
use crate::access::Rule;
use lines::{Line, Lines};

/// The namespaces in their order, never none.
pub(crate) fn parse(text: &[u8]) -> Result<Vec<(String, Config)>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
    let mut lines = Lines::new(text)?;
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
            ..Lock::default()
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
