//! The example scripts, as they are, run by the real runner: in Debian's userland (dash, coreutils)
//! and in busybox's.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may panic, and its files do not have to survive a power cut"
)]

use std::process::Command;

use userland::EXAMPLES;

mod ask_user;
mod busy;
#[path = "../device/mod.rs"]
mod device;
mod http_ok;
mod network_up;
mod unit_active;
mod userland;

#[test]
fn every_example_is_clean_for_shellcheck() {
    if !device::has_tool("shellcheck") {
        return;
    }
    let scripts =
        ["ask-user", "busy", "http-ok", "network-up", "unit-active"].map(userland::example);
    let found = std::fs::read_dir(EXAMPLES).unwrap().count();
    assert_eq!(
        found,
        scripts.len() + 1,
        "the examples, README.md, and nothing else"
    );
    let output = Command::new("shellcheck")
        .args(["-s", "sh"])
        .args(scripts)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}
