//! One header block of a tar archive.

use tar::Header;

/// Checks everything in a header that does not depend on the type of its member: the size, or the rule that it breaks,
/// `<an archive> ...`.
pub(crate) fn checked_size(header: &Header) -> Result<u64, &'static str> {
    if header.as_ustar().is_none() && header.as_gnu().is_none() {
        return Err("has a block that is not a ustar header");
    }
    let fields = header.as_old();
    // The checksum itself counts as spaces.
    let total = |bytes: &[u8]| bytes.iter().copied().map(u64::from).sum::<u64>();
    let sum = total(header.as_bytes())
        .saturating_sub(total(&fields.cksum))
        .saturating_add(total(&[b' '; 8]));
    if number(&fields.cksum) != Some(sum) {
        return Err("has a header with a wrong checksum");
    }
    number(&fields.size).ok_or("has a header with an unusable size")
}

/// A numeric field: octal digits, perhaps after spaces, then only spaces and NULs; or positive base-256 (first byte
/// 0x80). At most 2^63 - 1.
fn number(field: &[u8]) -> Option<u64> {
    let value = match field {
        [0x80, rest @ ..] => rest.iter().try_fold(0_u64, |value, byte| {
            value.checked_mul(256)?.checked_add(u64::from(*byte))
        })?,
        _ => {
            let text = std::str::from_utf8(field)
                .ok()?
                .trim_start_matches(' ')
                .trim_end_matches([' ', '\0']);
            let digits = text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
            u64::from_str_radix(digits.then_some(text)?, 8).ok()?
        }
    };
    i64::try_from(value).is_ok().then_some(value)
}

/// What a type flag means, for the error that refuses it.
pub(crate) fn kind_name(flag: u8) -> String {
    match flag {
        b'1' => "a hard link".to_owned(),
        b'2' => "a symbolic link".to_owned(),
        b'3' | b'4' => "a device".to_owned(),
        b'5' => "a directory".to_owned(),
        b'6' => "a fifo".to_owned(),
        b'S' => "a sparse file".to_owned(),
        b'L' | b'K' => "a GNU long name".to_owned(),
        b'g' => "a global extended header".to_owned(),
        _ => format!("of the unknown type {:?}", char::from(flag)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_positive_base_256() {
        let base256 = |bytes: [u8; 12]| number(&bytes);
        for (field, value) in [
            (&b"00000000037\0"[..], Some(0o37)),
            (b"77777777777\0", Some(0o77_777_777_777)),
            (b"777777777777", Some(0o777_777_777_777)),
            (b"         37 ", Some(0o37)),
            (b"0010605\0 ", Some(0o10605)),
            (b"010605\0 ", Some(0o10605)),
            (b"0\0\0\0\0\0\0\0\0\0\0\0", Some(0)),
            (b"\0\0\0\0\0\0\0\0\0\0\0\0", None),
            (b"            ", None),
            (b"0000000003x\0", None),
            (b"00000000008\0", None),
            (b"-0000000001\0", None),
            (b"+0000000001\0", None),
            (b"0000\x0000037\0", None),
            (b"\x000000000037\0", None),
            (b"0x000000037\0", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(number(field), value, "{:?}", String::from_utf8_lossy(field));
        }
        assert_eq!(base256([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]), Some(258));
        assert_eq!(
            base256([0x80, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255]),
            Some(i64::MAX as u64)
        );
        assert_eq!(base256([0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(base256([0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(base256([0x81, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), None);
        assert_eq!(base256([0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), None);
    }
}
