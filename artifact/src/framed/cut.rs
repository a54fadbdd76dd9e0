//! Where frames end. Pure.
//!
//! A device that lacks one block of a frame fetches the whole frame, so frames should be small; a frame is compressed
//! for itself, so they should be large. Who knows what the devices have can do both: frames end where what they have
//! ends.

use super::bits::Bits;

/// The largest frame, blocks. A device holds one frame at a time in memory.
pub const MAX_FRAME_BLOCKS: u16 = 512;

/// The largest frame of blocks that a device lacks: here the size of what another base would miss still counts.
const MAX_CHANGED_BLOCKS: usize = 128;

/// The size of all frames where nothing is known about the devices, blocks. At 64 KiB a device would fetch half as much
/// again; at 4 KiB the artifact would be a tenth larger.
pub const UNIFORM_BLOCKS: u16 = 4;

/// Blocks that have not changed and lie between ones that have do not get a frame of their own up to this number: a
/// request or a frame more costs as much.
const GAP: usize = 4;

/// Frames of `size` blocks, but what is only zeros in larger ones. `data` are the blocks that are not zero.
pub(crate) fn uniform(data: &Bits, size: u16) -> Vec<u16> {
    let size = usize::from(size.clamp(1, MAX_FRAME_BLOCKS));
    let mut frames = Vec::new();
    let mut start = 0_usize;
    while start < data.len() {
        let mut end = start.saturating_add(size).min(data.len());
        if zero(data, start, end) {
            let most = start
                .saturating_add(MAX_FRAME_BLOCKS.into())
                .min(data.len());
            while end < most && zero(data, end, end.saturating_add(size).min(most)) {
                end = end.saturating_add(size).min(most);
            }
        }
        push(&mut frames, start, end);
        start = end;
    }
    frames
}

/// Frames that end where what has `changed` begins or ends.
pub(crate) fn at_changes(changed: &Bits) -> Vec<u16> {
    let mut frames = Vec::new();
    let mut start = 0_usize;
    while start < changed.len() {
        let is_changed = changed.contains(start);
        let most = match is_changed {
            true => MAX_CHANGED_BLOCKS,
            false => MAX_FRAME_BLOCKS.into(),
        };
        let run = match is_changed {
            true => changed_run(changed, start),
            false => run(changed, start, false),
        };
        // Pieces of the same size: a small rest would compress badly.
        let pieces = run.saturating_sub(start).div_ceil(most).max(1);
        for left in (1..=pieces).rev() {
            let length = run.saturating_sub(start).div_ceil(left);
            let end = start.saturating_add(length);
            push(&mut frames, start, end);
            start = end;
        }
    }
    frames
}

/// The end of the run of changed blocks at `start`, small gaps included.
fn changed_run(changed: &Bits, start: usize) -> usize {
    let mut end = run(changed, start, true);
    loop {
        let next = run(changed, end, false);
        if next >= changed.len() || next.saturating_sub(end) > GAP {
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

fn zero(data: &Bits, start: usize, end: usize) -> bool {
    !(start..end).any(|place| data.contains(place))
}

fn push(frames: &mut Vec<u16>, start: usize, end: usize) {
    // Never more than the largest frame.
    let blocks = u16::try_from(end.saturating_sub(start)).unwrap_or(MAX_FRAME_BLOCKS);
    frames.push(blocks);
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;

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

    #[track_caller]
    fn check(cut: fn(&Bits) -> Vec<u16>, text: &str, expected: &[u16]) {
        let bits = bits(text);
        let frames = cut(&bits);
        assert_eq!(frames, expected, "{text}");
        let blocks: usize = frames.iter().copied().map(usize::from).sum();
        assert_eq!(blocks, bits.len(), "{text}");
    }

    #[test]
    fn without_a_hint_frames_are_small_but_for_zeros() {
        let cut = |data: &Bits| uniform(data, 4);
        check(cut, "", &[]);
        check(cut, "#", &[1]);
        check(cut, "#10", &[4, 4, 2]);
        check(cut, "#4.8#4", &[4, 8, 4]);
        check(cut, "#5.8#3", &[4, 4, 4, 4]);
        check(cut, ".600", &[512, 88]);
    }

    #[test]
    fn frames_end_where_changes_do() {
        check(at_changes, "", &[]);
        check(at_changes, ".5#3.5", &[5, 3, 5]);
        check(at_changes, ".5#1.4#1.5", &[5, 6, 5]);
        check(at_changes, ".5#1.5#1.5", &[5, 1, 5, 1, 5]);
        check(at_changes, "#1.2", &[1, 2]);
        check(at_changes, "#200", &[100, 100]);
        check(at_changes, ".600", &[300, 300]);
    }
}
