//! The update-module protocol, from the side of modules that do right and wrong, and the modules
//! that come with Tandem and with Mender's client, all under the real agent.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and its files are its own"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use tandem_e2e::{installed, program, said, texts, write_artifact};
use tempfile::TempDir;

/// A device of type `board` without root parts: everything goes through update modules.
struct Board {
    dir: TempDir,
}

impl Board {
    fn new(configuration: &str) -> Board {
        let dir = tempfile::tempdir().unwrap();
        let board = Board { dir };
        for sub in ["data", "modules", "scripts"] {
            fs::create_dir(board.path(sub)).unwrap();
        }
        fs::set_permissions(board.path("data"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(board.path("data/device_type"), "device_type=board\n").unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/modules/v3");
        fs::write(
            board.path("tandem.toml"),
            format!(
                "data_dir = \"{0}/data\"\nscripts_dir = \"{0}/scripts\"\nallow_unsigned = true\n\
                 modules_dir = [\"{0}/modules\", \"{1}\", \"/usr/share/mender/modules/v3\"]\n\
                 {configuration}\n",
                board.dir.path().display(),
                shipped.display(),
            ),
        )
        .unwrap();
        board
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A module that writes its calls to `calls` and then does as `body` says.
    fn module(&self, body: &str) {
        let path = self.path("modules/custom");
        let calls = self.path("calls");
        let dir = self.dir.path().display();
        fs::write(
            &path,
            format!(
                "#!/bin/sh\necho \"$1\" >> '{}'\nD='{dir}'\n{body}\n",
                calls.display()
            ),
        )
        .unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn artifact(&self, payload: &str, files: &[(&str, &str)]) -> PathBuf {
        let artifact = self.path(&format!("{payload}.mender"));
        fs::create_dir_all(self.path("payload")).unwrap();
        let mut arguments: Vec<String> =
            ["module-image", "-t", "board", "-n", "new", "-T", payload]
                .map(String::from)
                .into();
        for (name, content) in files {
            let path = self.path("payload").join(name);
            fs::write(&path, content).unwrap();
            arguments.extend(["-f".into(), path.display().to_string()]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        write_artifact(&arguments, &artifact);
        artifact
    }

    fn tandem(&self, arguments: &[&str]) -> Output {
        Command::new("timeout")
            .arg("100")
            .arg(program("tandem").unwrap())
            .arg("--config")
            .arg(self.path("tandem.toml"))
            .args(arguments)
            .output()
            .unwrap()
    }

    #[track_caller]
    fn says(&self, arguments: &[&str], code: i32, lines: &[&str]) -> String {
        said(arguments, &self.tandem(arguments), code, lines)
    }

    /// Installs an artifact with two files.
    #[track_caller]
    fn installs(&self, code: i32, lines: &[&str]) -> String {
        let artifact = self.artifact("custom", &FILES);
        self.says(&["install", artifact.to_str().unwrap()], code, lines)
    }

    #[track_caller]
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }
}

const FILES: [(&str, &str); 2] = [("one", "content of one\n"), ("two", "content of two\n")];

/// A well-behaved reader of the stream, with sizes or without.
const READ_ALL: &str = "while :; do
    line=$(cat stream-next); [ -n \"$line\" ] || break
    cat \"${line%% *}\" > \"$D/got-$(basename \"${line%% *}\")\"; echo \"$line\" >> \"$D/lines\"
done";

/// Installs an artifact with two files through a module whose Download is `download`.
#[track_caller]
fn check_download(what: &str, download: &str, sizes: &str, ok: bool) -> Board {
    let board = Board::new("module_timeout_seconds = 3");
    board.module(&format!(
        "case \"$1\" in\nProvidePayloadFileSizes) {sizes} ;;\nDownload|DownloadWithFileSizes) {download} ;;\nesac\nexit 0"
    ));
    let begun = Instant::now();
    let output = board.tandem(&[
        "install",
        board.artifact("custom", &FILES).to_str().unwrap(),
    ]);
    let (out, log) = texts(&output);
    assert_eq!(output.status.success(), ok, "{what}: {out}{log}");
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{what}: takes {:?}",
        begun.elapsed()
    );
    let calls = board.calls();
    if ok {
        assert!(
            calls.contains(&"ArtifactInstall".to_owned()),
            "{what}: {calls:?}"
        );
    } else {
        assert!(
            !calls.contains(&"ArtifactInstall".to_owned()),
            "{what}: {calls:?}"
        );
        assert!(
            out.contains("download failed\nthe system is as it was"),
            "{what}: {out}"
        );
    }
    assert_eq!(
        calls.last().map(String::as_str),
        Some("Cleanup"),
        "{what}: {calls:?}"
    );
    assert!(
        !board.path("data/modules/v3/payloads/0000/tree").exists(),
        "{what}: the tree is left"
    );
    board
}

#[test]
fn a_module_may_read_the_stream_or_leave_it() {
    let board = check_download("streams", READ_ALL, "", true);
    assert_eq!(
        fs::read_to_string(board.path("got-one")).unwrap(),
        FILES[0].1
    );
    assert_eq!(
        fs::read_to_string(board.path("got-two")).unwrap(),
        FILES[1].1
    );
    assert_eq!(
        fs::read_to_string(board.path("lines")).unwrap(),
        "streams/one\nstreams/two\n"
    );
    let board = check_download("streams with sizes", READ_ALL, "echo Yes", true);
    assert_eq!(
        fs::read_to_string(board.path("lines")).unwrap(),
        "streams/one 15\nstreams/two 15\n"
    );
    assert!(board.calls().contains(&"DownloadWithFileSizes".to_owned()));
    check_download("says No to sizes", READ_ALL, "echo No", true);
    check_download("leaves the stream", ":", "", true);
}

#[test]
fn a_module_that_leaves_the_stream_finds_the_files() {
    let board = Board::new("");
    board.module(
        "case \"$1\" in ArtifactInstall) cat files/one files/two > \"$D/stored\";; esac\nexit 0",
    );
    board.installs(
        0,
        &[
            "the update module cannot roll back: committing at once",
            "installed and committed",
        ],
    );
    let stored = fs::read_to_string(board.path("stored")).unwrap();
    assert_eq!(stored, "content of one\ncontent of two\n");
}

#[test]
fn a_module_that_breaks_the_protocol_fails_the_download() {
    for (what, download) in [
        ("fails at once", "exit 1"),
        ("dies", "kill -9 $$"),
        ("opens without reading", "exec 3< stream-next; exit 0"),
        (
            "stops after the first name",
            "cat stream-next > /dev/null; exit 0",
        ),
        (
            "stops in the middle",
            "l=$(cat stream-next); head -c 3 \"$l\" > /dev/null; exit 0",
        ),
        (
            "stops before the end of the stream",
            "for i in 1 2; do cat $(cat stream-next) > /dev/null; done; exit 0",
        ),
        (
            "fails in the end",
            "while :; do l=$(cat stream-next); [ -n \"$l\" ] || break; cat \"$l\" > /dev/null; done; exit 1",
        ),
        ("hangs before the stream", "sleep 100"),
        ("hangs in the stream", "l=$(cat stream-next); sleep 100"),
        (
            "hangs deaf in the stream",
            "trap '' TERM; l=$(cat stream-next); while :; do sleep 1; done",
        ),
    ] {
        check_download(what, download, "", false);
    }
}

#[test]
fn odd_answers_fail_where_they_are_given() {
    for sizes in [
        "echo Perhaps",
        "echo Yes; echo Yes",
        "echo yes",
        "exit 1",
        "head -c 100000 /dev/zero",
    ] {
        check_download(sizes, READ_ALL, sizes, false);
    }
    for answer in ["echo Perhaps", "echo Yes; echo No", "exit 1", "sleep 100"] {
        let board = Board::new("module_timeout_seconds = 2");
        board.module(&format!(
            "case \"$1\" in NeedsArtifactReboot) {answer};; SupportsRollback) echo Yes;; esac\nexit 0"
        ));
        board.installs(1, &["installation failed", "rolled back"]);
        assert_eq!(
            board.calls()[2..],
            [
                "ArtifactInstall",
                "NeedsArtifactReboot",
                "SupportsRollback",
                "ArtifactRollback",
                "ArtifactFailure",
                "Cleanup"
            ]
        );
        let board = Board::new("module_timeout_seconds = 2");
        board.module(&format!(
            "case \"$1\" in SupportsRollback) {answer};; esac\nexit 0"
        ));
        board.installs(
            1,
            &[
                "installation failed",
                "rollback failed: the system may be inconsistent",
            ],
        );
        board.says(&["show-artifact"], 0, &["new_INCONSISTENT"]);
    }
}

#[test]
fn the_work_tree_is_as_modules_expect_it() {
    let board = Board::new("");
    board.module(
        "case \"$1\" in ArtifactInstall)
            [ \"$(pwd)\" = \"$2\" ] || exit 1
            for f in version current_artifact_name current_artifact_group current_device_type \
                header/artifact_name header/artifact_group header/payload_type header/header-info \
                header/type-info header/meta-data; do printf '%s:' \"$f\"; cat \"$2/$f\"; echo; done > \"$D/tree\"
            ls -d tmp >> \"$D/tree\";; esac\nexit 0",
    );
    board.installs(
        0,
        &[
            "the update module cannot roll back: committing at once",
            "installed and committed",
        ],
    );
    let tree = fs::read_to_string(board.path("tree")).unwrap();
    for line in [
        "version:3\n",
        "current_artifact_name:unknown\n",
        "current_artifact_group:\n",
        "current_device_type:board\n",
        "header/artifact_name:new\n",
        "header/artifact_group:\n",
        "header/payload_type:custom\n",
        "header/header-info:{\"payloads\":[{\"type\":\"custom\"}]",
        "header/type-info:{\"type\":\"custom\"",
        "tmp\n",
    ] {
        assert!(tree.contains(line), "{line:?} is not in {tree}");
    }
}

#[test]
fn a_failing_call_leads_where_the_protocol_says() {
    let board = Board::new("");
    board.module("case \"$1\" in Cleanup) exit 1;; esac\nexit 0");
    board.installs(
        1,
        &[
            "the update module cannot roll back: committing at once",
            "installed and committed",
            "cleanup failed",
        ],
    );
    board.says(&["show-artifact"], 0, &["new"]);

    let board = Board::new("");
    board.module("case \"$1\" in ArtifactInstall) exit 1;; esac\nexit 0");
    board.installs(
        1,
        &[
            "installation failed",
            "no rollback possible: the system may be inconsistent",
        ],
    );
    board.says(&["show-artifact"], 0, &["new_INCONSISTENT"]);
    board.says(&["resume"], 2, &["no update in progress"]);
}

#[test]
fn a_person_is_told_when_a_rollback_is_not_possible() {
    let board = Board::new("");
    // It can be rolled back when it is installed, and not any more afterwards.
    board.module("case \"$1\" in SupportsRollback) [ -e \"$D/gone\" ] || echo Yes;; esac\nexit 0");
    board.installs(
        0,
        &[
            "installed, not committed",
            "run 'tandem commit' to keep it, or 'tandem rollback' to undo it",
        ],
    );
    fs::write(board.path("gone"), "").unwrap();
    let log = board.says(&["rollback"], 1, &[]);
    assert!(log.contains("cannot roll back"), "{log}");
    board.says(&["commit"], 0, &["committed"]);
    board.says(&["show-artifact"], 0, &["new"]);
}

/// The files of an artifact for the single-file module.
fn single_file(target: &Path, content: &str) -> Vec<(String, String)> {
    vec![
        (
            "dest_dir".into(),
            format!("{}\n", target.parent().unwrap().display()),
        ),
        (
            "filename".into(),
            format!("{}\n", target.file_name().unwrap().to_str().unwrap()),
        ),
        ("permissions".into(), "600\n".into()),
        (
            target.file_name().unwrap().to_str().unwrap().into(),
            content.into(),
        ),
    ]
}

#[track_caller]
fn check_single_file(board: &Board) {
    let target = board.path("settings.conf");
    fs::write(&target, "old").unwrap();
    let files = single_file(&target, "new");
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(n, c)| (n.as_str(), c.as_str()))
        .collect();
    let artifact = board.artifact("single-file", &files);
    let artifact = artifact.to_str().unwrap();
    let waits = [
        "installed, not committed",
        "run 'tandem commit' to keep it, or 'tandem rollback' to undo it",
    ];
    board.says(&["install", artifact], 0, &waits);
    assert_eq!(fs::read_to_string(&target).unwrap(), "new");
    board.says(&["rollback"], 0, &["rolled back"]);
    assert_eq!(fs::read_to_string(&target).unwrap(), "old");
    board.says(&["install", artifact], 0, &waits);
    board.says(&["commit"], 0, &["committed"]);
    assert_eq!(fs::read_to_string(&target).unwrap(), "new");
    assert_eq!(
        fs::metadata(&target).unwrap().permissions().mode() & 0o777,
        0o600
    );
    board.says(&["show-artifact"], 0, &["new"]);
}

#[test]
fn the_single_file_module_installs_and_rolls_back() {
    check_single_file(&Board::new(""));
}

#[test]
fn menders_own_single_file_module_works_unchanged() {
    let module = Path::new("/usr/share/mender/modules/v3/single-file");
    if !installed("mender").unwrap() || !module.exists() {
        eprintln!("SKIPPED: Debian's mender-client is not installed");
        return;
    }
    let board = Board::new("");
    fs::copy(module, board.path("modules/single-file")).unwrap();
    check_single_file(&board);
}

/// The system calls at which the agent is killed.
const CALLS: &str = "write,fsync,rename,unlink,unlinkat,link,mkdir,rmdir,mknodat,mknod,symlink";

/// Kills the agent at its first, second, … `call` while it installs; how many there are.
fn kill_at_every(call: &str) -> usize {
    for number in 1.. {
        let board = Board::new("");
        let target = board.path("settings.conf");
        fs::write(&target, "old").unwrap();
        let files = single_file(&target, "new");
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(n, c)| (n.as_str(), c.as_str()))
            .collect();
        let artifact = board.artifact("single-file", &files);
        let output = Command::new("timeout")
            .args(["60", "strace", "-qq", "-o", "/dev/null", "-e"])
            .arg(format!("trace={CALLS}"))
            .arg("-e")
            .arg(format!("inject={call}:signal=KILL:when={number}"))
            .arg(program("tandem").unwrap())
            .arg("--config")
            .arg(board.path("tandem.toml"))
            .arg("install")
            .arg(&artifact)
            .output()
            .unwrap();
        if output.status.success() {
            return number - 1;
        }
        let context = format!("{call} {number}");
        for _ in 0..3 {
            if board.tandem(&["resume"]).status.code() == Some(2) {
                break;
            }
        }
        board.says(&["resume"], 2, &["no update in progress"]);
        let name = String::from_utf8(board.tandem(&["show-artifact"]).stdout).unwrap();
        let content = fs::read_to_string(&target).unwrap();
        match name.trim() {
            "new" => assert_eq!(content, "new", "{context}"),
            "unknown" => assert_eq!(content, "old", "{context}"),
            other => panic!("{context}: {other} is installed"),
        }
    }
    unreachable!("a call that never ends")
}

#[test]
fn a_module_update_survives_being_killed_at_every_system_call_of_the_agent() {
    if !installed("strace").unwrap() {
        eprintln!("SKIPPED: strace is not installed");
        return;
    }
    let killed: usize = thread::scope(|scope| {
        let runs: Vec<_> = CALLS
            .split(',')
            .map(|call| scope.spawn(move || kill_at_every(call)))
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).sum()
    });
    assert!(killed > 60, "only {killed} kills");
}
