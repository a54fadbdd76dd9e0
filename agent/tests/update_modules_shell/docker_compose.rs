//! `docker-compose`: a Compose project, and back. With a real Docker engine where one can be started
//! (root, `dockerd`, `docker`, `docker-compose`); what a power cut does to *our* files is tested with
//! a stand-in that remembers which project is up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::client::{Client, Userland};
use crate::power_cut;

/// A private Docker engine without network, in namespaces and a cgroup of its own.
struct Engine {
    dir: TempDir,
    daemon: Child,
    group: String,
}

impl Engine {
    fn start() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap();
        let mut dirs = std::env::split_paths(&path).collect::<Vec<_>>();
        dirs.push("/usr/sbin".into());
        let is_there = |tool: &&str| dirs.iter().any(|dir| dir.join(tool).exists());
        let tools = ["dockerd", "docker", "docker-compose", "busybox", "unshare"];
        if !geteuid().is_root() || !tools.iter().all(is_there) {
            eprintln!("SKIPPED: a Docker engine needs root and {tools:?}");
            return None;
        }
        let dir = TempDir::new().unwrap();
        let group = format!("tandem-test-{}", std::process::id());
        let start = format!(
            "mount -t tmpfs tmpfs /run
            exec dockerd --bridge=none --iptables=false --ip6tables=false --storage-driver=vfs \
            --data-root=$DIR/data --exec-root=$DIR/exec --pidfile=$DIR/pid \
            --cgroup-parent=/{group} --host=unix://$DIR/socket > $DIR/log 2>&1"
        );
        let daemon = Command::new("unshare")
            .args([
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "sh",
                "-c",
            ])
            .arg(start)
            .env("DIR", dir.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let engine = Self { dir, daemon, group };
        let begin = Instant::now();
        while !engine.docker(&["info"]).status.success() {
            if begin.elapsed() > Duration::from_secs(30) {
                let log = fs::read_to_string(engine.dir.path().join("log")).unwrap_or_default();
                eprintln!("SKIPPED: the Docker engine does not start here: {log}");
                return None;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(engine)
    }

    fn host(&self) -> String {
        format!("--host unix://{}/socket", self.dir.path().display())
    }

    fn docker(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("docker");
        command.args(self.host().split(' ')).args(arguments);
        command.output().unwrap()
    }

    /// Makes an image with a shell in it, as a file that `docker load` takes.
    fn image(&self, name: &str) -> PathBuf {
        let root = self.dir.path().join("image");
        let script = r#"mkdir -p "$0/bin"
            cp "$(command -v busybox)" "$0/bin/busybox"
            ln -sf busybox "$0/bin/sleep"
            for library in $(ldd "$0/bin/busybox" | grep -o '/[^ ]*'); do
                cp --parents "$library" "$0"
            done
            tar -cf "$0.tar" -C "$0" ."#;
        let made = Command::new("sh").args(["-c", script]).arg(&root).status();
        assert!(made.unwrap().success());
        let tar = root.with_extension("tar");
        let imported = self.docker(&["import", tar.to_str().unwrap(), name]);
        assert!(imported.status.success(), "{imported:?}");
        let saved = self.dir.path().join("saved.tar");
        let out = self.docker(&["save", "--output", saved.to_str().unwrap(), name]);
        assert!(out.status.success(), "{out:?}");
        // It comes with the artifact or not at all.
        assert!(self.docker(&["image", "rm", name]).status.success());
        saved
    }

    /// Name and image of the running containers.
    fn running(&self) -> String {
        let output = self.docker(&["ps", "--format", "{{.Names}} {{.Image}}"]);
        String::from_utf8(output.stdout).unwrap()
    }

    /// The next artifact for this device.
    fn artifact(&self, store: &Path, project: &str, image: Option<&Path>) -> Client {
        let files = [("project_name", "myapp\n"), ("docker-compose.yml", project)];
        let client = Client::new(Userland::Debian, "docker-compose", &files);
        if let Some(image) = image {
            fs::copy(image, client.path("tree/files/images.tar")).unwrap();
        }
        let conf = format!(
            "STORE={}\nDOCKER='docker {host}'\nCOMPOSE='docker-compose {host}'",
            store.display(),
            host = self.host()
        );
        fs::write(client.path("etc/docker-compose-module.conf"), conf).unwrap();
        client
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The first process of the namespace takes all others with it.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let groups = format!(
            "for group in /sys/fs/cgroup/{0} /sys/fs/cgroup/*/{0}; do
                tries=0
                while [ -d \"$group\" ] && [ $tries -lt 50 ]; do
                    find \"$group\" -depth -type d -exec rmdir {{}} \\;
                    tries=$((tries + 1))
                    sleep 0.1
                done
            done",
            self.group
        );
        let _ = Command::new("sh").args(["-c", &groups]).output();
    }
}

fn project(image: &str) -> String {
    format!(
        "version: \"3\"\nservices:\n  app:\n    image: {image}\n    network_mode: none\n    \
         command: sleep 1000\n    restart: always\n    stop_signal: SIGKILL\n"
    )
}

#[test]
fn a_real_project_is_brought_up_replaced_and_brought_back() {
    let Some(engine) = Engine::start() else {
        return;
    };
    let store = engine.dir.path().join("store");
    let current = || fs::read_to_string(store.join("myapp/current")).unwrap_or_default();

    // The first one, taken back: nothing is left of it.
    let image = engine.image("app:1");
    let first = engine.artifact(&store, &project("app:1"), Some(&image));
    first.succeeds("ArtifactInstall");
    assert_eq!(engine.running(), "myapp_app_1 app:1\n");
    first.succeeds("ArtifactRollback");
    assert_eq!(engine.running(), "");
    assert!(!store.join("myapp").exists());

    // The first one, kept.
    let first = engine.artifact(&store, &project("app:1"), Some(&image));
    first.succeeds("ArtifactInstall");
    first.succeeds("ArtifactCommit");
    assert_eq!(current(), "a\n");

    // The next one, taken back and tried again.
    let image = engine.image("app:2");
    let second = engine.artifact(&store, &project("app:2"), Some(&image));
    second.succeeds("ArtifactInstall");
    assert_eq!(
        (engine.running().as_str(), current().as_str()),
        ("myapp_app_1 app:2\n", "b\n")
    );
    for _ in 0..2 {
        second.succeeds("ArtifactRollback");
        assert_eq!(
            (engine.running().as_str(), current().as_str()),
            ("myapp_app_1 app:1\n", "a\n")
        );
    }
    second.succeeds("ArtifactInstall");
    assert_eq!(
        (engine.running().as_str(), current().as_str()),
        ("myapp_app_1 app:2\n", "b\n")
    );

    let no_images = engine.dir.path().join("no-images.tar");
    fs::write(&no_images, "not a tar").unwrap();
    // Those that cannot work fail, and the old one runs on.
    for (bad, image, said) in [
        ("not: [a project", None, "the project is not valid"),
        (&*project("app:3"), None, "the images cannot be pulled"),
        (
            &*project("app:3"),
            Some(no_images.as_path()),
            "the images cannot be loaded",
        ),
    ] {
        let third = engine.artifact(&store, bad, image);
        let text = third.fails("ArtifactInstall");
        assert!(text.contains(said), "{text}");
        third.succeeds("ArtifactRollback");
        assert_eq!(
            (engine.running().as_str(), current().as_str()),
            ("myapp_app_1 app:2\n", "b\n")
        );
    }
}

/// Stands in for docker-compose: remembers the project that is up, and takes any.
const STAND_IN: &str = r#"#!/bin/sh
verb=
for word in "$@"; do
    case $word in
        */docker-compose.yml) project=$word ;;
        up | down | config | pull | version) verb=${verb:-$word} ;;
        --help) exit 0 ;;
    esac
