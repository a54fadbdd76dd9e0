//! Our tools beside Debian's `libubootenv-tool` 0.3.2 and `mkenvimage`: the same arguments on twins of
//! one device give the same output, exit code and stored bytes, and each reads what the other wrote.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may panic, and what it writes need not be durable"
)]

mod bytes;
#[path = "../peers/mod.rs"]
mod peers;

use std::fs;

use peers::{Device, Run, Whose, installed, run};
use tandem_uboot_env::{Env, image};

fn env_of(text: &str) -> Env {
    Env::from_text(text.as_bytes()).unwrap()
}

fn copy_of(env: &Env, size: usize, flags: Option<u8>) -> Vec<u8> {
    image::build(env, size, flags).unwrap()
}

/// Two good copies, the second being current.
fn redundant(size: usize, text: &str) -> Device {
    let old = copy_of(&env_of("old=1\n"), size, Some(1));
    let new = copy_of(&env_of(text), size, Some(2));
    Device::new(size, 2, &[old, new].concat())
}

fn single(size: usize, text: &str) -> Device {
    Device::new(size, 1, &copy_of(&env_of(text), size, None))
}

/// Both programs answer alike and leave the same behind.
#[track_caller]
fn check_same(device: &Device, program: &str, args: &[&str], input: &str) {
    let (mine, theirs) = (device.twin(), device.twin());
    let mut args: Vec<&str> = args.to_vec();
    if !args.contains(&"-c") {
        args.splice(0..0, ["-c", "fw_env.config"]);
    }
    let my_run = run(
        Whose::Ours,
        program,
        mine.dir.path(),
        &args,
        input.as_bytes(),
    );
    let their_run = run(
        Whose::Debians,
        program,
        theirs.dir.path(),
        &args,
        input.as_bytes(),
    );
    let answer = |run: &Run| (run.code, run.out.clone(), run.err.is_empty());
    assert_eq!(
        answer(&my_run),
        answer(&their_run),
        "{program} {args:?}\n{my_run:?}\n{their_run:?}"
    );
    assert_eq!(mine.essence(), theirs.essence(), "{program} {args:?}");
}

/// Where we differ on purpose: our exit code and what we leave behind, and Debian's exit code so that
/// a change there is noticed.
#[track_caller]
fn check_differs(device: &Device, program: &str, args: &[&str], ours: (i32, &[&str]), theirs: i32) {
    let (mine, other) = (device.twin(), device.twin());
    let my_run = match program {
        "fw_setenv" => mine.set(Whose::Ours, args, b""),
        _ => mine.print(Whose::Ours, args),
    };
    let their_run = match program {
        "fw_setenv" => other.set(Whose::Debians, args, b""),
        _ => other.print(Whose::Debians, args),
    };
    assert_eq!(my_run.code, Some(ours.0), "{args:?} {my_run:?}");
    assert_eq!(mine.essence(), ours.1, "{args:?}");
    assert_eq!(their_run.code, Some(theirs), "{args:?} {their_run:?}");
}

#[test]
fn printing_answers_as_libubootenv_does() {
    if !installed("fw_printenv") {
        return;
    }
    let device = redundant(0x100, "b=2\na=1\nB=x y\n_=\u{e9}\nurl=http://x/?a=b\n");
    for args in [
        &[][..],
        &["a"],
        &["b", "a", "b"],
        &["nosuch"],
        &["a", "nosuch", "b"],
        &["-n", "a"],
        &["-n", "nosuch"],
        &["-n", "a", "b"],
        &["-n"],
        &["a", "-n"],
        &["-na"],
        &["--no-header", "url"],
        &["--no-h", "url"],
        &["--", "-n"],
        &["-s", "script", "a"],
        &["-x", "a"],
        &["-l", "/tmp"],
        &["--lock=/tmp", "a"],
        &["--no-header=1", "a"],
        &["a="],
        &[""],
        &["-c"],
        &["-c", "fw_env.config", "-f"],
        &["--config=fw_env.config", "-c", "fw_env.config", "a"],
        &["-cfw_env.config", "-c", "fw_env.config", "a"],
        &["-c", "nosuch"],
        &["-c", "/"],
        &["-c", "env"],
    ] {
        check_same(&device, "fw_printenv", args, "");
    }
    check_same(&single(0x40, "a=1\n"), "fw_printenv", &[], "");
    check_same(&single(0x40, ""), "fw_printenv", &[], "");
    check_same(&redundant(0x40, ""), "fw_printenv", &[], "");
}

