//! Every state that a power cut can leave; pure.
//!
//! After each event of a recording the power may go. Durable is what was written to a medium before
//! its last flush. Of what it was given since, it may hold
//!
//! * all of it, in order (the *prefix*);
//! * any subset of its units, the newest write among them (*subset*, drawn at random);
//! * all, but of the newest write only the sectors before or behind a point (*torn*).
//!
//! A state that has been tried in the same phase is not tried again.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::log::{Event, Log, Media, Medium};
use crate::phase::Phase;
use crate::random::Random;

/// How many states to draw at each event, beside the prefix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draws {
    /// Subsets of what is not flushed.
    pub(crate) subsets: usize,
    /// Points at which the newest write is torn.
    pub(crate) tears: usize,
    /// Whose cache a flush empties.
    pub(crate) caches: Caches,
}

/// Where the media keep what they were given before it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caches {
    /// Each has a cache of its own, as separate chips have.
    Each,
    /// They are parts of one disk: a flush of one makes durable what all were given.
    One,
}

/// What a power cut left.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    /// The content of the media.
    pub(crate) media: Media,
    /// What the device was doing.
    pub(crate) phase: Phase,
    /// Which cut it is, in words.
    pub(crate) name: String,
}

/// One unit of a write.
type Piece<'a> = (Medium, usize, &'a [u8]);

/// Hands every cut of `log` to `take`, until that says that it wants no more.
pub(crate) fn each_cut(log: &Log, draws: Draws, seed: u64, mut take: impl FnMut(Cut) -> bool) {
    let mut random = Random::new(seed);
    let mut durable = log.before.clone();
    let mut pending: Vec<Piece> = Vec::new();
    let mut phase = Phase::Installing;
    let mut seen = HashSet::new();
    // The content of what is durable, as the sum of its units.
    let mut content = 0;
    for (number, event) in log.events.iter().enumerate() {
        let mut newest = 0;
        match event {
            Event::Mark(next) => phase = *next,
            Event::Flush(medium) => {
                let flushed = |to: &Medium| draws.caches == Caches::One || to == medium;
                for piece in pending.iter().filter(|(to, ..)| flushed(to)) {
                    content ^= change(&durable, *piece);
                    apply(&mut durable, *piece);
                }
                pending.retain(|(to, ..)| !flushed(to));
            }
            Event::Write {
                medium,
                offset,
                bytes,
            } => {
                let mut at = *offset;
                for piece in bytes.chunks(medium.unit()) {
                    pending.push((*medium, at, piece));
                    at = at.saturating_add(piece.len());
                    newest = usize::saturating_add(newest, 1);
                }
            }
        }
        let older = pending.len().saturating_sub(newest);
        let mut states: Vec<(String, Vec<Piece>)> = vec![("prefix".into(), pending.clone())];
        let subsets = if pending.is_empty() { 0 } else { draws.subsets };
        for draw in 0..subsets {
            // Few, half and most of the units, in turn.
            let odds = [50, 10, 90].get(draw % 3).copied().unwrap_or(50);
            let kept = pending.iter().filter(|_| random.below(100) < odds);
            states.push((format!("subset {draw}"), kept.copied().collect()));
        }
        for _ in 0..draws.tears.min(newest.saturating_sub(1)) {
            let point = random.below(newest.saturating_sub(1)).saturating_add(1);
            let tail = random.below(2) == 1;
            let mut torn = pending.clone();
            match tail {
                false => torn.truncate(older.saturating_add(point)),
                true => drop(torn.drain(older..older.saturating_add(point))),
            }
            let side = if tail { "behind" } else { "before" };
            states.push((format!("torn, {side} unit {point}"), torn));
        }
        for (how, pieces) in states {
            if !seen.insert((phase, content ^ changes(&durable, &pieces))) {
                continue;
            }
            let mut media = durable.clone();
            pieces.iter().for_each(|piece| apply(&mut media, *piece));
            let name = format!("{phase:?}, event {number}, {how}");
            if !take(Cut { media, phase, name }) {
                return;
            }
        }
    }
}

fn apply(media: &mut Media, (medium, offset, bytes): Piece) {
    let end = offset.saturating_add(bytes.len());
    let content = media.get_mut(medium.index());
    if let Some(range) = content.and_then(|content| content.get_mut(offset..end)) {
        range.copy_from_slice(bytes);
    }
}

/// How the sum of the content's units changes when the pieces are applied.
fn changes(durable: &Media, pieces: &[Piece]) -> u64 {
    // Of two writes to one place the later one stays.
    let last: BTreeMap<_, _> = pieces
        .iter()
        .map(|piece| ((piece.0.index(), piece.1), *piece))
        .collect();
    last.into_values()
        .fold(0, |sum, piece| sum ^ change(durable, piece))
}

/// The same for one piece.
fn change(media: &Media, (medium, offset, bytes): Piece) -> u64 {
    let place = offset..offset.saturating_add(bytes.len());
    let content = media.get(medium.index());
    let old = content.and_then(|content| content.get(place));
    let hash = |bytes: Option<&[u8]>| {
        let mut hasher = DefaultHasher::new();
        (medium.index(), offset, bytes).hash(&mut hasher);
        hasher.finish()
    };
    hash(old) ^ hash(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Draws = Draws {
        subsets: 40,
        tears: 40,
        caches: Caches::Each,
    };

    /// The environments that cuts of these events leave; the first sector's first byte and the
    /// second's.
    #[track_caller]
    fn check(events: &[Event], expected: &[(u8, u8)]) {
        check_with(ALL, events, expected);
    }

    #[track_caller]
    fn check_with(draws: Draws, events: &[Event], expected: &[(u8, u8)]) {
        let log = Log {
            before: [vec![0; 1024], Vec::new(), Vec::new(), Vec::new()],
            events: events.to_vec(),
        };
        let mut found = Vec::new();
        each_cut(&log, draws, 1, |cut| {
            found.push((cut.media[0][0], cut.media[0][512]));
            true
        });
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, expected);
    }

    fn write(offset: usize, sectors: &[u8]) -> Event {
        Event::Write {
            medium: Medium::Environment,
            offset,
            bytes: sectors.iter().flat_map(|&byte| [byte; 512]).collect(),
        }
    }

    #[test]
    fn what_is_not_flushed_may_be_there_in_any_part() {
        check(&[write(0, &[1, 2])], &[(0, 0), (0, 2), (1, 0), (1, 2)]);
        check(
            &[write(0, &[1]), write(512, &[2])],
            &[(0, 0), (0, 2), (1, 0), (1, 2)],
        );
    }

    #[test]
    fn what_is_flushed_stays() {
        let flush = Event::Flush(Medium::Environment);
        check(
            &[write(0, &[1]), flush, write(512, &[2])],
            &[(0, 0), (1, 0), (1, 2)],
        );
    }

    #[test]
    fn a_flush_of_another_medium_does_not_help() {
        let flush = Event::Flush(Medium::Data);
        check(
            &[write(0, &[1]), flush, write(512, &[2])],
            &[(0, 0), (0, 2), (1, 0), (1, 2)],
        );
    }

    #[test]
    fn a_flush_of_another_part_of_the_same_disk_helps() {
        let flush = Event::Flush(Medium::Data);
        check_with(
            Draws {
                caches: Caches::One,
                ..ALL
            },
            &[write(0, &[1]), flush, write(512, &[2])],
            &[(0, 0), (1, 0), (1, 2)],
        );
    }
}