done
case $verb in
    up) cp "$project" "$D/up.new" && mv "$D/up.new" "$D/up" ;;
    down) rm -f "$D/up" ;;
    config | pull) [ -s "$project" ] ;;
esac
"#;

/// A device on which version 1 runs, if it has one, with the artifact of version 2 downloaded.
fn device(userland: Userland, has_old: bool) -> Client {
    let files = [
        ("project_name", "myapp\n"),
        ("docker-compose.yml", "version 2\n"),
        (".env", "SECRET=2\n"),
        ("images.tar", "images\n"),
    ];
    let mut client = Client::new(userland, "docker-compose", &files);
    let tools = client.path("tools");
    fs::create_dir(&tools).unwrap();
    let d = client.device();
    let stand_in = STAND_IN.replace("$D", d.to_str().unwrap());
    let file = client.path("stand-in");
    fs::write(&file, &stand_in).unwrap();
    for tool in ["docker", "docker-compose"] {
        let mut install = Command::new("install");
        install.args(["-m", "755"]).arg(&file).arg(tools.join(tool));
        assert!(install.status().unwrap().success());
    }
    client.path = format!("{}:{}", tools.display(), client.path);
    let conf = format!("STORE={}/store\nCOMPOSE=docker-compose", d.display());
    fs::write(client.path("etc/docker-compose-module.conf"), conf).unwrap();
    if has_old {
        fs::create_dir_all(d.join("store/myapp/a")).unwrap();
        fs::write(d.join("store/myapp/a/docker-compose.yml"), "version 1\n").unwrap();
        fs::write(d.join("store/myapp/current"), "a\n").unwrap();
        fs::write(d.join("up"), "version 1\n").unwrap();
    }
    client
}

