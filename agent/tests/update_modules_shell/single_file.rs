//! `single-file`: one file in place, and back.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use tandem_state_scripts::child::Ending;

use crate::client::{Client, MODULES, PEERS, Userland, has_tool, run};
use crate::power_cut;

const PAYLOAD: [(&str, &str); 4] = [
    ("dest_dir", "@D/etc/app\n"),
    ("filename", "app.conf\n"),
    ("permissions", "640\n"),
    ("app.conf", "new content\n"),
];

/// What may stand at the destination before.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    Directory,
    File,
    Link,
    Dangling,
}

const ALL: [Before; 5] = [
    Before::Nothing,
    Before::Directory,
    Before::File,
    Before::Link,
    Before::Dangling,
];

fn prepare(client: &Client, before: Before) {
    let app = client.device().join("etc/app");
    let file = app.join("app.conf");
    let make = |path: &Path| {
        fs::write(path, "old content\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o604)).unwrap();
        // Only root can give it away; without that the test is a little weaker.
        let _ = chown(path, Some(65534), Some(65534));
    };
    match before {
        Before::Nothing => return,
        Before::Directory | Before::File | Before::Link | Before::Dangling => {
            fs::create_dir_all(&app).unwrap();
        }
    }
    match before {
        Before::Nothing | Before::Directory => {}
        Before::File => make(&file),
        Before::Link => {
            make(&client.device().join("etc/real.conf"));
            symlink("../real.conf", file).unwrap();
        }
        Before::Dangling => symlink("nowhere", file).unwrap(),
    }
}

fn device(userland: Userland, before: Before, files: &[(&str, &str)]) -> Client {
    let client = Client::new(userland, "single-file", files);
    prepare(&client, before);
    client
}

#[track_caller]
fn entry(client: &Client, path: &str) -> String {
    client.snapshot().get(path).cloned().unwrap_or_default()
}

#[test]
fn the_file_is_put_in_place_and_taken_back() {
    for userland in Userland::all() {
        for before in ALL {
            let client = device(userland, before, &PAYLOAD);
            let old = client.snapshot();
            client.succeeds("ArtifactInstall");
            let new = entry(&client, "etc/app/app.conf");
            assert!(
                new.starts_with("100640 ") && new.ends_with(" new content\n"),
                "{new}"
            );
            let names = client.snapshot().into_keys().collect::<Vec<_>>();
            assert!(
                !names.iter().any(|name| name.contains("tandem")),
                "{names:?}"
            );
            client.succeeds("ArtifactRollback");
            assert_eq!(client.snapshot(), old, "{userland:?} {before:?}");
            client.succeeds("ArtifactRollback");
            assert_eq!(client.snapshot(), old, "{userland:?} {before:?} again");
        }
    }
}

#[test]
fn mode_and_owner_of_the_old_file_stay_unless_told_otherwise() {
    for userland in Userland::all() {
        let files = [PAYLOAD[0], PAYLOAD[1], PAYLOAD[3]];
        let client = device(userland, Before::File, &files);
        let owner = entry(&client, "etc/app/app.conf").replace("old", "new");
        client.succeeds("ArtifactInstall");
        assert_eq!(entry(&client, "etc/app/app.conf"), owner, "{userland:?}");

        let client = device(userland, Before::File, &PAYLOAD);
        client.succeeds("ArtifactInstall");
        let mode_only = owner.replacen("100604", "100640", 1);
        assert_eq!(
            entry(&client, "etc/app/app.conf"),
            mode_only,
            "{userland:?}"
        );

        let client = device(userland, Before::Nothing, &files);
        client.succeeds("ArtifactInstall");
        assert!(
            entry(&client, "etc/app/app.conf").starts_with("100644 "),
            "{userland:?}"
        );

        let files = [
            PAYLOAD[0],
            PAYLOAD[1],
            ("permissions", "u=rwxs,go=rx\n"),
            PAYLOAD[3],
        ];
        let client = device(userland, Before::Nothing, &files);
        client.succeeds("ArtifactInstall");
        assert!(
            entry(&client, "etc/app/app.conf").starts_with("104755 "),
            "{userland:?}"
        );
    }
}

#[test]
fn a_repeated_install_does_not_forget_the_old_file() {
    for userland in Userland::all() {
        let client = device(userland, Before::File, &PAYLOAD);
        let old = client.snapshot();
        client.succeeds("ArtifactInstall");
        client.succeeds("ArtifactInstall");
        client.succeeds("ArtifactRollback");
        assert_eq!(client.snapshot(), old);
    }
}

#[test]
fn artifacts_for_menders_module_have_the_same_effect() {
    let peer = Path::new(PEERS).join("single-file");
    if !has_tool(peer.to_str().unwrap()) {
        return;
    }
    for before in [Before::Nothing, Before::Directory, Before::File] {
        let ours = Client::with_program(Path::new(MODULES).join("single-file"), &PAYLOAD);
        let theirs = Client::with_program(peer.clone(), &PAYLOAD);
        for action in ["ArtifactInstall", "ArtifactCommit", "Cleanup"] {
            for client in [&ours, &theirs] {
                if action == "ArtifactInstall" {
                    prepare(client, before);
                    let file = client.device().join("etc/app/app.conf");
                    // They change the owner, we do not.
                    let _ = chown(file, Some(0), Some(0));
                }
                client.succeeds(action);
            }
            assert_eq!(ours.snapshot(), theirs.snapshot(), "{before:?} {action}");
        }
    }
}

/// A payload that must be refused, without any change. Should it not be, the module must not be able
/// to do what it should have refused.
#[track_caller]
fn check_refused(files: &[(&str, &str)], said: &str) {
    for userland in Userland::all() {
        let mut client = device(userland, Before::File, files);
        fs::create_dir(client.device().join("etc/app/directory")).unwrap();
        client.refuses(said);
    }
}

#[test]
fn dangerous_destinations_are_refused() {
    for (dest_dir, said) in [
        ("/\n", "the destination /"),
        ("///\n", "the destination /"),
        ("", "not one line"),
        ("\n", "not one line"),
        ("etc/app\n", "not an absolute path"),
        ("./etc\n", "not an absolute path"),
        ("~\n", "not an absolute path"),
        ("@D/etc/../etc/app\n", "not allowed"),
        ("@D/etc/app/..\n", "not allowed"),
        ("@D/./etc/app\n", "not allowed"),
        ("@D/etc\n/app\n", "not one line"),
        ("@D/\x1betc\n", "not one line"),
    ] {
        check_refused(
            &[("dest_dir", dest_dir), PAYLOAD[1], PAYLOAD[2], PAYLOAD[3]],
            said,
        );
    }
    for (filename, said) in [
        ("", "not one line"),
        (".\n", "refusing the file name"),
        ("..\n", "refusing the file name"),
        ("a/b\n", "refusing the file name"),
        ("../app.conf\n", "refusing the file name"),
        ("directory\n", "not a file"),
        ("absent\n", "no payload file absent"),
    ] {
        let files = [PAYLOAD[0], ("filename", filename), PAYLOAD[2], PAYLOAD[3]];
        check_refused(&files, said);
    }
    check_refused(&PAYLOAD[1..], "no payload file dest_dir");
    for mode in ["-R\n", "999\n", "755 /etc\n", "u+y\n"] {
        let files = [PAYLOAD[0], PAYLOAD[1], ("permissions", mode), PAYLOAD[3]];
        let mut client = device(Userland::Debian, Before::File, &files);
        client.drop_rights();
        let old = client.snapshot();
        let (ending, _) = client.call("ArtifactInstall");
        assert_eq!(ending, Ending::Exited(1), "{mode}");
        assert_eq!(client.snapshot(), old);
    }
}

#[test]
fn names_are_taken_as_they_are() {
    for userland in Userland::all() {
        let name = "-rf $(touch evil) * 'x' \"y\" \u{e4}";
        let files = [
            ("dest_dir", "@D/a dir/*/-x"),
            ("filename", name),
            PAYLOAD[2],
            (name, "new\n"),
        ];
        let client = device(userland, Before::Nothing, &files);
        let old = client.snapshot();
        client.succeeds("ArtifactInstall");
        assert!(entry(&client, &format!("a dir/*/-x/{name}")).ends_with("new\n"));
        client.succeeds("ArtifactRollback");
        assert_eq!(client.snapshot(), old);
    }
}

#[test]
fn a_disk_that_is_full_changes_nothing() {
    for userland in Userland::all() {
        let big = "x".repeat(300_000);
        let files = [PAYLOAD[0], PAYLOAD[1], PAYLOAD[2], ("app.conf", &*big)];
        let client = device(userland, Before::File, &files);
        let old = client.snapshot();
        // No file may grow beyond 100 blocks of half a kilobyte.
        let install = client.command("ArtifactInstall");
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -f 100; trap '' XFSZ; exec \"$@\"", "sh"]);
        limited
            .arg(install.get_program())
            .args(install.get_args())
            .env("PATH", &client.path);
        let (ending, text) = run(&mut limited);
        assert_ne!(ending, Ending::Exited(0), "{text}");
        assert_eq!(client.snapshot(), old, "{userland:?}");
        client.succeeds("ArtifactRollback");
        assert_eq!(client.snapshot(), old);
    }
}

#[test]
fn an_install_cut_anywhere_leaves_old_or_new_and_can_be_rolled_back_or_repeated() {
    for before in [Before::Nothing, Before::File] {
        let make = || device(Userland::Debian, before, &PAYLOAD);
        let model = make();
        let old = model.snapshot();
        let old_file = entry(&model, "etc/app/app.conf");
        model.succeeds("ArtifactInstall");
        let new = model.snapshot();
        let new_file = entry(&model, "etc/app/app.conf");
        let mut repeats = false;
        power_cut::everywhere(make, "ArtifactInstall", |client, cut| {
            let now = entry(client, "etc/app/app.conf");
            assert!([&old_file, &new_file].contains(&&now), "{cut}: {now:?}");
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
    for before in [Before::Nothing, Before::File] {
        let make = || device(Userland::Debian, before, &PAYLOAD);
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