#[test]
fn setting_answers_and_stores_as_libubootenv_does() {
    if !installed("fw_setenv") {
        return;
    }
    let text = "b=2\na=1\nempty=x\n";
    for device in [redundant(0x100, text), single(0x100, text)] {
        for args in [
            &[][..],
            &["x", "1"],
            &["x", "1", "y", "2"],
            &["x", "1", "y"],
            &["x", "1", "a"],
            &["a"],
            &["a", "b"],
            &["nosuch"],
            &["empty", ""],
            &["a", "1"],
            &["a", "1", "b", "2"],
            &["a", "9", "a", "8"],
            &["a", "9", "a"],
            &["bad=name", "1"],
            &["x", "1", "bad=name", "2"],
            &["bad=name"],
            &["big", &"v".repeat(300)],
            &["x", "-1"],
            &["--", "x", "-1"],
            &["-1", "x"],
            &["x", "--", "-1"],
            &["-n", "x", "1"],
            &["-q", "x", "1"],
            &["-l", "/tmp", "x"],
            &["x", "line\nbreak"],
            &[""],
            &["-s"],
            &["-c", "nosuch", "x", "1"],
        ] {
            check_same(&device, "fw_setenv", args, "");
        }
        for script in [
            "",
            "x=1\n",
            "x=1\ny=2",
            "a=1\n",
            "a=\n",
            "nosuch=\n",
            "# a=9\n",
            " lead=v\nr = spaced \n",
            "a=1=2\n",
            "x=1\r\ny=2\r\n",
            "\n\n\r\nx=1\n",
            "no equals sign\nx=1\n",
            "a=9\na=8\n",
            "=\n",
        ] {
            check_same(&device, "fw_setenv", &["-s", "-"], script);
            check_same(
                &device,
                "fw_setenv",
                &["--script=-", "ignored", "arguments"],
                script,
            );
        }
        fs::write(device.dir.path().join("script"), "x=1\n").unwrap();
    }
}

#[test]
fn a_script_from_a_file_is_read_like_one_from_standard_input() {
    if !installed("fw_setenv") {
        return;
    }
    let device = redundant(0x100, "a=1\n");
    let script = device.dir.path().join("script");
    fs::write(&script, "x=1\na=\n").unwrap();
    check_same(&device, "fw_setenv", &["-s", script.to_str().unwrap()], "");
}

#[test]
fn help_and_version_go_to_standard_output() {
    for program in ["fw_printenv", "fw_setenv"] {
        for option in ["-h", "--help", "-V", "--version", "--vers"] {
            let run = run(
                Whose::Ours,
                program,
                "/".as_ref(),
                &[option, "-c", "nosuch"],
                b"",
            );
            assert_eq!(
                (run.code, run.err.as_str()),
                (Some(0), ""),
                "{program} {option}"
            );
            assert_eq!(
                run.out.contains("Examples:"),
                option.contains('h'),
                "{program} {option}"
            );
        }
    }
}

#[test]
fn a_wrong_configuration_is_refused_as_by_libubootenv() {
    if !installed("fw_printenv") {
        return;
    }
    let good = copy_of(&env_of("a=1\n"), 0x100, Some(1));
    let content = [good.clone(), good.clone(), good].concat();
    for config in [
        "env 0 100\nenv 0x100 100\nenv 0x200 100\n",
        "# comment\n\n\tenv\t0\t0x100\n  env 256 100 trailing words\n",
        "env 0 100\nenv 0400 100\n",
        "env 0 0100\nenv 0x100 +100 0 0 1 x\n",
        "env 0 100\nenv\nenv 0x100\nenv 0x100 100\n",
        " # no comment 0 100\nenv 0 100\nenv 0x100 100",
        "env 0 100\r\nenv 0x100 100\r\n",
        "env 0 0\n",
        "env 0 100\nenv 0x100 0\n",
        "env 0 100\nenv 0x100 80\n",
        "env 0 nonsense\n",
        "nosuch 0 100\n",
        "env 0 100\nnosuch 0x100 100\n",
        "env -0x100 100\n",
        "",
        "uboot:\n",
        "env\0 0 100\n",
    ] {
        let device = Device::new(0x100, 2, &content);
        fs::write(device.dir.path().join("fw_env.config"), config).unwrap();
        check_same(&device, "fw_printenv", &[], "");
        check_same(&device, "fw_setenv", &["x", "1"], "");
    }
}

#[test]
fn with_no_good_copy_the_default_environment_is_used_or_nothing_is_done() {
    if !installed("fw_printenv") {
        return;
    }
    for (copies, filling) in [(1, 0), (1, 0xff), (2, 0), (2, 0xff), (2, 0x7f)] {
        let device = Device::new(0x100, copies, &vec![filling; 0x100 * copies]);
        let default = device.dir.path().join("default");
        fs::write(&default, "# default\nbootcmd=run x\nb=2\n").unwrap();
        let default = default.to_str().unwrap();
        check_same(&device, "fw_printenv", &["-f", "nosuch"], "");
        check_same(&device, "fw_setenv", &["-f", "nosuch", "x", "1"], "");
        check_same(&device, "fw_setenv", &["-f", "nosuch", "-s", "-"], "x=1\n");
        check_same(&device, "fw_printenv", &["-f", default], "");
        check_same(&device, "fw_printenv", &["-f", default, "-n", "b"], "");
        check_same(&device, "fw_setenv", &["-f", default, "x", "1"], "");
        check_same(&device, "fw_setenv", &["-f", default], "");
        check_same(&device, "fw_setenv", &["-f", default, "-s", "-"], "b=\n");
    }
    // The medium ends before the only copy does.
    let device = Device::new(0x100, 1, &[0; 0x80]);
    check_same(&device, "fw_printenv", &["-f", "nosuch"], "");
}

