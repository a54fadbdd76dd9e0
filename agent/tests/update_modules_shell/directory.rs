//! `directory`: a whole directory in place, and back.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use tandem_state_scripts::child::Ending;

use crate::client::{Client, MODULES, PEERS, Userland, has_tool, run};
use crate::power_cut;
use crate::snapshot::Snapshot;

const DEST: (&str, &str) = ("dest_dir", "@D/opt/app\n");

/// What may stand at the destination before.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    Content,
    /// A link to the directory with the content.
    Link,
}

fn write(path: &Path, content: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn prepare(client: &Client, before: Before) {
    let opt = client.device().join("opt");
    let app = match before {
        Before::Nothing => return,
        Before::Content => opt.join("app"),
        Before::Link => {
            fs::create_dir_all(&opt).unwrap();
            symlink("../data/app", opt.join("app")).unwrap();
            client.device().join("data/app")
        }
    };
    write(&app.join("old file"), "old\n", 0o600);
    write(&app.join("both"), "old both\n", 0o755);
    write(&app.join("sub/deep/.hidden"), "old hidden\n", 0o644);
    symlink("both", app.join("link")).unwrap();
    let _ = chown(app.join("sub"), Some(65534), Some(65534));
    fs::set_permissions(app.join("sub"), fs::Permissions::from_mode(0o2750)).unwrap();
    fs::set_permissions(&app, fs::Permissions::from_mode(0o751)).unwrap();
}

/// An archive, as the artifact's author makes it.
fn archive(client: &Client, members: &[&str]) -> Vec<u8> {
    let source = client.path("source");
    write(&source.join("both"), "new both\n", 0o644);
    write(&source.join("new/-rf *"), "new\n", 0o750);
    symlink("new/-rf *", source.join("link")).unwrap();
    let tar = Command::new("tar")
        .arg("-cC")
        .arg(&source)
        .args(members)
        .output()
        .unwrap();
    assert!(tar.status.success());
    fs::remove_dir_all(source).unwrap();
    tar.stdout
}

fn device(userland: Userland, before: Before) -> Client {
    let client = Client::new(userland, "directory", &[DEST]);
    client.payload("update.tar", archive(&client, &["."]));
    prepare(&client, before);
    client
}

/// The part of a snapshot below a directory.
fn below(snapshot: &Snapshot, directory: &str) -> Snapshot {
    let inside = |(path, entry): (&String, &String)| {
        let path = path.strip_prefix(directory)?.strip_prefix('/')?;
        Some((path.to_owned(), entry.clone()))
    };
    snapshot.iter().filter_map(inside).collect()
}

#[track_caller]
fn is_new(content: &Snapshot) {
    let names = content.keys().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(names, ["both", "link", "new", "new/-rf *"]);
    assert!(content["new/-rf *"].starts_with("100750 "));
    assert!(content["both"].ends_with("new both\n"));
}

#[test]
fn the_directory_is_replaced_and_taken_back() {
    for userland in Userland::all() {
        for (before, place) in [
            (Before::Nothing, "opt/app"),
            (Before::Content, "opt/app"),
            (Before::Link, "data/app"),
        ] {
            let client = device(userland, before);
            let old = client.snapshot();
            client.succeeds("ArtifactInstall");
            let new = client.snapshot();
            is_new(&below(&new, place));
            assert_eq!(
                new.contains_key("opt/app/both"),
                place == "opt/app",
                "a link stays one"
            );
            assert!(!new.keys().any(|name| name.contains("tandem")), "{new:?}");
            for _ in 0..2 {
                client.succeeds("ArtifactRollback");
                assert_eq!(client.snapshot(), old, "{userland:?} {before:?}");
            }
        }
    }
}

#[test]
fn an_archive_that_does_not_speak_of_the_directory_leaves_its_mode() {
    for userland in Userland::all() {
        let client = device(userland, Before::Content);
        client.payload("update.tar", archive(&client, &["both", "link", "new"]));
        let before = client.snapshot()["opt/app"].clone();
        client.succeeds("ArtifactInstall");
        assert_eq!(client.snapshot()["opt/app"], before);
        is_new(&below(&client.snapshot(), "opt/app"));
    }
}

#[test]
fn a_repeated_install_does_not_forget_the_old_content() {
    for userland in Userland::all() {
        let client = device(userland, Before::Content);
        let old = client.snapshot();
        client.succeeds("ArtifactInstall");
        client.succeeds("ArtifactInstall");
        is_new(&below(&client.snapshot(), "opt/app"));
        client.succeeds("ArtifactRollback");
        assert_eq!(client.snapshot(), old);
    }
}

#[test]
fn artifacts_for_menders_module_have_the_same_effect() {
    let peer = Path::new(PEERS).join("directory");
    if !has_tool(peer.to_str().unwrap()) {
        return;
    }
    for before in [Before::Nothing, Before::Content] {
        let ours = Client::with_program(Path::new(MODULES).join("directory"), &[DEST]);
        let theirs = Client::with_program(peer.clone(), &[DEST]);
        for client in [&ours, &theirs] {
            client.payload("update.tar", archive(client, &["."]));
            prepare(client, before);
            client.succeeds("ArtifactInstall");
        }
        assert_eq!(ours.snapshot(), theirs.snapshot(), "{before:?}");
    }
}

/// A destination that must be refused, without any change. Should it not be, the module must not be
/// able to do what it should have refused.
#[track_caller]
fn check_refused(dest_dir: &str, said: &str) {
    for userland in Userland::all() {
        let mut client = device(userland, Before::Content);
        let places = [("@D", client.device()), ("@T", client.path(""))];
        let place = |text: String, (mark, path): &(&str, std::path::PathBuf)| {
            text.replace(mark, path.to_str().unwrap().trim_end_matches('/'))
        };
        client.payload("dest_dir", places.iter().fold(dest_dir.to_owned(), place));
        write(&client.device().join("opt/file"), "", 0o644);
        client.refuses(said);
    }
}

#[test]
fn dangerous_destinations_are_refused() {
    for (dest_dir, said) in [
        ("", "refusing the destination ''"),
        ("\n", "refusing the destination ''"),
        ("opt/app\n", "not an absolute path"),
        ("@D/opt/../opt/app\n", "not allowed"),
        ("@D/opt/app/.\n", "not allowed"),
        ("@D/opt\n/app\n", "not one line"),
        ("/\n", "refusing the destination '/'"),
        ("//\n", "refusing the destination '//'"),
        ("//etc\n", "refusing the destination '//etc'"),
        ("/etc\n", "directory of the system"),
        ("/usr/\n", "directory of the system"),
        ("/var/lib\n", "directory of the system"),
        ("/proc/self\n", "directory of the system"),
        // A link to the root of everything.
        ("/proc/self/root/\n", "directory of the system"),
        ("@D/opt/file\n", "not a directory"),
        ("@T\n", "the agent keeps its data there"),
        ("@T/tree\n", "the agent keeps its data there"),
    ] {
        check_refused(dest_dir, said);
    }
}

#[test]
fn a_mount_point_is_refused() {
    let client = device(Userland::Debian, Before::Content);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command
        .arg("mount -t tmpfs tmpfs \"$0\" && exec \"$@\"")
        .arg(client.device().join("opt/app"));
    let install = client.command("ArtifactInstall");
    command.arg(install.get_program()).args(install.get_args());
    let (ending, text) = run(&mut command);
    if text.contains("Operation not permitted") {
        eprintln!("SKIPPED: user namespaces are not allowed here");
        return;
    }
    assert_eq!(ending, Ending::Exited(1), "{text}");
    assert!(text.contains("a mount point"), "{text}");
}

#[test]
fn a_broken_archive_changes_nothing() {
    for userland in Userland::all() {
        let whole = archive(&device(userland, Before::Nothing), &["."]);
        // In the middle of a file: at other places some programs take the end for the end.
        let content = whole
            .windows(8)
            .position(|bytes| bytes == b"new both")
            .unwrap();
        for broken in [&whole[..content + 3], b"not a tar", b""] {
            let client = device(userland, Before::Content);
            client.payload("update.tar", broken);
            let old = client.snapshot();
            let (ending, text) = client.call("ArtifactInstall");
            if ending == Ending::Exited(0) {
                // Busybox takes an empty file for an empty archive.
                assert!(broken.is_empty(), "{userland:?} {}: {text}", broken.len());
            } else {
                assert_eq!(client.snapshot(), old, "{userland:?}");
            }
            client.succeeds("ArtifactRollback");
            assert_eq!(client.snapshot(), old, "{userland:?}");
        }
    }
}

#[test]
fn an_install_cut_anywhere_leaves_whole_directories_and_can_be_rolled_back_or_repeated() {
    for (before, place) in [(Before::Nothing, "opt/app"), (Before::Link, "data/app")] {
        let make = || device(Userland::Debian, before);
        let model = make();
        let old = model.snapshot();
        model.succeeds("ArtifactInstall");
        let new = model.snapshot();
        let whole = [below(&old, place), below(&new, place)];
        let mut repeats = false;
        power_cut::everywhere(make, "ArtifactInstall", |client, cut| {
            let now = below(&client.snapshot(), place);
            // Between the two renames there is nothing, for an instant.
            let is_gap = now.is_empty() && cut.contains("app.tandem-new ") && cut.contains(": mv ");
            assert!(is_gap || whole.contains(&now), "{cut}: {now:?}");
            // Every other one is repeated before it is taken back.
            repeats = !repeats;
            if repeats {
                client.succeeds("ArtifactInstall");
                assert_eq!(client.snapshot(), new, "{cut}");
            }
            client.succeeds("ArtifactRollback");
            assert_eq!(client.snapshot(), old, "{cut}");
        });
    }
}

#[test]
fn a_rollback_cut_anywhere_can_be_repeated() {
    for before in [Before::Nothing, Before::Content] {
        let make = || device(Userland::Debian, before);
        let old = make().snapshot();
        let installed = || {
            let client = make();
            client.succeeds("ArtifactInstall");
            client
        };
        power_cut::everywhere(installed, "ArtifactRollback", |client, cut| {
            client.succeeds("ArtifactRollback");
            assert_eq!(client.snapshot(), old, "{cut}");
        });
    }
}