/// What is up, and what is said to be.
fn state(client: &Client) -> (String, String) {
    let read = |name| fs::read_to_string(client.device().join(name)).unwrap_or_default();
    (read("up"), read("store/myapp/current"))
}

#[test]
fn the_project_is_stored_beside_the_old_one() {
    for userland in Userland::all() {
        for (has_old, place) in [(false, "a"), (true, "b")] {
            let client = device(userland, has_old);
            let old = state(&client);
            client.succeeds("ArtifactInstall");
            assert_eq!(state(&client), ("version 2\n".into(), format!("{place}\n")));
            let stored = crate::snapshot::of(&client.device().join("store/myapp").join(place));
            let names = stored.keys().map(String::as_str).collect::<Vec<_>>();
            assert_eq!(names, [".env", "docker-compose.yml"]);
            client.succeeds("ArtifactRollback");
            assert_eq!(state(&client), old);
        }
    }
}

#[test]
fn strange_project_names_are_refused() {
    for name in ["", "../x", "a/b", "A", "-a", "a b", "a\nb", "$(x)"] {
        for userland in Userland::all() {
            let client = device(userland, true);
            client.payload("project_name", name);
            let old = client.snapshot();
            let text = client.fails("ArtifactInstall");
            assert!(text.contains("refusing the project name"), "{text}");
            assert_eq!(client.snapshot(), old);
            client.succeeds("ArtifactRollback");
        }
    }
}

#[test]
fn an_install_cut_anywhere_can_be_rolled_back_or_repeated() {
    for has_old in [false, true] {
        let make = || device(Userland::Debian, has_old);
        let old = state(&make());
        let new = (
            "version 2\n".to_owned(),
            if has_old { "b\n" } else { "a\n" }.to_owned(),
        );
        let mut repeats = false;
        power_cut::everywhere(make, "ArtifactInstall", |client, cut| {
            // Every other one is repeated before it is taken back.
            repeats = !repeats;
            if repeats {
                client.succeeds("ArtifactInstall");
                assert_eq!(state(client), new, "{cut}");
            }
            client.succeeds("ArtifactRollback");
            assert_eq!(state(client), old, "{cut}");
        });
    }
}

#[test]
fn a_rollback_cut_anywhere_can_be_repeated() {
    for has_old in [false, true] {
        let old = state(&device(Userland::Debian, has_old));
        let installed = || {
            let client = device(Userland::Debian, has_old);
            client.succeeds("ArtifactInstall");
            client
        };
        power_cut::everywhere(installed, "ArtifactRollback", |client, cut| {
            client.succeeds("ArtifactRollback");
            assert_eq!(state(client), old, "{cut}");
        });
    }
}
