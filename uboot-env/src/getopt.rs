//! Options and operands as GNU `getopt_long` tells them apart, because that is what decides what a
//! script's call means: options anywhere before `--`, clusters, abbreviated long options.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// An option that a program knows.
pub(crate) struct Known {
    pub(crate) short: u8,
    /// `None` for those with a short form only.
    pub(crate) long: Option<&'static str>,
    pub(crate) takes_value: bool,
}

/// What the arguments say, in their order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    /// A known option by its short form, with its value if it takes one.
    Option(u8, OsString),
    /// What is neither an option nor an option's value.
    Operand(OsString),
    /// Something that is not understood and otherwise ignored.
    Fault(Vec<u8>),
}

/// Takes arguments (without the program's name) apart.
pub(crate) fn parse(arguments: &[OsString], known: &[Known]) -> Vec<Argument> {
    let mut parsed = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let bytes = argument.as_bytes();
        if bytes == b"--" {
            parsed.extend(rest.map(|operand| Argument::Operand(operand.clone())));
            break;
        } else if let Some(long) = bytes.strip_prefix(b"--") {
            parsed.push(parse_long(long, known, || rest.next()));
        } else if bytes.len() > 1 && bytes.starts_with(b"-") {
            parse_cluster(
                bytes.get(1..).unwrap_or_default(),
                known,
                || rest.next(),
                &mut parsed,
            );
        } else {
            parsed.push(Argument::Operand(argument.clone()));
        }
    }
    parsed
}

fn parse_cluster<'a>(
    mut letters: &[u8],
    known: &[Known],
    next: impl FnOnce() -> Option<&'a OsString>,
    parsed: &mut Vec<Argument>,
) {
    while let Some((&letter, after)) = letters.split_first() {
        letters = after;
        match known.iter().find(|option| option.short == letter) {
            None => parsed.push(fault(&[b"invalid option -- '", &[letter], b"'"])),
            Some(option) if !option.takes_value => {
                parsed.push(Argument::Option(letter, OsString::new()));
            }
            Some(_) if !letters.is_empty() => {
                parsed.push(Argument::Option(
                    letter,
                    OsStr::from_bytes(letters).to_owned(),
                ));
                return;
            }
            Some(_) => {
                parsed.push(match next() {
                    Some(value) => Argument::Option(letter, value.clone()),
                    None => fault(&[b"option requires an argument -- '", &[letter], b"'"]),
                });
                return;
            }
        }
    }
}

fn parse_long<'a>(
    text: &[u8],
    known: &[Known],
    next: impl FnOnce() -> Option<&'a OsString>,
) -> Argument {
    let (name, value) = match text.iter().position(|&byte| byte == b'=') {
        Some(equals) => text
            .split_at_checked(equals)
            .map_or((text, None), |(name, value)| (name, value.get(1..))),
        None => (text, None),
    };
    let matches: Vec<(&Known, &str)> = known
        .iter()
        .filter_map(|option| Some((option, option.long?)))
        .filter(|(_, long)| long.as_bytes().starts_with(name))
        .collect();
    let exact = matches.iter().find(|(_, long)| long.as_bytes() == name);
    let (option, long) = match (exact, matches.as_slice()) {
        (Some(found), _) | (None, [found]) => *found,
        (None, []) => return fault(&[b"unrecognized option '--", text, b"'"]),
        (None, _) => return fault(&[b"option '--", name, b"' is ambiguous"]),
    };
    match (option.takes_value, value) {
        (false, None) => Argument::Option(option.short, OsString::new()),
        (false, Some(_)) => fault(&[
            b"option '--",
            long.as_bytes(),
            b"' doesn't allow an argument",
        ]),
        (true, Some(value)) => Argument::Option(option.short, OsStr::from_bytes(value).to_owned()),
        (true, None) => match next() {
            Some(value) => Argument::Option(option.short, value.clone()),
            None => fault(&[b"option '--", long.as_bytes(), b"' requires an argument"]),
        },
    }
}

fn fault(pieces: &[&[u8]]) -> Argument {
    Argument::Fault(pieces.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Known; 4] = [
        Known {
            short: b'c',
            long: Some("config"),
            takes_value: true,
        },
        Known {
            short: b'h',
            long: Some("help"),
            takes_value: false,
        },
        Known {
            short: b'n',
            long: Some("no-header"),
            takes_value: false,
        },
        Known {
            short: b'm',
            long: Some("hello"),
            takes_value: true,
        },
    ];

    #[track_caller]
    fn check(arguments: &[&str], expected: &[&str]) {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let found: Vec<String> = parse(&arguments, &KNOWN)
            .into_iter()
            .map(|argument| match argument {
                Argument::Option(letter, value) => {
                    format!("-{}{}", char::from(letter), value.into_string().unwrap())
                }
                Argument::Operand(operand) => operand.into_string().unwrap(),
                Argument::Fault(text) => format!("!{}", String::from_utf8(text).unwrap()),
            })
            .collect();
        assert_eq!(found, expected, "{arguments:?}");
    }

    #[test]
    fn options_are_found_anywhere_and_in_every_form() {
        check(&["a", "-n", "b"], &["a", "-n", "b"]);
        check(&["-nc", "f", "a"], &["-n", "-cf", "a"]);
        check(&["-ncf", "a"], &["-n", "-cf", "a"]);
        check(
            &["--config", "f", "--config=g", "--co=", "--co", "h"],
            &["-cf", "-cg", "-c", "-ch"],
        );
        check(&["--", "-n", "--help"], &["-n", "--help"]);
        check(&["-", ""], &["-", ""]);
        check(&["-c", "--", "-n"], &["-c--", "-n"]);
        check(&["--help"], &["-h"]);
    }

    #[test]
    fn what_is_not_understood_is_reported_and_passed_over() {
        check(&["-l", "/tmp"], &["!invalid option -- 'l'", "/tmp"]);
        check(&["-nxn"], &["-n", "!invalid option -- 'x'", "-n"]);
        check(&["-c"], &["!option requires an argument -- 'c'"]);
        check(&["--config"], &["!option '--config' requires an argument"]);
        check(
            &["--no=1"],
            &["!option '--no-header' doesn't allow an argument"],
        );
        check(&["--he"], &["!option '--he' is ambiguous"]);
        check(
            &["--nothing=1", "a"],
            &["!unrecognized option '--nothing=1'", "a"],
        );
        check(&["--=x"], &["!option '--' is ambiguous"]);
    }
}
