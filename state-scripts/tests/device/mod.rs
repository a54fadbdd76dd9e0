//! A temporary directory that plays the device: script directories, real scripts, and a file in
//! which scripts note what they did.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::print_stderr,
    reason = "each test file uses a part; it may panic, and its files need not survive a power cut"
)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tandem_state_scripts::child::{Limits, Stream};
use tandem_state_scripts::{Action, Error, OnError, Runner, State};
use tempfile::TempDir;

pub(crate) struct Device {
    dir: TempDir,
}

impl Device {
    pub(crate) fn new() -> Self {
        let device = Self {
            dir: TempDir::new().unwrap(),
        };
        fs::create_dir(device.path("etc-scripts")).unwrap();
        fs::create_dir(device.path("scripts")).unwrap();
        device
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A runner with short times. Scripts find the directory in $D.
    pub(crate) fn runner(&self) -> Runner<'static> {
        Runner {
            rootfs_dir: self.path("etc-scripts"),
            artifact_dir: self.path("scripts"),
            limits: Limits {
                timeout: Duration::from_secs(30),
                grace: Duration::from_secs(5),
                logged: Limits::LOGGED,
            },
            retry_interval: Duration::from_millis(50),
            retry_timeout: Duration::from_secs(20),
            env: vec![("D".into(), self.dir.path().to_str().unwrap().into())],
            stop: None,
        }
    }

    pub(crate) fn rootfs_script(&self, name: &str, body: &str) {
        self.script(&format!("etc-scripts/{name}"), body);
    }

    pub(crate) fn artifact_script(&self, name: &str, body: &str) {
        self.script(&format!("scripts/{name}"), body);
    }

    /// Writes an executable shell script.
    pub(crate) fn script(&self, name: &str, body: &str) -> PathBuf {
        self.file(name, &format!("#!/bin/sh\n{body}\n"), "755")
    }

    /// Writes a file through a process of its own. Written by this process, a descriptor could leak
    /// into a child that another test starts at this moment, and the kernel would then refuse to
    /// run the file ("Text file busy").
    pub(crate) fn file(&self, name: &str, content: &str, mode: &str) -> PathBuf {
        let path = self.path(name);
        let mut install = Command::new("install")
            .args(["-m", mode, "/dev/stdin"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = install.stdin.take().unwrap();
        input.write_all(content.as_bytes()).unwrap();
        drop(input);
        assert!(install.wait().unwrap().success());
        path
    }

    /// The lines that scripts have appended to $D/ran.
    pub(crate) fn ran(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("ran")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Whether the process whose id a script has put in this file can still do something.
    pub(crate) fn is_alive(&self, pid_file: &str) -> bool {
        let pid = fs::read_to_string(self.path(pid_file)).unwrap();
        let pid = pid.trim();
        assert!(!pid.is_empty());
        let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
        stat.is_ok_and(|stat| {
            !stat
                .rsplit(')')
                .next()
                .unwrap()
                .trim_start()
                .starts_with('Z')
        })
    }

    /// Ends a process that a test left behind on purpose.
    pub(crate) fn kill(&self, pid_file: &str) {
        let pid = fs::read_to_string(self.path(pid_file)).unwrap();
        let _ = Command::new("kill").args(["-9", pid.trim()]).status();
    }
}

/// Runs a set; returns its result and what was logged, as `script stream: line`.
pub(crate) fn run(
    runner: &Runner<'_>,
    state: State,
    action: Action,
    on_error: OnError,
) -> (Result<(), Error>, Vec<String>) {
    let mut lines = Vec::new();
    let result = runner.run(
        state,
        action,
        on_error,
        &mut |script, stream: Stream, line| {
            lines.push(format!("{script} {stream}: {line}"));
        },
    );
    (result, lines)
}

/// The whole chain of an error, as it is shown to people.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

/// Whether strace is there. Where everything has to be tested, it is an error if it is not.
pub(crate) fn has_strace() -> bool {
    has_tool("strace")
}

/// Whether a program is installed, which is said loudly, or demanded, if it is not.
pub(crate) fn has_tool(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    if !is_there {
        let must = std::env::var_os("TANDEM_REQUIRE_PEERS").is_some_and(|value| value == "1");
        assert!(!must, "{program} is not installed");
        eprintln!("SKIPPED: {program} is not installed");
    }
    is_there
}