#[test]
fn where_libubootenv_does_harm_we_differ() {
    if !installed("fw_setenv") {
        return;
    }
    let device = redundant(0x40, "a=1\n");
    let before = ["flags 1: old=1\\x00", "flags 2: a=1\\x00"];
    check_differs(&device, "fw_setenv", &["", "v"], (1, &before), 0);
    check_differs(&device, "fw_setenv", &["x", "1", "", "v"], (1, &before), 0);
    check_differs(&device, "fw_setenv", &["-s", "/nosuch"], (1, &before), 0);
    check_differs(&device, "fw_setenv", &["-s", "/"], (1, &before), 0);
    check_differs(&device, "fw_setenv", &["new\nline", "v"], (1, &before), 0);

    // 0x40 - 5 bytes, of which the entry that ends them takes one.
    let full = "v".repeat(0x40 - 5 - "b=\0".len() - "a=1\0".len());
    check_differs(&device, "fw_setenv", &["b", &full], (244, &before), 0);
    check_same(&device, "fw_setenv", &["b", &full[1..]], "");
    check_same(&device, "fw_setenv", &["b", &format!("{full}v")], "");

    // One good copy is enough for us.
    let cut = Device::new(0x40, 2, &copy_of(&env_of("a=1\n"), 0x40, Some(9)));
    check_differs(&cut, "fw_printenv", &[], (0, &["flags 9: a=1\\x00"]), 243);
    check_differs(
        &cut,
        "fw_setenv",
        &["a", "2"],
        (0, &["flags 9: a=1\\x00", "flags 10: a=2\\x00"]),
        243,
    );

    // What .flags say counts, and they stay as they are.
    let mut env = env_of("ro=1\nrw=1\n");
    env.set(".flags", "x:sa,ro:sr").unwrap();
    let flagged = Device::new(
        0x40,
        2,
        &[copy_of(&env, 0x40, Some(2)), copy_of(&env, 0x40, Some(1))].concat(),
    );
    let unchanged = "ro=1\\x00rw=1\\x00.flags=x:sa,ro:sr\\x00";
    let copies = [
        format!("flags 2: {unchanged}"),
        format!("flags 1: {unchanged}"),
    ];
    let copies: Vec<&str> = copies.iter().map(String::as_str).collect();
    check_differs(&flagged, "fw_setenv", &["ro", "2"], (1, &copies), 0);
    check_differs(&flagged, "fw_setenv", &["ro"], (1, &copies), 0);
    let changed = "flags 3: ro=1\\x00rw=2\\x00.flags=x:sa,ro:sr\\x00";
    check_differs(
        &flagged,
        "fw_setenv",
        &["rw", "2"],
        (0, &[copies[0], changed]),
        0,
    );
    check_same(&flagged, "fw_printenv", &[], "");
    check_differs(&flagged, "fw_printenv", &[".flags"], (0, &copies), 0);
    assert_eq!(
        flagged.print(Whose::Ours, &["-n", ".flags"]).out,
        "x:sa,ro:sr\\n"
    );
}

#[test]
fn a_damaged_copy_is_reported_and_repaired_by_any_call_that_sets() {
    for damaged in [0, 1] {
        for args in [&["a", "1"][..], &[], &["a", "2"]] {
            let device = redundant(0x100, "a=1\n");
            let mut content = device.content();
            if damaged == 1 {
                content.rotate_left(0x100);
            }
            content[damaged * 0x100 + 0x50] ^= 1;
            device.set_content(&content);

            let printed = device.print(Whose::Ours, &["-n", "a"]);
            assert_eq!((printed.code, printed.out.as_str()), (Some(0), "1\\n"));
            assert!(printed.err.contains("next write repairs it"), "{printed:?}");

            let set = device.set(Whose::Ours, args, b"");
            assert_eq!(set.code, Some(0), "{set:?}");
            assert!(set.err.contains("has been repaired"), "{set:?}");
            assert!(!device.essence()[damaged].contains("bad"), "{args:?}");
            let printed = device.print(Whose::Ours, &["-n", "a"]);
            assert_eq!(printed.out, format!("{}\\n", args.get(1).unwrap_or(&"1")));
            assert_eq!(printed.err, "");
        }
    }
}

#[test]
fn the_newest_copy_is_chosen_and_followed_as_by_libubootenv() {
    if !installed("fw_printenv") {
        return;
    }
    let flags = [0, 1, 2, 127, 128, 253, 254, 255];
    for first in flags {
        for second in flags {
            let copies = [("first", first), ("second", second)].map(|(name, flags)| {
                copy_of(&env_of(&format!("copy={name}\n")), 0x40, Some(flags))
            });
            let device = Device::new(0x40, 2, &copies.concat());
            check_same(&device, "fw_printenv", &["copy"], "");
            check_same(&device, "fw_setenv", &["x", "1"], "");
            // The next change must be found too.
            device.set(Whose::Ours, &["x", "1"], b"");
            check_same(&device, "fw_printenv", &["x"], "");
            check_same(&device, "fw_setenv", &["x", "2"], "");
        }
    }
}
