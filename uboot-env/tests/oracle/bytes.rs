//! What is stored: each program reads what the other wrote, whatever the bytes are.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::process::Command;

use tandem_uboot_env::Env;

use super::{check_same, copy_of};
use crate::peers::{Device, Random, Whose, arg, finish, installed};

/// Applies the same random changes with both programs to twins, and has each read what the other
/// wrote.
#[test]
fn random_changes_leave_the_same_behind_and_each_reads_the_other() {
    if !installed("fw_setenv") {
        return;
    }
    for seed in 0..12 {
        let mut random = Random(seed);
        let size = [0x40, 0x100, 0x1000][random.below(3)];
        let copies = 1 + random.below(2);
        let header = if copies == 2 { 5 } else { 4 };
        let mut expected: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let start = copy_of(
            &Env::new(),
            size,
            (copies == 2).then_some(random.below(256) as u8),
        );
        let mine = Device::new(size, copies, &start.repeat(copies));
        let theirs = mine.twin();

        for step in 0..12 {
            let mut wanted = expected.clone();
            let mut args = vec![OsString::from("--")];
            for _ in 0..1 + random.below(4) {
                let name = match wanted.keys().nth(random.below(wanted.len() + 1)) {
                    Some(name) => name.clone(),
                    None => random_bytes(&mut random, 8, b"\0=\n"),
                };
                let used: usize = wanted.iter().map(|(n, v)| n.len() + v.len() + 2).sum();
                let room = (size - header - 1).saturating_sub(used + name.len() + 2);
                // Now and then exactly as much as there is room for.
                let length = if random.below(4) == 0 {
                    room
                } else {
                    random.below(room + 1)
                };
                let value = exactly(&mut random, length, b"\0");
                // A call that changes nothing repairs with us and does nothing with them.
                if args.contains(&arg(&name)) || expected.get(&name) == Some(&value) {
                    continue;
                }
                args.extend([arg(&name), arg(&value)]);
                wanted.insert(name, value);
            }
            let used: usize = wanted.iter().map(|(n, v)| n.len() + v.len() + 2).sum();
            if used + 1 > size - header {
                // Would be refused; take something out instead.
                wanted = expected.clone();
                args.truncate(1);
                args.extend(wanted.pop_first().map(|(name, _)| arg(&name)));
            }
            if args.len() == 1 {
                continue;
            }
            let context = format!("seed {seed} step {step}");
            assert_eq!(mine.set(Whose::Ours, &args, b"").code, Some(0), "{context}");
            assert_eq!(
                theirs.set(Whose::Debians, &args, b"").code,
                Some(0),
                "{context}"
            );
            assert!(mine.essence() == theirs.essence(), "{context}");
            expected = wanted;

            let text: Vec<u8> = expected
                .iter()
                .flat_map(|(name, value)| [name, b"=".as_slice(), value, b"\n"].concat())
                .collect();
            for (device, whose) in [
                (&mine, Whose::Debians),
                (&mine, Whose::Ours),
                (&theirs, Whose::Ours),
            ] {
                let run = device.print::<OsString>(whose, &[]);
                assert_eq!(
                    run.out,
                    text.escape_ascii().to_string(),
                    "{context} {whose:?}"
                );
            }
            if copies == 2 && random.below(4) == 0 {
                // The copy that does not count is damaged; both programs must not care.
                let last = last_written(&mine);
                let at = (1 - last) * size + random.below(size);
                for device in [&mine, &theirs] {
                    let mut content = device.content();
                    content[at] = content[at].wrapping_add(1);
                    device.set_content(&content);
                }
            }
        }
    }
}

/// The copy whose flags are newer.
fn last_written(device: &Device) -> usize {
    let content = device.content();
    let (first, second) = (content[4], content[device.size + 4]);
    usize::from(second == first.wrapping_add(1))
}

fn random_bytes(random: &mut Random, limit: usize, without: &[u8]) -> Vec<u8> {
    let length = 1 + random.below(limit);
    exactly(random, length, without)
}

fn exactly(random: &mut Random, length: usize, without: &[u8]) -> Vec<u8> {
    std::iter::repeat_with(|| random.next() as u8)
        .filter(|byte| !without.contains(byte))
        .take(length)
        .collect()
}

#[test]
fn images_of_mkenvimage_are_read_as_libubootenv_reads_them() {
    if !installed("mkenvimage") || !installed("fw_printenv") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text");
    fs::write(
        &text,
        "# comment\nbootcmd=run a; run b\nlong=1\\\n2\nname=\n\nlast=x\n",
    )
    .unwrap();
    for options in [
        &["-s", "0x100"][..],
        &["-s", "0x100", "-p", "0"],
        &["-s", "0x100", "-p", "0x41"],
        &["-r", "-s", "0x100"],
        &["-r", "-s", "0x100", "-p", "0"],
        // The checksum of a CPU with the other byte order: not ours.
        &["-b", "-s", "0x100"],
        &["-b", "-r", "-s", "0x100"],
    ] {
        let image = dir.path().join("image");
        let mut command = Command::new("mkenvimage");
        command.args(options).arg("-o").arg(&image).arg(&text);
        assert_eq!(finish(command, b"").code, Some(0));
        let image = fs::read(&image).unwrap();
        let copies = if options.contains(&"-r") { 2 } else { 1 };
        let device = Device::new(0x100, copies, &image.repeat(copies));
        check_same(&device, "fw_printenv", &["-f", "nosuch"], "");
        check_same(&device, "fw_setenv", &["-f", "nosuch", "x", "1"], "");
        let readable = device.print(Whose::Ours, &["-f", "nosuch"]).code == Some(0);
        assert_eq!(
            readable,
            !options.contains(&"-b") || cfg!(target_endian = "big")
        );
    }
}

/// The environment is bytes: what U-Boot or another tool stored must come out and survive.
#[test]
fn entries_that_are_no_variables_survive_a_change() {
    let mut data = b"junk\0ok=1\0=nameless\0".to_vec();
    data.resize(0x40 - 5, 0);
    let copy = [&crc32fast::hash(&data).to_ne_bytes()[..], &[1], &data].concat();
    let device = Device::new(0x40, 2, &copy.repeat(2));
    let set = device.set(Whose::Ours, &["ok", "2"], b"");
    assert!(set.err.contains("remove it with: fw_setenv"), "{set:?}");
    assert_eq!(
        device.essence()[1],
        "flags 2: junk\\x00=nameless\\x00ok=2\\x00"
    );
    let set = device.set(Whose::Ours, &[""], b"");
    assert_eq!((set.code, set.err.as_str()), (Some(0), ""));
    assert_eq!(device.essence()[0], "flags 3: junk\\x00ok=2\\x00");
}
