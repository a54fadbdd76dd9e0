//! What the book says about moving from a Mender server, done with a server that speaks its API.

use std::process::Command;

use serde_json::json;

use crate::harness::{Device, PROGRAM, Server, installed};

/// The commands of the book's chapter.
fn script() -> String {
    let chapter = include_str!("../../docs/src/from-mender.md");
    let block = chapter
        .split("```sh skip: with a Mender server of yours\n")
        .nth(1)
        .unwrap();
    let lines = block.split("```").next().unwrap().lines();
    let plain: Vec<&str> = lines
        .map(|line| line.strip_prefix("   ").unwrap_or(line))
        .collect();
    plain.join("\n")
}

#[test]
fn devices_move_with_their_keys() {
    if !(installed("curl") && installed("python3")) {
        return;
    }
    let old = Server::start();
    let mut devices = [
        json!({"mac": "01", "sn": "a,\"b\""}),
        json!({"mac": "02"}),
        json!({"sn": "3"}),
    ]
    .map(Device::with_identity);
    for device in &mut devices {
        device.authenticate(&old);
        old.accept(device);
    }
    let mut stranger = Device::new("pending");
    stranger.authenticate(&old);

    let new = Server::start();
    let bin = std::path::Path::new(PROGRAM).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let done = Command::new("sh")
        .args(["-ec", &script()])
        .current_dir(new.dir.path())
        .env("PATH", path)
        .env("MENDER_URL", old.url())
        .env("MENDER_TOKEN", old.token())
        .env("CURL_CA_BUNDLE", old.authority())
        .env("TANDEM_DATA", new.data())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && said.contains("3 of 3 devices"),
        "{said}{}",
        String::from_utf8_lossy(&done.stderr)
    );
    for device in &mut devices {
        assert_eq!(device.authenticate(&new).status, 200, "{}", device.identity);
    }
    assert_eq!(stranger.authenticate(&new).status, 401);
}
