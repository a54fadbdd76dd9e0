//! The two copies of GRUB's environment, free of I/O: which one counts, and the order of writes
//! that changes them so that a power cut leaves the old or the new values.
//!
//! Each copy is a directory with three files: `env` (a [`Block`] with the variables), `lock` (a
//! block with `editing=0`, or 1 while `env` changes) and `lock.sha256sum`. The layout and the
//! rules are those of the boot scripts `grub-mender-grubenv`, whose tools work on the same files.
//!
//! | lock 2 | lock 1 | what counts |
//! |---|---|---|
//! | not free | any | copy 1 |
//! | free | not free | copy 2 |
//! | free | free | copy 1 |
//!
//! A change writes lock 2, env 2, lock 2, lock 1, env 1, lock 1. Copy 1 counts until lock 1 is
//! taken, and from that write on copy 2, which is complete by then.
//!
//! DIFFERS: where the copy that counts is not sane, the other one is taken if it is. The scripts
//! start a default system then.

use tandem_artifact::Digest;

use super::block::{Block, TooBig, block};
use crate::boot::{BOOT_PART, BOOTCOUNT, UPGRADE_AVAILABLE};

/// One of the two copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// `mender_grubenv1`
    One,
    /// `mender_grubenv2`
    Two,
}

/// One file of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The variables.
    Env,
    /// Whether they are being changed.
    Lock,
    /// What `sha256sum lock` prints while they are not.
    LockSum,
}

/// What the files of one copy hold; a file that is missing or cannot be read is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) env: Vec<u8>,
    pub(super) lock: Vec<u8>,
    pub(super) lock_sum: Vec<u8>,
}

/// Both copies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Copies {
    pub(super) one: Copy,
    pub(super) two: Copy,
}

/// New content for a file. It goes over the old one in place, and onto the medium before the next
/// write begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) which: Which,
    pub(super) part: Part,
    pub(super) content: Vec<u8>,
}

impl Copies {
    /// The copy that counts and its variables; `None` when neither is sane. `parts` are the
    /// numbers of the root parts.
    pub(super) fn source(&self, parts: [u32; 2]) -> Option<(Which, Block)> {
        let order = match (self.two.is_free(), self.one.is_free()) {
            (true, false) => [Which::Two, Which::One],
            _ => [Which::One, Which::Two],
        };
        order.into_iter().find_map(|which| {
            let block = Block::parse(&self.copy(which).env)?;
            is_sane(&block, parts).then_some((which, block))
        })
    }

    /// The writes that make `wanted` what counts, given that it differs from `source` in nothing
    /// or in what is to change. None, if all is well and as it shall be.
    ///
    /// # Errors
    /// When the variables do not fit.
    pub(super) fn change(
        &self,
        (source, current): (Which, &Block),
        wanted: &Block,
    ) -> Result<Vec<Write>, TooBig> {
        let content = wanted.to_bytes()?;
        let whole = |copy: &Copy| copy.is_free() && copy.has_sum() && copy.env == content;
        if whole(&self.one) && whole(&self.two) {
            return Ok(Vec::new());
        }
        let mut writes = Vec::new();
        if source == Which::Two {
            // Until copy 1 says the same, it must not decide, and copy 2 not be written.
            writes.extend(self.rewrite(Which::One, current.to_bytes()?));
        }
        writes.extend(self.rewrite(Which::Two, content.clone()));
        writes.extend(self.rewrite(Which::One, content));
        Ok(writes)
    }

    /// What is not as it should be, for people.
    pub(super) fn complaints(&self, source: Which) -> Vec<String> {
        let mut complaints = Vec::new();
        if source == Which::Two && self.one.is_free() {
            complaints.push("copy 1 is damaged; the next write repairs it".to_owned());
        }
        if source == Which::One && Block::parse(&self.two.env).is_none() {
            complaints.push("copy 2 is damaged; the next write repairs it".to_owned());
        }
        complaints
    }

    /// The writes that replace the variables of one copy, its lock held meanwhile.
    fn rewrite(&self, which: Which, env: Vec<u8>) -> Vec<Write> {
        let copy = self.copy(which);
        let write = |part, content| Write {
            which,
            part,
            content,
        };
        let free = locked(&copy.lock, false);
        let sum = sum_of(&free);
        let mut writes = vec![
            write(Part::Lock, locked(&copy.lock, true)),
            write(Part::Env, env),
            write(Part::Lock, free),
        ];
        if copy.lock_sum.get(..SUM_DIGITS) != sum.get(..SUM_DIGITS) {
            writes.push(write(Part::LockSum, sum));
        }
        writes
    }

    fn copy(&self, which: Which) -> &Copy {
        match which {
            Which::One => &self.one,
            Which::Two => &self.two,
        }
    }
}

impl Copy {
    /// Whether the lock says that the variables are not being changed. A lock that cannot be
    /// understood does not.
    fn is_free(&self) -> bool {
        Block::parse(&self.lock).is_some_and(|block| block.get(EDITING) == Some("0"))
    }

    fn has_sum(&self) -> bool {
        self.lock_sum.get(..SUM_DIGITS) == sum_of(&self.lock).get(..SUM_DIGITS)
    }
}

const EDITING: &str = "editing";

/// The length of a SHA-256 sum in hexadecimal.
const SUM_DIGITS: usize = 64;

/// What the boot script asks of the variables before it trusts them.
fn is_sane(block: &Block, parts: [u32; 2]) -> bool {
    let flag = |name| matches!(block.get(name), Some("0" | "1"));
    let part = block.get(BOOT_PART).and_then(|part| part.parse().ok());
    flag(UPGRADE_AVAILABLE) && flag(BOOTCOUNT) && part.is_some_and(|part| parts.contains(&part))
}

/// The lock `old`, taken or free. All other bytes stay as they are, for the sake of the sum.
fn locked(old: &[u8], taken: bool) -> Vec<u8> {
    let digit = if taken { b'1' } else { b'0' };
    let fresh = || block(&[b"editing=", &[digit][..], b"\n"].concat());
    if Block::parse(old).is_none_or(|old| !matches!(old.get(EDITING), Some("0" | "1"))) {
        return fresh();
    }
    let line = b"\nediting=";
    let value = old
        .windows(line.len())
        .position(|window| window == line)
        .and_then(|at| at.checked_add(line.len()));
    let mut lock = old.to_vec();
    match value.and_then(|at| lock.get_mut(at)) {
        Some(value) => *value = digit,
        None => return fresh(),
    }
    lock
}

/// What `sha256sum lock` prints.
fn sum_of(lock: &[u8]) -> Vec<u8> {
    format!("{}  lock\n", Digest::of(lock)).into_bytes()
}
