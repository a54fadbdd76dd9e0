//! The client's side of the update module protocol: the work tree, and the calls.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::geteuid;
use tandem_state_scripts::child::{Child, Ending, Limits, Output};
use tempfile::TempDir;

use crate::snapshot::{self, Snapshot};

pub(crate) const MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/modules/v3");

/// The modules of Debian's mender-client.
pub(crate) const PEERS: &str = "/usr/share/mender/modules/v3";

/// A user without rights.
const NOBODY: u32 = 65534;

/// A shell with its tools.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Userland {
    Debian,
    Busybox,
}

impl Userland {
    pub(crate) fn all() -> Vec<Self> {
        match has_tool("busybox") {
            true => vec![Self::Debian, Self::Busybox],
            false => vec![Self::Debian],
        }
    }
}

/// Whether a program is installed, which is said loudly, or demanded, if it is not.
pub(crate) fn has_tool(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = program.starts_with('/') && Path::new(program).exists()
        || std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    if !is_there {
        let must = std::env::var_os("TANDEM_REQUIRE_PEERS").is_some_and(|value| value == "1");
        assert!(!must, "{program} is not installed");
        eprintln!("SKIPPED: {program} is not installed");
    }
    is_there
}

/// A device on which one artifact is being installed.
pub(crate) struct Client {
    dir: TempDir,
    program: PathBuf,
    has_rights: bool,
    /// Where the module finds its tools.
    pub(crate) path: String,
}

impl Client {
    /// A device that has downloaded an artifact for a shipped module, with these payload files.
    pub(crate) fn new(userland: Userland, module: &str, files: &[(&str, &str)]) -> Self {
        let mut client = Self::with_program(Path::new(MODULES).join(module), files);
        let mut script = fs::read_to_string(&client.program).unwrap();
        if userland == Userland::Busybox {
            let bin = client.path("bin");
            link_applets(&bin);
            script = script.replacen("#!/bin/sh", &format!("#!{}/sh", bin.display()), 1);
            client.path = bin.to_str().unwrap().to_owned();
        }
        client.program = client.path(module);
        // Copied by a process of its own: see the tests of the state scripts.
        fs::write(client.path("plain"), script).unwrap();
        let mut install = Command::new("install");
        install
            .args(["-m", "755"])
            .arg(client.path("plain"))
            .arg(&client.program);
        assert!(install.status().unwrap().success());
        client
    }

    /// The same for a module that is somewhere else.
    pub(crate) fn with_program(program: PathBuf, files: &[(&str, &str)]) -> Self {
        let path = std::env::var("PATH").unwrap();
        let dir = scratch(&program);
        let client = Self {
            dir,
            program,
            has_rights: true,
            path,
        };
        fs::create_dir(client.path("device")).unwrap();
        fs::create_dir(client.path("etc")).unwrap();
        for directory in ["tree/header", "tree/tmp", "tree/files"] {
            fs::create_dir_all(client.path(directory)).unwrap();
        }
        for (name, content) in [
            ("version", "3\n"),
            ("current_artifact_name", "release-1\n"),
            ("current_artifact_group", ""),
            ("current_device_type", "test\n"),
            ("header/artifact_name", "release-2"),
            ("header/artifact_group", ""),
            ("header/payload_type", "x"),
            ("header/header-info", "{}"),
            ("header/type-info", "{}"),
            ("header/meta-data", "{}"),
        ] {
            fs::write(client.path("tree").join(name), content).unwrap();
        }
        for (name, content) in files {
            client.payload(
                name,
                content.replace("@D", client.device().to_str().unwrap()),
            );
        }
        client
    }

