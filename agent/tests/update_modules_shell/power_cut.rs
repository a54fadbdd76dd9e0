//! Cutting the power: the module and all it has started die at once, at a chosen command.
//!
//! The tools of the module are replaced by wrappers that count the calls. At the chosen one the whole
//! process group is killed: before the real tool has run, or in the middle, at one of its system
//! calls. (After it is before the next one.)

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tandem_state_scripts::child::Ending;
use tempfile::TempDir;

use crate::client::{Client, has_tool};

/// The moment of a cut, relative to the chosen command.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// Before it has done anything, but after all that the shell itself has done.
    Before,
    /// When it makes the n-th of one of the system calls that change something.
    Inside(u32),
}

/// The moments worth a cut: most tools do one thing, or nothing.
fn moments(command: &str) -> &'static [Moment] {
    use Moment::{Before, Inside};
    let settings = ["dest_dir", "filename", "permissions", "project_name"];
    match command.split(' ').next().unwrap() {
        "cat" if settings.iter().any(|name| command.ends_with(name)) => &[],
        "cat" | "cp" | "tar" | "rm" => &[Before, Inside(1), Inside(2), Inside(4)],
        "dpkg" => &[Before, Inside(3), Inside(9), Inside(20), Inside(40)],
        "mv" => &[Before, Inside(1)],
        _ => &[Before],
    }
}

const TOOLS: [&str; 15] = [
    "cat",
    "chmod",
    "chown",
    "cp",
    "dirname",
    "docker",
    "docker-compose",
    "dpkg",
    "dpkg-deb",
    "mkdir",
    "mv",
    "rm",
    "rmdir",
    "sync",
    "tar",
];

/// What takes the place of every tool.
const WRAPPER: &str = r#"#!/bin/sh
PATH=$REAL_PATH
tool=${0##*/}
read -r count < "$CUT/count"
count=$((count + 1))
echo "$count" > "$CUT/count"
echo "$tool $*" >> "$CUT/commands"
if [ "$count" -eq "$CUT_AT" ]; then
    # What the shell says about killed tools must not end it, should nobody listen any more.
    exec 2>/dev/null
    changes=write,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,symlinkat,linkat
    changes=$changes,chmod,fchmod,fchmodat,fchownat,utimensat,copy_file_range,fsync,ftruncate
    case $CUT_HOW in
        before) ;;
        *) strace -f -qq -o /dev/null --trace="$changes" \
               -e inject="$changes":signal=KILL:when="$CUT_HOW" "$tool" "$@" ;;
    esac
    kill -9 0
fi
exec "$tool" "$@"
"#;

/// A directory with the wrappers.
fn wrappers() -> TempDir {
    let dir = TempDir::new().unwrap();
    let (plain, wrapper) = (dir.path().join("plain"), dir.path().join("wrapper"));
    fs::write(&plain, WRAPPER).unwrap();
    let mut install = Command::new("install");
    install.args(["-m", "755"]).arg(plain).arg(wrapper);
    assert!(install.status().unwrap().success());
    for tool in TOOLS {
        symlink("wrapper", dir.path().join(tool)).unwrap();
    }
    dir
}

/// Cuts of which one is made, unless all are asked for by `TANDEM_EVERY_CUT`: each is a process tree under strace.
const SAMPLE: usize = 3;

/// Calls an action of a fresh device once for every cut of the power that is worth it, or for a sample of them. After
/// each, `check` is called with the device and a description of the cut.
#[track_caller]
pub(crate) fn everywhere(
    make: impl Fn() -> Client,
    action: &str,
    mut check: impl FnMut(&Client, &str),
) {
    if !has_tool("strace") {
        return;
    }
    let wrappers = wrappers();
    // An undisturbed call tells which commands there are.
    let client = make();
    call(&client, wrappers.path(), action, 0, Moment::Before);
    let commands = fs::read_to_string(client.path("cut/commands")).unwrap();
    let cuts: Vec<_> = (1..)
        .zip(commands.lines())
        .flat_map(|(number, command)| {
            moments(command)
                .iter()
                .map(move |moment| (number, command, *moment))
        })
        .collect();
    assert!(cuts.len() > 3, "only {} cuts of {action}", cuts.len());
    let step = if std::env::var_os("TANDEM_EVERY_CUT").is_some() {
        1
    } else {
        SAMPLE
    };
    for &(number, command, moment) in cuts.iter().step_by(step) {
        let client = make();
        call(&client, wrappers.path(), action, number, moment);
        check(
            &client,
            &format!("{moment:?} {action} at {number}: {command}"),
        );
    }
}

/// Calls an action with a cut at the command with this number; zero is never.
fn call(client: &Client, wrappers: &Path, action: &str, number: usize, moment: Moment) {
    let cut = client.path("cut");
    fs::create_dir_all(&cut).unwrap();
    fs::write(cut.join("count"), "0\n").unwrap();
    let mut called = client.command(action);
    called.env("PATH", format!("{}:{}", wrappers.display(), client.path));
    called.env("REAL_PATH", &client.path);
    called.env("CUT", &cut).env("CUT_AT", number.to_string());
    called.env(
        "CUT_HOW",
        match moment {
            Moment::Before => "before".to_owned(),
            Moment::Inside(count) => count.to_string(),
        },
    );
    let (ending, text) = crate::client::run(&mut called);
    let expected = if number > 0 {
        Ending::Signalled(9)
    } else {
        Ending::Exited(0)
    };
    assert_eq!(
        ending, expected,
        "{action} cut at command {number}, {moment:?}: {text}"
    );
}
