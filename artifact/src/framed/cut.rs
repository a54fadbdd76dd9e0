//! Where frames end. Pure.
//!
//! A device that lacks one block of a frame fetches the whole frame, so frames should be small; a frame is compressed
//! for itself, so they should be large. Who knows what the devices have can do both: frames end where what they have
//! ends.

use super::bits::Bits;
use super::units::Units;

/// The largest frame, bytes. A device holds one frame at a time in memory.
pub(crate) const MAX_FRAME: u32 = 4 << 20;

/// The most blocks or chunks in a frame.
pub(crate) const MAX_FRAME_UNITS: u16 = 1024;

/// The largest frame of blocks that a device lacks, bytes: here the size of what another base would miss still counts.
const MAX_CHANGED: u64 = 512 << 10;

/// The largest frame of chunks that a device has, bytes.
const MAX_UNCHANGED_CHUNKS: u64 = 1 << 20;

/// The size of all frames where nothing is known about the devices, bytes. At 64 KiB a device would fetch half as much
/// again; at 4 KiB the artifact would be a tenth larger.
pub const UNIFORM: u32 = 16 << 10;

/// Blocks that have not changed and lie between ones that have do not get a frame of their own up to this length, bytes:
/// two more frames cost as much. Chunks are of what does not get smaller, and always do.
const GAP: u64 = 8 << 10;

/// Frames of `size` bytes, but what is only zeros in larger ones.
pub(crate) fn uniform(units: &Units, size: u32) -> Vec<u16> {
    let size = u64::from(size);
    let mut frames = Vec::new();
    let mut start = 0_usize;
    while start < units.count() {
        let mut end = take(units, start, size);
        if zero(units, start, end) {
            let most = take(units, start, MAX_FRAME.into());
            loop {
                let next = take(units, end, size).min(most);
                if next == end || !zero(units, end, next) {
                    break;
                }
                end = next;
            }
        }
        push(&mut frames, start, end);
        start = end;
    }
    frames
}

/// Frames that end where what has `changed` begins or ends.
pub(crate) fn at_changes(units: &Units, changed: &Bits) -> Vec<u16> {
    let gap = if units.are_chunks() { 0 } else { GAP };
    let mut frames = Vec::new();
    let mut start = 0_usize;
    while start < changed.len() {
        let is_changed = changed.contains(start);
        let most = match is_changed {
            true => MAX_CHANGED,
            // Chunks do not get smaller, and gain nothing.
            false if units.are_chunks() => MAX_UNCHANGED_CHUNKS,
            false => MAX_FRAME.into(),
        };
        let run = match is_changed {
            true => changed_run(units, changed, start, gap),
            false => run(changed, start, false),
        };
        // Pieces of the same size: a small rest would compress badly.
        let mut pieces = units.size(start..run).div_ceil(most).max(1);
        while start < run {
            let left = units.size(start..run);
            let end = take(units, start, left.div_ceil(pieces.max(1))).min(run);
            push(&mut frames, start, end);
            start = end;
            pieces = pieces.saturating_sub(1);
        }
    }
    frames
}

/// The end of as many units from `start` on as make up `size` bytes, but at least one and at most a frame's.
fn take(units: &Units, start: usize, size: u64) -> usize {
    let most = start
        .saturating_add(MAX_FRAME_UNITS.into())
        .min(units.count());
    let mut end = start;
    let mut taken = 0_u64;
    while end < most && taken < size {
        let next = taken.saturating_add(units.length(end).into());
        if end > start && next > MAX_FRAME.into() {
            break;
        }
        (taken, end) = (next, end.saturating_add(1));
    }
    end
}

/// The end of the run of changed units at `start`, small gaps included.
fn changed_run(units: &Units, changed: &Bits, start: usize, gap: u64) -> usize {
    let mut end = run(changed, start, true);
    loop {
        let next = run(changed, end, false);
        if next >= changed.len() || units.size(end..next) > gap {
            return end;
        }
        end = run(changed, next, true);
    }
}

/// The first place from `start` on that is not `value`.
fn run(bits: &Bits, start: usize, value: bool) -> usize {
    (start..bits.len())
        .find(|place| bits.contains(*place) != value)
        .unwrap_or(bits.len())
}

