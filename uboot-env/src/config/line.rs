//! The line form of `fw_env.config`.
//!
//! ```text
//! # device      offset     size     sector-size  sectors  disable-lock
//! /dev/mmcblk0  0x800000   0x20000
//! /dev/mtd0     0x4000     0x4000   0x20000      2
//! ```
//!
//! A line counts when it has at least the first three fields. What follows the last field that can
//! be read is ignored, and so is everything after the second line that counts. `#` is a comment only
//! as the first character. The offset is decimal, `0x` hexadecimal or `0` octal; size, sector size and
//! sectors are hexadecimal with or without `0x`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::scan::Scan;
use super::{Config, Place};

/// The configuration, or `None` when no line counts.
pub(crate) fn parse(text: &[u8]) -> Result<Option<Config>, String> {
    let mut counting =
        text.split(|&byte| byte == b'\n')
            .zip(1_u32..)
            .filter_map(|(line, number)| {
                let (place, size) = parse_line(line)?;
                Some((place, size, number))
            });
    let Some((first, size, number)) = counting.next() else {
        return Ok(None);
    };
    let second = match counting.next() {
        Some((_, other, number)) if other != size => {
            return Err(format!("line {number}: the two copies differ in size"));
        }
        Some((second, ..)) => Some(second),
        None => None,
    };
    match Config::new(size, first, second) {
        Ok(config) => Ok(Some(config)),
        Err(reason) => Err(format!("line {number}: {reason}")),
    }
}

fn parse_line(line: &[u8]) -> Option<(Place, u64)> {
    if line.starts_with(b"#") {
        return None;
    }
    let mut scan = Scan::new(line);
    let path = OsStr::from_bytes(scan.word()?);
    let offset = scan.signed()?;
    let size = scan.hexadecimal()?;
    let sector_size = scan.hexadecimal();
    let sectors = sector_size.and_then(|_| scan.hexadecimal());
    let disable_lock = sectors.and_then(|_| scan.decimal());
    let place = Place {
        path: path.into(),
        offset,
        sector_size: sector_size.filter(|&size| size != 0),
        sectors: sectors.filter(|&sectors| sectors != 0),
        keep_locks: disable_lock.is_some_and(|disable| disable != 0),
    };
    Some((place, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(usize, &[Place])>) {
        let found = parse(text.as_bytes()).unwrap();
        let found = found.map(|config| (config.size(), config.places().cloned().collect()));
        assert_eq!(
            found,
            expected.map(|(size, places)| (size, places.to_vec())),
            "{text:?}"
        );
    }

    #[test]
    fn one_or_two_lines_count() {
        let place = |path: &str, offset| Place::new(path, offset);
        check("", None);
        check("# /dev/a 0 100\n\n   \n/dev/a 0\nsize : 5\n", None);
        check("/dev/a 256 256\n", Some((0x256, &[place("/dev/a", 256)])));
        check("a -0x20000 0x2000", Some((0x2000, &[place("a", -0x20000)])));
        check("a 0 10 trailing comment\n", Some((0x10, &[place("a", 0)])));
        check(
            "a 0 10\n#b 1 10\nc 2 10\nd 3 99\n",
            Some((0x10, &[place("a", 0), place("c", 2)])),
        );
        check(" #a 0 10\r\n", Some((0x10, &[place("#a", 0)])));
        check(
            "/dev/mtd0\t0x4000\t0x4000\t0x20000\t2\t1\n",
            Some((
                0x4000,
                &[Place {
                    sector_size: Some(0x20000),
                    sectors: Some(2),
                    keep_locks: true,
                    ..place("/dev/mtd0", 0x4000)
                }],
            )),
        );
        check("a 0 10 0 0 0\n", Some((0x10, &[place("a", 0)])));
    }

    #[test]
    fn copies_that_cannot_be_are_errors_that_name_the_line() {
        for (text, expected) in [
            ("a 0 0\n", "line 1: the environment size is 0"),
            (
                "\na 0 4\n",
                "line 2: the environment size leaves no room for data",
            ),
            ("a 0 10\nb 0 20\n", "line 2: the two copies differ in size"),
            (
                "a 0 -1\n",
                "line 1: the environment size is larger than 4 MiB",
            ),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(expected.to_owned()), "{text:?}");
        }
    }
}
