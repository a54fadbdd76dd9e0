//! PAX extended headers (POSIX.1-2001 `pax`, type `x`): records that override fields of the tar header that follows.
//!
//! Go's tar writer, so Mender's, uses them for sizes of 8 GiB and more, long names, and large user ids. Only `path` and
//! `size` change what an archive contains; the other keys are ignored, those of sparse files are refused.

/// What an extended header says about the next member.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pax {
    /// Its name, whatever the tar header says.
    pub(crate) path: Option<String>,
    /// Its size.
    pub(crate) size: Option<u64>,
}

impl Pax {
    /// Reads the records, or says which rule is broken: `<an extended header> ...`.
    pub(crate) fn parse(mut records: &[u8]) -> Result<Self, &'static str> {
        let mut pax = Self::default();
        while !records.is_empty() {
            let (record, rest) = split_record(records).ok_or("has a record with a wrong length")?;
            records = rest;
            let equals = record
                .iter()
                .position(|byte| *byte == b'=')
                .ok_or("has a record without =")?;
            let (key, value) = record
                .split_at_checked(equals)
                .ok_or("has a record without =")?;
            let value = value.strip_prefix(b"=").ok_or("has a record without =")?;
            let first = match key {
                b"path" => pax
                    .path
                    .replace(path(value).ok_or("has an unusable path")?)
                    .is_none(),
                b"size" => pax
                    .size
                    .replace(size(value).ok_or("has an unusable size")?)
                    .is_none(),
                _ if key.is_empty() || key.contains(&0) => {
                    return Err("has a record without a proper key");
                }
                _ if key.starts_with(b"GNU.sparse.") => return Err("announces a sparse file"),
                _ => true,
            };
            if !first {
                return Err("has path or size twice");
            }
        }
        Ok(pax)
    }

    /// The records that say this, in the order path, size.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut records = Vec::new();
        if let Some(path) = &self.path {
            records.extend(record("path", path));
        }
        if let Some(size) = &self.size {
            records.extend(record("size", &size.to_string()));
        }
        records
    }
}

/// `LENGTH KEY=VALUE\n`, LENGTH counting itself: the record without length and line feed, and what follows it.
fn split_record(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = records.iter().take(20).position(|byte| *byte == b' ')?;
    let (digits, _) = records.split_at_checked(space)?;
    let length = usize::try_from(decimal(digits)?).ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let (_, content) = record.split_at_checked(space)?;
    Some((content.strip_prefix(b" ")?.strip_suffix(b"\n")?, rest))
}

fn record(key: &str, value: &str) -> Vec<u8> {
    let body = format!(" {key}={value}\n");
    let mut length = body.len();
    // The length counts its own digits: one more step settles it.
    for _ in 0..2 {
        length = body.len().saturating_add(length.to_string().len());
    }
    let mut record = length.to_string().into_bytes();
    record.extend_from_slice(body.as_bytes());
    record
}

fn path(value: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(value).ok()?;
    (!path.is_empty() && !path.contains('\0')).then(|| path.to_owned())
}

fn size(value: &[u8]) -> Option<u64> {
    decimal(value).filter(|size| i64::try_from(*size).is_ok())
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes()
        .all(|digit| digit.is_ascii_digit())
        .then_some(text)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(records: &[u8], expected: Result<(Option<&str>, Option<u64>), &'static str>) {
        let expected = expected.map(|(path, size)| Pax {
            path: path.map(ToOwned::to_owned),
            size,
        });
        assert_eq!(
            Pax::parse(records),
            expected,
            "{}",
            String::from_utf8_lossy(records)
        );
    }

    #[test]
    fn records_are_read_strictly() {
        check(b"", Ok((None, None)));
        check(b"13 size=3156\n", Ok((None, Some(3156))));
        check(
            b"22 mtime=1700000000.5\n13 size=3156\n",
            Ok((None, Some(3156))),
        );
        check(b"12 path=a=b\n", Ok((Some("a=b"), None)));
        check(b"11 path=\xc3\xa9\n", Ok((Some("é"), None)));
        check(b"18 comment=a\nb=c\n\n", Ok((None, None)));
        check(b"12 size=3156\n", Err("has a record with a wrong length"));
        check(b"14 size=3156\n", Err("has a record with a wrong length"));
        check(b"13 size=3156", Err("has a record with a wrong length"));
        check(b"+13 size=315\n", Err("has a record with a wrong length"));
        check(
            b"99999999999999999999 size=3\n",
            Err("has a record with a wrong length"),
        );
        check(
            b"18446744073709551616 size=3\n",
            Err("has a record with a wrong length"),
        );
        check(b"0 size=1\n", Err("has a record with a wrong length"));
        check(b"1 size=1\n", Err("has a record with a wrong length"));
        check(b"size=1\n", Err("has a record with a wrong length"));
        check(b"\0\0\0", Err("has a record with a wrong length"));
        check(b"8 sizex\n", Err("has a record without ="));
        check(b"5 =x\n", Err("has a record without a proper key"));
        check(b"9 si\0e=3\n", Err("has a record without a proper key"));
        check(b"8 size=\n", Err("has an unusable size"));
        check(b"11 size=-1\n", Err("has an unusable size"));
        check(b"11 size= 1\n", Err("has an unusable size"));
        check(b"12 size=0x1\n", Err("has an unusable size"));
        check(
            b"28 size=9223372036854775808\n",
            Err("has an unusable size"),
        );
        check(
            b"28 size=9223372036854775807\n",
            Ok((None, Some(9_223_372_036_854_775_807))),
        );
        check(b"8 path=\n", Err("has an unusable path"));
        check(b"11 path=\0x\n", Err("has an unusable path"));
        check(b"9 path=\xff\n", Err("has an unusable path"));
        check(b"9 size=1\n9 size=1\n", Err("has path or size twice"));
        check(b"23 GNU.sparse.major=1\n\n", Err("announces a sparse file"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for path in [
            None,
            Some("x".repeat(89)),
            Some("x".repeat(90)),
            Some("x".repeat(91)),
            Some("é".repeat(500)),
        ] {
            for size in [None, Some(0), Some(8 << 30), Some(i64::MAX as u64)] {
                let pax = Pax {
                    path: path.clone(),
                    size,
                };
                assert_eq!(Pax::parse(&pax.to_bytes()), Ok(pax));
            }
        }
    }
}
