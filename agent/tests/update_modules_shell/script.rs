//! `script`: programs that come in the artifact.

use crate::client::{Client, Userland};

/// Notes its name and what it was given.
const NOTE: &str = "#!/bin/sh\necho \"${0##*/} $# $(pwd) $(wc -c)\" >> \"@D/ran\"\n";

#[test]
fn scripts_run_in_the_order_of_their_names() {
    for userland in Userland::all() {
        let files = ["10-b", "9", "10-B", "2 two", "-x", "\u{e4}"].map(|name| (name, NOTE));
        let client = Client::new(userland, "script", &files);
        client.succeeds("ArtifactInstall");
        let tree = client.path("tree");
        let expected = ["-x", "10-B", "10-b", "2 two", "9", "\u{e4}"]
            .map(|name| format!("{name} 0 {} 0\n", tree.display()))
            .concat();
        let ran = std::fs::read_to_string(client.device().join("ran")).unwrap();
        assert_eq!(ran, expected, "{userland:?}");
    }
}

#[test]
fn the_first_failure_ends_the_update() {
    for userland in Userland::all() {
        let files = [("1", NOTE), ("2", "#!/bin/sh\nexit 7\n"), ("3", NOTE)];
        let client = Client::new(userland, "script", &files);
        let text = client.fails("ArtifactInstall");
        assert!(text.contains("script: 2 failed with exit code 7"), "{text}");
        let ran = std::fs::read_to_string(client.device().join("ran")).unwrap();
        assert_eq!(ran.lines().count(), 1);
    }
}

#[test]
fn an_artifact_without_scripts_is_an_error() {
    for userland in Userland::all() {
        let text = Client::new(userland, "script", &[]).fails("ArtifactInstall");
        assert!(text.contains("no scripts"), "{text}");
    }
}