fn zero(units: &Units, start: usize, end: usize) -> bool {
    units.rank(start) == units.rank(end)
}

fn push(frames: &mut Vec<u16>, start: usize, end: usize) {
    // Never more than the largest frame.
    let units = u16::try_from(end.saturating_sub(start)).unwrap_or(MAX_FRAME_UNITS);
    frames.push(units);
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::framed::block::Fingerprint;
    use crate::framed::chunk::Chunk;

    /// `#` is in the set, `.` is not, a number repeats what stands before it.
    fn bits(text: &str) -> Bits {
        let mut members = Vec::new();
        let mut number = String::new();
        for c in text.chars().chain(['!']) {
            if c.is_ascii_digit() {
                number.push(c);
                continue;
            }
            if let (Ok(times), Some(last)) = (number.parse::<usize>(), members.last().copied()) {
                members.extend(std::iter::repeat_n(last, times - 1));
            }
            number.clear();
            match c {
                '#' => members.push(true),
                '.' => members.push(false),
                _ => {}
            }
        }
        let mut bits = Bits::new(members.len());
        for (number, member) in members.iter().enumerate() {
            if *member {
                bits.insert(number);
            }
        }
        bits
    }

    /// Blocks of which those in `data` are not zero.
    fn blocks(data: &Bits) -> Units {
        let print = Fingerprint::of(&[1]);
        let prints = (0..data.len()).map(|place| print.filter(|_| data.contains(place)));
        Units::of_blocks(prints.collect())
    }

    #[track_caller]
    fn check(cut: fn(&Units, &Bits) -> Vec<u16>, text: &str, expected: &[u16]) {
        let bits = bits(text);
        let frames = cut(&blocks(&bits), &bits);
        assert_eq!(frames, expected, "{text}");
        let blocks: usize = frames.iter().copied().map(usize::from).sum();
        assert_eq!(blocks, bits.len(), "{text}");
    }

    #[test]
    fn without_a_hint_frames_are_small_but_for_zeros() {
        let cut = |units: &Units, _: &Bits| uniform(units, 16 << 10);
        check(cut, "", &[]);
        check(cut, "#", &[1]);
        check(cut, "#10", &[4, 4, 2]);
        check(cut, "#4.8#4", &[4, 8, 4]);
        check(cut, "#5.8#3", &[4, 4, 4, 4]);
        check(cut, ".600", &[600]);
    }

    #[test]
    fn frames_end_where_changes_do() {
        check(at_changes, "", &[]);
        check(at_changes, ".5#3.5", &[5, 3, 5]);
        check(at_changes, ".5#1.2#1.5", &[5, 4, 5]);
        check(at_changes, ".5#1.3#1.5", &[5, 1, 3, 1, 5]);
        check(at_changes, "#1.2", &[1, 2]);
        check(at_changes, "#200", &[100, 100]);
        check(at_changes, ".1600", &[800, 800]);
    }

    #[test]
    fn chunks_are_gathered_by_their_length_and_never_into_too_large_a_frame() {
        let chunk = |length| Chunk {
            length,
            print: Fingerprint::of(&[1]),
        };
        let small: Vec<_> = [9000, 8000, 3000, 2000, 20_000, 5].map(chunk).to_vec();
        let units = Units::of_chunks(&small);
        assert_eq!(uniform(&units, 16 << 10), [2, 3, 1]);
        let mut changed = Bits::new(small.len());
        [1, 2, 4].iter().for_each(|place| changed.insert(*place));
        assert_eq!(at_changes(&units, &changed), [1, 2, 1, 1, 1]);

        let large = Units::of_chunks(&[chunk(1 << 16); 100]);
        for changed in [false, true] {
            let mut bits = Bits::new(100);
            (0..100)
                .filter(|_| changed)
                .for_each(|place| bits.insert(place));
            let frames = at_changes(&large, &bits);
            assert_eq!(frames.iter().sum::<u16>(), 100);
            assert!(frames.iter().all(|units| *units <= 64), "{frames:?}");
        }
    }
}
