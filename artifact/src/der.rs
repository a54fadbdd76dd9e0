//! As much of DER (X.690) as the containers of keys need: nested tag-length-value, minimal lengths, nothing left over.

/// INTEGER
pub(crate) const INTEGER: u8 = 0x02;
/// BIT STRING
pub(crate) const BIT_STRING: u8 = 0x03;
/// OCTET STRING
pub(crate) const OCTET_STRING: u8 = 0x04;
/// OBJECT IDENTIFIER
pub(crate) const OID: u8 = 0x06;
/// SEQUENCE
pub(crate) const SEQUENCE: u8 = 0x30;
/// `[0]`, constructed
pub(crate) const CONTEXT_0: u8 = 0xa0;
/// `[1]`, constructed
pub(crate) const CONTEXT_1: u8 = 0xa1;

/// NULL
pub(crate) const NULL: u8 = 0x05;

/// One value: `tag`, the shortest length, `content` (below 64 KiB, as every key is).
pub(crate) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let mut bytes = match content.len() {
        0..=0x7f => vec![tag],
        0x80..=0xff => vec![tag, 0x81],
        _ => vec![tag, 0x82],
    };
    let digits = if content.len() > 0xff { 2 } else { 1 };
    let first = length.len().saturating_sub(digits);
    bytes.extend_from_slice(length.get(first..).unwrap_or_default());
    bytes.extend_from_slice(content);
    bytes
}

/// Bytes of which values are taken from the front.
#[derive(Clone, Copy)]
pub(crate) struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of `bytes`, which must be one value with `tag` and nothing else.
    pub(crate) fn whole(tag: u8, bytes: &'a [u8]) -> Option<Self> {
        let mut der = Self(bytes);
        let content = der.take(tag)?;
        der.end()?;
        Some(Self(content))
    }

    /// The content of the next value, which must have `tag`.
    pub(crate) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let [found, first, rest @ ..] = self.0 else {
            return None;
        };
        if *found != tag {
            return None;
        }
        let (length, rest) = match (first, rest) {
            (0..=0x7f, rest) => (usize::from(*first), rest),
            (0x81, [length @ 0x80..=0xff, rest @ ..]) => (usize::from(*length), rest),
            (0x82, [high @ 1..=0xff, low, rest @ ..]) => {
                (usize::from(u16::from_be_bytes([*high, *low])), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }

    /// The values inside the next value, which must have `tag`.
    pub(crate) fn enter(&mut self, tag: u8) -> Option<Self> {
        self.take(tag).map(Self)
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_minimal_lengths_are_read() {
        let with = |head: &[u8], length: usize| [&[INTEGER], head, &vec![7; length][..]].concat();
        let length = |bytes: &[u8]| Der(bytes).take(INTEGER).map(<[u8]>::len);
        assert_eq!(length(&with(&[0], 0)), Some(0));
        assert_eq!(length(&with(&[0x7f], 0x7f)), Some(0x7f));
        assert_eq!(length(&with(&[0x81, 0x80], 0x80)), Some(0x80));
        assert_eq!(length(&with(&[0x82, 1, 0], 0x100)), Some(0x100));
        assert_eq!(length(&with(&[0x81, 0x7f], 0x7f)), None);
        assert_eq!(length(&with(&[0x82, 0, 0x80], 0x80)), None);
        assert_eq!(length(&with(&[0x83, 1, 0, 0], 0x10000)), None);
        assert_eq!(length(&with(&[0x80], 0)), None);
        assert_eq!(length(&with(&[3], 2)), None);
        assert_eq!(length(&[]), None);
        assert_eq!(length(&[INTEGER]), None);
        assert_eq!(length(&[OID, 0]), None);
    }

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x1234] {
            let content = vec![7; length];
            let bytes = value(OCTET_STRING, &content);
            assert_eq!(
                Der(&bytes).take(OCTET_STRING),
                Some(&content[..]),
                "{length}"
            );
        }
    }

    #[test]
    fn a_whole_value_has_nothing_behind_it() {
        assert!(Der::whole(INTEGER, &[INTEGER, 1, 5]).is_some());
        assert!(Der::whole(INTEGER, &[INTEGER, 1, 5, 0]).is_none());
    }
}