    /// Stores a payload file, as the agent does: for itself alone.
    pub(crate) fn payload(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path("tree/files").join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The part of the file system that the module may change.
    pub(crate) fn device(&self) -> PathBuf {
        self.path("device")
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        snapshot::of(&self.device())
    }

    /// The call of an action, not yet made.
    pub(crate) fn command(&self, action: &str) -> Command {
        let mut command = Command::new(&self.program);
        if !self.has_rights {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.arg(action).arg(self.path("tree"));
        command.current_dir(self.path("tree"));
        command
            .env("PATH", &self.path)
            .env("TANDEM_CONF_DIR", self.path("etc"));
        command
    }

    /// Calls an action; returns how it ended and what it printed.
    pub(crate) fn call(&self, action: &str) -> (Ending, String) {
        run(&mut self.command(action))
    }

    /// The module, without the rights to do any harm, refuses to install with these words, and nothing has changed.
    #[track_caller]
    pub(crate) fn refuses(&mut self, said: &str) {
        self.drop_rights();
        let old = self.snapshot();
        let text = self.fails("ArtifactInstall");
        assert!(text.contains(said), "{text}");
        assert_eq!(self.snapshot(), old);
        self.succeeds("ArtifactRollback");
        assert_eq!(self.snapshot(), old);
    }

    /// From here on calls are made by a user who may change nothing outside this device.
    pub(crate) fn drop_rights(&mut self) {
        if geteuid().is_root() {
            let mut own = Command::new("chown");
            own.args(["-hR", &NOBODY.to_string()]).arg(self.dir.path());
            assert!(own.status().unwrap().success());
            self.has_rights = false;
        }
    }

    #[track_caller]
    pub(crate) fn succeeds(&self, action: &str) -> String {
        let (ending, text) = self.call(action);
        assert_eq!(ending, Ending::Exited(0), "{action}: {text}");
        text
    }

    #[track_caller]
    pub(crate) fn fails(&self, action: &str) -> String {
        let (ending, text) = self.call(action);
        assert_eq!(ending, Ending::Exited(1), "{action}: {text}");
        text
    }

    /// Makes a query; returns its standard output.
    #[track_caller]
    pub(crate) fn ask(&self, action: &str) -> String {
        let mut log = |_, line: &str| panic!("{action} complains: {line}");
        let output = Output::Capture(1000);
        let mut command = self.command(action);
        let mut child = Child::spawn(&mut command, limits(), output, None, &mut log).unwrap();
        assert_eq!(child.wait(), Ending::Exited(0), "{action}");
        String::from_utf8(child.captured().unwrap().bytes.clone()).unwrap()
    }
}

/// A temporary directory, where possible in memory: the modules sync a lot. (One of them refuses to
/// do anything in `/dev`.)
fn scratch(program: &Path) -> TempDir {
    const MEMORY: &str = "/dev/shm";
    let can_run = !program.ends_with("directory")
        && statvfs(MEMORY).is_ok_and(|fs| !fs.flags().contains(FsFlags::ST_NOEXEC));
    match can_run.then(|| TempDir::new_in(MEMORY)) {
        Some(Ok(dir)) => dir,
        Some(Err(_)) | None => TempDir::new().unwrap(),
    }
}

fn limits() -> Limits {
    Limits::new(Duration::from_secs(60))
}

/// Runs a command in a process group of its own.
pub(crate) fn run(command: &mut Command) -> (Ending, String) {
    let mut text = String::new();
    let mut log = |_, line: &str| text.push_str(&format!("{line}\n"));
    let mut child = Child::spawn(command, limits(), Output::Log, None, &mut log).unwrap();
    let ending = child.wait();
    drop(child);
    (ending, text)
}

fn link_applets(bin: &Path) {
    fs::create_dir(bin).unwrap();
    let list = Command::new("busybox").arg("--list").output().unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let mut dirs = std::env::split_paths(&path);
    let busybox = dirs
        .find(|dir| dir.join("busybox").exists())
        .unwrap()
        .join("busybox");
    for applet in String::from_utf8(list.stdout).unwrap().lines() {
        symlink(&busybox, bin.join(applet)).unwrap();
    }
}
