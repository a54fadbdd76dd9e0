//! Every power cut during a change of GRUB's environment: after each write, and in the middle of
//! each, with every mixture of old, new and ruined sectors.

use super::block::{Block, SIZE};
use super::copies::{Copies, Copy, Part, Which, Write};

const PARTS: [u32; 2] = [2, 3];
const SECTOR: usize = 512;

fn variables(part: &str, upgrade_available: &str, bootcount: &str) -> Block {
    let mut block = Block::default();
    block.set("bootcount", bootcount);
    block.set("mender_boot_part", part);
    block.set("upgrade_available", upgrade_available);
    block.set(
        "mender_systemd_machine_id",
        "0123456789abcdef0123456789abcdef",
    );
    block
}

fn committed_a() -> Block {
    variables("2", "0", "0")
}

fn armed_b() -> Block {
    variables("3", "1", "0")
}

/// Files as the installation leaves them.
fn fresh(block: &Block) -> Copies {
    let empty = Copies::default();
    let writes = empty.change((Which::One, block), block).unwrap();
    writes
        .iter()
        .fold(empty, |copies, write| after(&copies, write, &write.content))
}

fn file<'a>(copies: &'a mut Copies, write: &Write) -> &'a mut Vec<u8> {
    let copy: &mut Copy = match write.which {
        Which::One => &mut copies.one,
        Which::Two => &mut copies.two,
    };
    match write.part {
        Part::Env => &mut copy.env,
        Part::Lock => &mut copy.lock,
        Part::LockSum => &mut copy.lock_sum,
    }
}

fn after(copies: &Copies, write: &Write, content: &[u8]) -> Copies {
    let mut copies = copies.clone();
    content.clone_into(file(&mut copies, write));
    copies
}

/// What a power cut during `write` can leave in its file.
fn torn(copies: &Copies, write: &Write) -> Vec<Copies> {
    let old = file(&mut copies.clone(), write).clone();
    let sectors = |bytes: &[u8]| -> Vec<Vec<u8>> {
        let mut bytes = bytes.to_vec();
        bytes.resize(SIZE, 0);
        bytes.chunks(SECTOR).map(<[u8]>::to_vec).collect()
    };
    let (old, new, ruined) = (
        sectors(&old),
        sectors(&write.content),
        sectors(&[0xa5; SIZE]),
    );
    let choices = [&old, &new, &ruined];
    let mut outcomes = Vec::new();
    for first in choices {
        for second in choices {
            outcomes.push(after(
                copies,
                write,
                &[first[0].clone(), second[1].clone()].concat(),
            ));
        }
    }
    // A file that could not be read at all.
    outcomes.push(after(copies, write, &[]));
    outcomes
}

/// The boot script of grub-mender-grubenv: restores one copy from the other, then trusts copy 1.
fn boot_script(mut copies: Copies) -> Option<Block> {
    let free = |lock: &[u8]| Block::parse(lock).is_some_and(|b| b.get("editing") == Some("0"));
    if free(&copies.two.lock) && !free(&copies.one.lock) {
        copies.one.env = copies.two.env;
    }
    Block::parse(&copies.one.env)
}

/// States in which the files may be met: whole, after any power cut during an earlier change, and
/// with one copy damaged.
fn starts() -> Vec<(&'static str, Copies, Block)> {
    let whole = fresh(&committed_a());
    let mut starts = vec![("whole", whole.clone(), committed_a())];
    // An earlier change, to the same trial, that was cut off.
    let mut copies = whole.clone();
    for write in whole
        .change((Which::One, &committed_a()), &armed_b())
        .unwrap()
    {
        copies = after(&copies, &write, &write.content);
        let (_, counts) = copies.source(PARTS).unwrap();
        starts.push(("after a power cut", copies.clone(), counts));
    }
    for (name, which, part) in [
        ("env 1 is gone", Which::One, Part::Env),
        ("env 2 is gone", Which::Two, Part::Env),
        ("lock 1 is gone", Which::One, Part::Lock),
        ("lock 2 is gone", Which::Two, Part::Lock),
        ("sum 1 is gone", Which::One, Part::LockSum),
        ("sum 2 is gone", Which::Two, Part::LockSum),
    ] {
        for content in [Vec::new(), vec![0; SIZE], vec![b'#'; SIZE + 1]] {
            let write = Write {
                which,
                part,
                content,
            };
            starts.push((name, after(&whole, &write, &write.content), committed_a()));
        }
    }
    starts
}

#[test]
fn a_power_cut_leaves_the_old_or_the_new_values() {
    let mut images = 0;
    for (name, start, old) in starts() {
        for new in [
            committed_a(),
            armed_b(),
            variables("3", "0", "1"),
            variables("2", "0", "0"),
        ] {
            let by_script = boot_script(start.clone()).as_ref() == Some(&old);
            let (which, counts) = start.source(PARTS).unwrap();
            assert_eq!(counts, old, "{name}");
            let writes = start.change((which, &counts), &new).unwrap();
            let mut copies = start.clone();
            let mut done = false;
            for write in &writes {
                for outcome in torn(&copies, write) {
                    images += 1;
                    let (_, found) = outcome
                        .source(PARTS)
                        .unwrap_or_else(|| panic!("{name}: nothing counts after {write:?}"));
                    assert!(found == old || found == new, "{name}: {found:?}");
                    assert!(!done || found == new, "{name}: what was new is old again");
                    if by_script {
                        let started = boot_script(outcome).unwrap();
                        assert!(started == old || started == new, "{name}: {started:?}");
                    }
                }
                copies = after(&copies, write, &write.content);
                done |= copies.source(PARTS).unwrap().1 == new && new != old;
            }
            assert_eq!(boot_script(copies.clone()), Some(new.clone()), "{name}");
            assert_eq!(
                copies.source(PARTS),
                Some((Which::One, new.clone())),
                "{name}"
            );
            assert_eq!(copies.one, copies.two, "{name}");
            assert_eq!(
                copies.change((Which::One, &new), &new).unwrap(),
                [],
                "{name}"
            );
        }
    }
    assert!(images > 4000, "{images}");
}

#[test]
fn locks_keep_their_bytes() {
    let mut copies = fresh(&committed_a());
    let theirs = super::block::block(
        b"# WARNING: Do not edit this file by tools other than grub-editenv!!!\nediting=0\n",
    );
    for copy in [&mut copies.one, &mut copies.two] {
        copy.lock.clone_from(&theirs);
        copy.lock_sum = format!("{}  lock\n", tandem_artifact::Digest::of(&theirs)).into();
    }
    let writes = copies
        .change((Which::One, &committed_a()), &armed_b())
        .unwrap();
    assert_eq!(writes.len(), 6);
    let last = writes
        .iter()
        .rev()
        .find(|write| write.part == Part::Lock)
        .unwrap();
    assert_eq!(last.content, theirs);
}

#[test]
fn nothing_counts_when_both_are_damaged() {
    let mut copies = fresh(&committed_a());
    copies.one.env.clear();
    copies.two.env.truncate(SECTOR);
    assert_eq!(copies.source(PARTS), None);
    for insane in [
        variables("4", "0", "0"),
        variables("2", "2", "0"),
        variables("2", "0", "2"),
        Block::default(),
    ] {
        assert_eq!(fresh(&insane).source(PARTS), None);
    }
}
