//! `deb`: Debian packages, installed by the real dpkg into a scratch root.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{F_WRLCK, SEEK_SET, flock};

use crate::client::{Client, Userland, has_tool};
use crate::power_cut;

/// A device with a dpkg database of its own.
fn device(settings: &str) -> Client {
    let client = Client::new(Userland::Debian, "deb", &[]);
    let root = client.device();
    for directory in ["updates", "info", "triggers"] {
        fs::create_dir_all(root.join("var/lib/dpkg").join(directory)).unwrap();
    }
    for file in ["status", "available"] {
        fs::write(root.join("var/lib/dpkg").join(file), "").unwrap();
    }
    let root = root.display();
    let conf = format!("DPKG='dpkg --root={root} --force-not-root --log=/dev/null'\n{settings}");
    fs::write(client.path("etc/deb-module.conf"), conf).unwrap();
    client
}

/// Builds a package with one file and one configuration file, and puts it into the artifact.
fn add_package(client: &Client, name: &str, version: &str, control: &str) {
    let source = client.path("source");
    fs::create_dir_all(source.join("DEBIAN")).unwrap();
    fs::create_dir_all(source.join("opt")).unwrap();
    fs::create_dir_all(source.join("etc")).unwrap();
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: test <test@localhost>\n\
         Description: test\n{control}"
    );
    fs::write(source.join("DEBIAN/control"), control).unwrap();
    fs::write(
        source.join("DEBIAN/conffiles"),
        format!("/etc/{name}.conf\n"),
    )
    .unwrap();
    fs::write(
        source.join(format!("etc/{name}.conf")),
        format!("setting of {version}\n"),
    )
    .unwrap();
    fs::write(source.join("opt").join(name), format!("{version}\n")).unwrap();
    let built = Command::new("dpkg-deb")
        .args(["--root-owner-group", "--build"])
        .arg(&source)
        .arg(
            client
                .path("tree/files")
                .join(format!("{name}_{version}.deb")),
        )
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    fs::remove_dir_all(source).unwrap();
}

fn clear_payload(client: &Client) {
    fs::remove_dir_all(client.path("tree/files")).unwrap();
    fs::create_dir(client.path("tree/files")).unwrap();
}

/// `name version state` of what is installed.
fn installed(client: &Client) -> String {
    let output = Command::new("dpkg-query")
        .arg("--admindir")
        .arg(client.device().join("var/lib/dpkg"))
        .args([
            "--show",
            "--showformat",
            "${Package} ${Version} ${db:Status-Status}\n",
        ])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn read(client: &Client, path: &str) -> String {
    fs::read_to_string(client.device().join(path)).unwrap_or_default()
}

fn is_debian() -> bool {
    has_tool("dpkg") && has_tool("dpkg-deb")
}

#[test]
fn packages_are_installed_and_upgraded_in_the_order_they_need() {
    if !is_debian() {
        return;
    }
    let client = device("");
    add_package(&client, "app", "1", "Depends: lib\n");
    add_package(&client, "lib", "1", "");
    client.succeeds("ArtifactInstall");
    assert_eq!(installed(&client), "app 1 installed\nlib 1 installed\n");
    clear_payload(&client);
    add_package(&client, "app", "2", "Depends: lib\n");
    client.succeeds("ArtifactInstall");
    assert_eq!(installed(&client), "app 2 installed\nlib 1 installed\n");
    assert_eq!(read(&client, "opt/app"), "2\n");
}

#[test]
fn a_configuration_file_that_was_changed_here_is_handled_without_asking() {
    if !is_debian() {
        return;
    }
    for (settings, expected) in [
        ("", "changed here\n"),
        ("CONFFILES=confnew", "setting of 2\n"),
    ] {
        let client = device(settings);
        add_package(&client, "app", "1", "");
        client.succeeds("ArtifactInstall");
        fs::write(client.device().join("etc/app.conf"), "changed here\n").unwrap();
        clear_payload(&client);
        add_package(&client, "app", "2", "");
        client.succeeds("ArtifactInstall");
        assert_eq!(read(&client, "etc/app.conf"), expected);
    }
}

#[test]
fn what_cannot_be_installed_fails_the_update() {
    if !is_debian() {
        return;
    }
    let client = device("");
    let text = client.fails("ArtifactInstall");
    assert!(text.contains("no *.deb"), "{text}");

    client.payload("broken.deb", "not a package");
    add_package(&client, "app", "1", "");
    let text = client.fails("ArtifactInstall");
    assert!(text.contains("broken.deb is not a package"), "{text}");
    assert_eq!(installed(&client), "");

    clear_payload(&client);
    add_package(&client, "app", "1", "Depends: absent\n");
    let text = client.fails("ArtifactInstall");
    assert!(text.contains("absent"), "{text}");
}

#[test]
fn a_lock_held_by_another_dpkg_is_waited_for() {
    if !is_debian() {
        return;
    }
    let client = device("LOCK_SECONDS=20");
    add_package(&client, "app", "1", "");
    let lock = fs::File::create(client.device().join("var/lib/dpkg/lock-frontend")).unwrap();
    let region = flock {
        l_type: F_WRLCK as i16,
        l_whence: SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(lock.as_fd(), FcntlArg::F_SETLK(&region)).unwrap();
    let text = std::thread::scope(|scope| {
        let install = scope.spawn(|| client.succeeds("ArtifactInstall"));
        std::thread::sleep(std::time::Duration::from_secs(1));
        assert_eq!(installed(&client), "");
        drop(lock);
        install.join().unwrap()
    });
    assert!(text.contains("lock"), "{text}");
    assert_eq!(installed(&client), "app 1 installed\n");

    // Not for ever.
    let client = device("LOCK_SECONDS=0");
    add_package(&client, "app", "1", "");
    let lock = fs::File::create(client.device().join("var/lib/dpkg/lock-frontend")).unwrap();
    fcntl(lock.as_fd(), FcntlArg::F_SETLK(&region)).unwrap();
    client.fails("ArtifactInstall");
}

#[test]
fn an_installation_cut_anywhere_can_be_completed() {
    if !is_debian() {
        return;
    }
    let make = || {
        let client = device("");
        add_package(&client, "app", "1", "");
        client.succeeds("ArtifactInstall");
        clear_payload(&client);
        add_package(&client, "app", "2", "");
        client
    };
    power_cut::everywhere(make, "ArtifactInstall", |client, cut| {
        // No rollback: the agent calls this, reports the failure, and the next attempt succeeds.
        client.call("ArtifactFailure");
        client.succeeds("ArtifactInstall");
        assert_eq!(installed(client), "app 2 installed\n", "{cut}");
        assert_eq!(read(client, "opt/app"), "2\n", "{cut}");
        let audit = Command::new("dpkg")
            .arg(format!("--root={}", Path::new(&client.device()).display()))
            .arg("--audit")
            .output()
            .unwrap();
        assert!(audit.stdout.is_empty(), "{cut}: {audit:?}");
    });
}
