//! Which of two copies counts.

/// What the flags byte of a copy means. It depends on the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// A counter: files, block devices, NAND, UBI.
    Incremental,
    /// 1 is the current copy, 0 the old one, 0xFF one whose flags were never written: NOR flash,
    /// where the old copy can be marked without an erase.
    Boolean,
}

/// The number of the copy that counts, given the flags of the good ones.
///
/// | flags | incremental | boolean |
/// |---|---|---|
/// | one copy good | that one | that one |
/// | equal | first | first |
/// | 255 and 0 | the 0 (the counter wrapped) | the 255 (never written) |
/// | one is 255 | the 255 | the 255 |
/// | otherwise | the larger | the larger |
///
/// U-Boot, its own tools and libubootenv agree on all of it, with one exception.
/// DIFFERS: on NOR with 255 and 255 libubootenv takes the second copy; U-Boot, which boots from
/// it, the first.
pub(crate) fn newest(scheme: Scheme, first: Option<u8>, second: Option<u8>) -> Option<usize> {
    let (first, second) = match (first, second) {
        (None, None) => return None,
        (Some(_), None) => return Some(0),
        (None, Some(_)) => return Some(1),
        (Some(first), Some(second)) => (first, second),
    };
    let second_counts = match (scheme, first, second) {
        (Scheme::Incremental, u8::MAX, 0) => true,
        (Scheme::Incremental, 0, u8::MAX) => false,
        (Scheme::Incremental | Scheme::Boolean, ..) => second > first,
    };
    Some(usize::from(second_counts))
}

/// The flags byte for the copy that is written next, given that of the current one.
pub(crate) fn next_flags(scheme: Scheme, current: u8) -> u8 {
    match scheme {
        Scheme::Incremental => current.wrapping_add(1),
        Scheme::Boolean => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(scheme: Scheme, first: Option<u8>, second: Option<u8>, expected: Option<usize>) {
        assert_eq!(
            newest(scheme, first, second),
            expected,
            "{scheme:?} {first:?} {second:?}"
        );
    }

    #[test]
    fn the_table_of_u_boot() {
        use Scheme::{Boolean, Incremental};
        for scheme in [Incremental, Boolean] {
            check(scheme, None, None, None);
            check(scheme, Some(0), None, Some(0));
            check(scheme, None, Some(0), Some(1));
            check(scheme, Some(1), Some(0), Some(0));
            check(scheme, Some(0), Some(1), Some(1));
            for equal in [0, 1, 128, 255] {
                check(scheme, Some(equal), Some(equal), Some(0));
            }
            check(scheme, Some(255), Some(1), Some(0));
            check(scheme, Some(1), Some(255), Some(1));
        }
        check(Incremental, Some(255), Some(0), Some(1));
        check(Incremental, Some(0), Some(255), Some(0));
        check(Incremental, Some(254), Some(0), Some(0));
        check(Incremental, Some(0), Some(128), Some(1));
        check(Boolean, Some(255), Some(0), Some(0));
        check(Boolean, Some(0), Some(255), Some(1));
    }

    #[test]
    fn what_is_written_next_counts_from_then_on() {
        for current in 0..=255 {
            let next = next_flags(Scheme::Incremental, current);
            check(Scheme::Incremental, Some(current), Some(next), Some(1));
            check(Scheme::Incremental, Some(next), Some(current), Some(0));
        }
        let obsolete = 0;
        let next = next_flags(Scheme::Boolean, 1);
        check(Scheme::Boolean, Some(obsolete), Some(next), Some(1));
        check(Scheme::Boolean, Some(next), Some(obsolete), Some(0));
    }
}
