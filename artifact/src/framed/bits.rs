//! A set of small numbers, which knows how many are below another.

/// Bits in a word.
const WORD: usize = 64;

/// A set of numbers below its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    /// The empty set of numbers below `len`.
    pub(crate) fn new(len: usize) -> Self {
        Self {
            words: vec![0; len.div_ceil(WORD)],
            len,
        }
    }

    /// The number that all of its members are below.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts `number` in; one that is too large is left out.
    pub(crate) fn insert(&mut self, number: usize) {
        if number < self.len {
            if let Some(word) = self.words.get_mut(number / WORD) {
                *word |= 1_u64 << (number % WORD);
            }
        }
    }

    pub(crate) fn contains(&self, number: usize) -> bool {
        let word = self.words.get(number / WORD);
        word.is_some_and(|word| word >> (number % WORD) & 1 == 1)
    }

    /// How many members there are.
    pub(crate) fn count(&self) -> usize {
        self.words.iter().copied().map(ones).sum()
    }

    /// The number of members below every multiple of the size of a word.
    pub(crate) fn ranks(&self) -> Ranks {
        let mut sum = 0_u32;
        let mut ranks = vec![0];
        ranks.extend(self.words.iter().map(|word| {
            sum = sum.saturating_add(word.count_ones());
            sum
        }));
        Ranks(ranks)
    }

    /// How many members are below `number`, which is at most the length. `ranks` must be those of this set.
    pub(crate) fn rank(&self, ranks: &Ranks, number: usize) -> usize {
        let word = number / WORD;
        let before = ranks.0.get(word).copied().unwrap_or_default();
        let below = (1_u64 << (number % WORD)).wrapping_sub(1);
        let inside = self.words.get(word).map_or(0, |word| ones(word & below));
        usize::try_from(before).map_or(usize::MAX, |before| before.saturating_add(inside))
    }
}

/// See [`Bits::ranks`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ranks(Vec<u32>);

fn ones(word: u64) -> usize {
    word.count_ones().try_into().unwrap_or(WORD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_counted() {
        for len in [0, 1, 63, 64, 65, 200] {
            let mut bits = Bits::new(len);
            let members: Vec<_> = (0..len)
                .filter(|number| number % 3 == 1 || *number == 63)
                .collect();
            members.iter().for_each(|number| bits.insert(*number));
            bits.insert(len);
            let ranks = bits.ranks();
            assert_eq!(bits.count(), members.len());
            for number in 0..=len {
                assert_eq!(bits.contains(number), members.contains(&number));
                let below = members.iter().filter(|member| **member < number).count();
                assert_eq!(bits.rank(&ranks, number), below, "{number} of {len}");
            }
            assert!(!bits.contains(len) && !bits.contains(usize::MAX));
        }
    }
}
