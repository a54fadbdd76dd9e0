//! The shipped update modules, called as the agent calls them, on real files: protocol v3, in dash
//! and in busybox, with the power cut between and in the middle of their commands.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may panic, and its files do not have to survive a power cut"
)]

use std::process::Command;

use client::{Client, MODULES, Userland};
use tandem_state_scripts::child::Ending;

mod client;
mod deb;
mod directory;
mod docker_compose;
mod power_cut;
mod script;
mod single_file;
mod snapshot;

const SHIPPED: [&str; 5] = [
    "deb",
    "directory",
    "docker-compose",
    "script",
    "single-file",
];

#[test]
fn every_module_is_clean_for_shellcheck() {
    if !client::has_tool("shellcheck") {
        return;
    }
    let files = SHIPPED.map(|name| format!("{MODULES}/{name}"));
    let output = Command::new("shellcheck")
        .args(["-s", "sh"])
        .args(files)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn every_module_answers_questions_and_ignores_what_it_does_not_know() {
    for (module, rollback) in SHIPPED.into_iter().zip(["No", "Yes", "Yes", "No", "Yes"]) {
        for userland in Userland::all() {
            let client = Client::new(userland, module, &[]);
            assert_eq!(client.ask("NeedsArtifactReboot"), "No\n", "{module}");
            assert_eq!(
                client.ask("SupportsRollback"),
                format!("{rollback}\n"),
                "{module}"
            );
            for action in [
                "ProvidePayloadFileSizes",
                "Download",
                "ArtifactVerifyReboot",
                "ArtifactCommit",
                "Cleanup",
                "SomethingNew",
            ] {
                assert_eq!(client.ask(action), "", "{module} {action}");
            }
        }
    }
}

#[test]
fn a_rollback_of_nothing_changes_nothing() {
    for module in ["directory", "docker-compose", "single-file"] {
        for userland in Userland::all() {
            // Not even the payload has been stored.
            let client = Client::new(userland, module, &[]);
            let before = client.snapshot();
            let (ending, text) = client.call("ArtifactRollback");
            assert_eq!(ending, Ending::Exited(0), "{module}: {text}");
            assert_eq!(client.snapshot(), before);
        }
    }
}
