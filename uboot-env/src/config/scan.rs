//! Reading words and numbers from the start of a text as C's `scanf` does, because that is what
//! decides which `fw_env.config` files exist.

/// The rest of a text that is read from left to right. A failed read leaves it where it was.
pub(crate) struct Scan<'a> {
    rest: &'a [u8],
}

impl<'a> Scan<'a> {
    /// Begins at the start of `text`; like a C string it ends at the first NUL.
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self {
            rest: text.split(|&byte| byte == 0).next().unwrap_or_default(),
        }
    }

    /// `%s`: the next word.
    pub(crate) fn word(&mut self) -> Option<&'a [u8]> {
        let text = skip_blanks(self.rest);
        let end = text
            .iter()
            .position(|&byte| is_blank(byte))
            .unwrap_or(text.len());
        let (word, rest) = text.split_at_checked(end)?;
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    /// `%lli`: `0x` makes it hexadecimal, a leading `0` octal. What is too large becomes the limit.
    pub(crate) fn signed(&mut self) -> Option<i64> {
        let (negative, magnitude) = self.number(None)?;
        Some(match i64::try_from(magnitude) {
            Ok(value) if negative => value.wrapping_neg(),
            Ok(value) => value,
            Err(_) if negative => i64::MIN,
            Err(_) => i64::MAX,
        })
    }

    /// `%zx`: hexadecimal, with or without `0x`. Negative numbers wrap, too large ones are the limit.
    pub(crate) fn hexadecimal(&mut self) -> Option<u64> {
        let (negative, magnitude) = self.number(Some(16))?;
        Some(if negative {
            magnitude.wrapping_neg()
        } else {
            magnitude
        })
    }

    /// `%d`.
    pub(crate) fn decimal(&mut self) -> Option<u64> {
        self.number(Some(10)).map(|(_, magnitude)| magnitude)
    }

    /// Whether nothing but blanks is left.
    pub(crate) fn at_end(&self) -> bool {
        skip_blanks(self.rest).is_empty()
    }

    fn number(&mut self, base: Option<u32>) -> Option<(bool, u64)> {
        let text = skip_blanks(self.rest);
        let negative = text.starts_with(b"-");
        let text = text
            .strip_prefix(b"-")
            .or(text.strip_prefix(b"+"))
            .unwrap_or(text);
        let prefixed = text.strip_prefix(b"0x").or(text.strip_prefix(b"0X"));
        let (base, digits) = match (base, prefixed) {
            (None | Some(16), Some(digits)) => (16, digits),
            (None, None) if text.starts_with(b"0") => (8, text),
            (None, None) => (10, text),
            (Some(base), _) => (base, text),
        };
        let mut value: u64 = 0;
        let mut rest = digits;
        while let Some((&byte, after)) = rest.split_first() {
            let Some(digit) = char::from(byte).to_digit(base) else {
                break;
            };
            value = value
                .saturating_mul(base.into())
                .saturating_add(digit.into());
            rest = after;
        }
        // "0x" alone is the number 0, as in glibc.
        if rest.len() == digits.len() && prefixed.is_none() {
            return None;
        }
        self.rest = rest;
        Some((negative, value))
    }
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let start = text
        .iter()
        .position(|&byte| !is_blank(byte))
        .unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

/// C's `isspace`.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values are what glibc's `sscanf("%lli %zx %zx")` gives.
    #[track_caller]
    fn check(text: &str, expected: &[i128]) {
        let mut scan = Scan::new(text.as_bytes());
        let mut found: Vec<i128> = scan.signed().into_iter().map(i128::from).collect();
        if !found.is_empty() {
            found.extend(std::iter::from_fn(|| scan.hexadecimal()).map(i128::from));
        }
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn numbers_are_read_as_scanf_reads_them() {
        check("0 100", &[0, 0x100]);
        check("010 100 10 2", &[8, 0x100, 0x10, 2]);
        check("0X1F 0X1F", &[0x1f, 0x1f]);
        check("-5 100", &[-5, 0x100]);
        check("+5 +100", &[5, 0x100]);
        check("- 100", &[]);
        check("0x 100", &[0, 0x100]);
        check("0xz 100", &[0]);
        check("08 100", &[0, 8, 0x100]);
        check("10abc", &[10, 0xabc]);
        check("0x1F0x20 5", &[0x1f0]);
        check("0 0xg1", &[0, 0]);
        check("0b11 7", &[0, 0xb11, 7]);
        check("00x5 7", &[0]);
        check("0x-5 7", &[0, 0xffff_ffff_ffff_fffb, 7]);
        check("0 -1", &[0, i128::from(u64::MAX)]);
        check("99999999999999999999 1", &[i128::from(i64::MAX), 1]);
        check("-99999999999999999999 1", &[i128::from(i64::MIN), 1]);
        check("0 1ffffffffffffffffff", &[0, i128::from(u64::MAX)]);
        check("\t0\x0b100\x0c10", &[0, 0x100, 0x10]);
        check("0 10\0 20", &[0, 0x10]);
        check("", &[]);
    }
}
