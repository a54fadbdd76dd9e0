//! Fingerprints as they stand in an index: no longer than it takes to tell blocks apart.

use super::block::Fingerprint;

/// How many bytes of each fingerprint an index has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Width(u8);

impl Width {
    /// What version 1 of the index has.
    pub(crate) const FULL: Self = Self(8);

    /// The least that is read and written.
    const LEAST: Self = Self(4);

    pub(crate) fn new(bytes: u8) -> Option<Self> {
        let width = Self(bytes);
        (Self::LEAST..=Self::FULL).contains(&width).then_some(width)
    }

    pub(crate) fn bytes(self) -> u8 {
        self.0
    }

    /// The part of a fingerprint that is in the index.
    #[must_use]
    pub fn of(self, print: Fingerprint) -> Fingerprint {
        print.first(self.0)
    }

    /// The width for an image with these fingerprints, where devices are expected to have `known`, in ascending order.
    ///
    /// A device that takes another block for one of the image has to fetch all of it, so that may happen to one of eight
    /// thousand that have twice as many blocks as the image, none of them known, and to none that has only what is
    /// known. The bytes are saved by all.
    pub(crate) fn for_image(prints: &[Fingerprint], known: &[Fingerprint]) -> Self {
        const ODDS_LOG2: u32 = 13;
        let count = (prints.len() as u128).max(1);
        // Both root parts.
        let pairs = count.saturating_mul(count).saturating_mul(4);
        let bits = pairs.ilog2().saturating_add(1).saturating_add(ODDS_LOG2);
        let bytes = u8::try_from(bits.div_ceil(8)).unwrap_or(Self::FULL.0);
        let mut width = Self(bytes.clamp(5, Self::FULL.0));
        let mut all = [prints, known].concat();
        all.sort_unstable();
        all.dedup();
        let ambiguous = |width: Self| {
            let mut before = None;
            all.iter().any(|print| {
                let this = Some(width.of(*print));
                std::mem::replace(&mut before, this) == this
            })
        };
        while width < Self::FULL && ambiguous(width) {
            width = Self(width.0.saturating_add(1));
        }
        width
    }
}

/// The fingerprints of a section, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prints {
    list: Vec<Fingerprint>,
    width: Width,
}

impl Prints {
    /// Takes as much of each as is wanted.
    pub(crate) fn new(prints: impl IntoIterator<Item = Fingerprint>, width: Width) -> Self {
        let list = prints.into_iter().map(|print| width.of(print)).collect();
        Self { list, width }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn get(&self, number: usize) -> Option<Fingerprint> {
        self.list.get(number).copied()
    }

    pub(crate) fn width(&self) -> Width {
        self.width
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let width = usize::from(self.width.0);
        let bytes = self.list.iter().map(|print| print.to_bytes());
        bytes
            .flat_map(|bytes| bytes.into_iter().take(width))
            .collect()
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;

    fn prints(count: u64) -> Vec<Fingerprint> {
        let of = |number: u64| Fingerprint::of(&(number + 1).to_le_bytes()).unwrap();
        (0..count).map(of).collect()
    }

    #[test]
    fn larger_images_have_longer_fingerprints() {
        for (count, bytes) in [
            (0, 5),
            (1, 5),
            (5792, 5),
            (5793, 6),
            (92_681, 6),
            (92_682, 7),
        ] {
            assert_eq!(
                Width::for_image(&prints(count), &[]).bytes(),
                bytes,
                "{count}"
            );
        }
    }

    #[test]
    fn what_would_be_confused_is_told_apart() {
        let print = |bytes| Fingerprint::from_bytes(bytes);
        let (one, other) = ([1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 0, 8]);
        assert_eq!(Width::for_image(&[print(one)], &[print(one)]).bytes(), 5);
        assert_eq!(Width::for_image(&[print(one)], &[print(other)]).bytes(), 7);
        assert_eq!(
            Width::for_image(&[print(one), print(other)], &[]).bytes(),
            7
        );
    }

    #[test]
    fn only_the_width_is_compared_and_written() {
        let width = Width::new(5).unwrap();
        let prints = Prints::new(prints(3), width);
        assert_eq!(prints.to_bytes().len(), 15);
        let full = Fingerprint::of(&1_u64.to_le_bytes()).unwrap();
        assert_ne!(prints.get(0), Some(full));
        assert_eq!(prints.get(0), Some(width.of(full)));
        assert_eq!((Width::new(3), Width::new(9)), (None, None));
    }
}
