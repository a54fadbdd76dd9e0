//! Debian's unmodified mender-cli against our server.

use std::process::Command;

use crate::harness::{Device, Server, artifact, installed, write};

#[test]
fn mender_cli_signs_in_uploads_lists_and_deletes() {
    if !installed("mender-cli") {
        return;
    }
    let server = Server::start();
    let home = server.dir.path().join("home");
    let file = server.dir.path().join("v2.mender");
    write(&file, &artifact("v2"));
    std::fs::create_dir_all(&home).unwrap();
    let call = |args: &[&str]| {
        let out = Command::new("mender-cli")
            .args(["--server", &server.url()])
            .args(args)
            .env("HOME", &home)
            .env_remove("XDG_CACHE_HOME")
            // Its TLS library trusts these instead of the system's.
            .env("SSL_CERT_FILE", server.authority())
            .current_dir(&home)
            .output()
            .unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        (out.status.success(), text)
    };
    let done = |args: &[&str]| {
        let (done, text) = call(args);
        assert!(done, "{args:?}: {text}");
        text
    };
    assert!(!call(&["artifacts", "list"]).0, "nobody has signed in");
    assert!(!call(&["login", "--username", &server.email, "--password", "wrong"]).0);
    done(&[
        "login",
        "--username",
        &server.email,
        "--password",
        &server.password,
    ]);

    let file = file.to_str().unwrap();
    done(&[
        "artifacts",
        "upload",
        file,
        "--description",
        "the second",
        "--no-progress",
    ]);
    assert!(
        !call(&["artifacts", "upload", file]).0,
        "the same again is a conflict"
    );
    for detail in ["0", "1", "2", "3"] {
        let list = done(&["artifacts", "list", "-d", detail]);
        assert!(list.contains("v2"), "{list}");
    }
    assert!(done(&["artifacts", "list", "-d", "3"]).contains("payload.bin"));

    let device = Device::new("de:ad:be:ef:00:01");
    let mut device = device;
    device.authenticate(&server);
    let id = server.find(&device).0;
    for detail in ["0", "1", "2", "3"] {
        let list = done(&["devices", "list", "-d", detail]);
        assert!(list.contains(&id), "{list}");
    }
    assert!(done(&["devices", "list", "-d", "3"]).contains("de:ad:be:ef:00:01"));

    let artifacts = server
        .admin("GET", "/api/management/v1/deployments/artifacts", ())
        .json();
    let id = artifacts[0]["id"].as_str().unwrap();
    done(&["artifacts", "delete", id]);
    assert!(!call(&["artifacts", "delete", id]).0);
    assert!(!done(&["artifacts", "list"]).contains("v2"));

    // A personal token does as well, without signing in.
    std::fs::remove_dir_all(&home).unwrap();
    std::fs::create_dir_all(&home).unwrap();
    let token = server.done(&["token", "create", "ci"]);
    done(&["--token-value", token.trim(), "devices", "list"]);
    server.done(&["token", "revoke", "ci"]);
    assert!(!call(&["--token-value", token.trim(), "devices", "list"]).0);
}
