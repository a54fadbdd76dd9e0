//! Where scripts find their tools.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tandem_state_scripts::child::Ending;
use tandem_state_scripts::{Error, Failure, Runner, ScriptName};

use crate::device::{Device, has_tool};

pub(crate) const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");

/// The file of an example, by the end of its name.
pub(crate) fn example(name: &str) -> PathBuf {
    let files = fs::read_dir(EXAMPLES)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| path.to_str().unwrap().ends_with(&format!("_{name}"));
    files.into_iter().find(is_it).unwrap()
}

/// A shell with its tools.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Userland {
    /// dash, coreutils, findutils, mawk.
    Debian,
    /// The applets of busybox and nothing else.
    Busybox,
}

impl Userland {
    /// Those that are installed.
    pub(crate) fn all() -> Vec<Self> {
        match has_tool("busybox") {
            true => vec![Self::Debian, Self::Busybox],
            false => vec![Self::Debian],
        }
    }
}

/// What a set came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    Passed,
    /// It exited with 21.
    Later,
    /// It exited with 1.
    Refused,
}

/// A device with an example installed.
pub(crate) struct Installed {
    pub(crate) device: Device,
    pub(crate) name: ScriptName,
    pub(crate) path: String,
}

impl Installed {
    /// Installs an example under a script name, with this configuration file.
    pub(crate) fn new(userland: Userland, example_name: &str, name: &str, conf: &str) -> Self {
        let device = Device::new();
        fs::create_dir(device.path("etc")).unwrap();
        let name = ScriptName::parse(name).unwrap();
        let script = fs::read_to_string(example(example_name)).unwrap();
        let (path, script) = match userland {
            Userland::Debian => (std::env::var("PATH").unwrap(), script),
            Userland::Busybox => {
                let bin = device.path("bin");
                link_applets(&bin);
                let bin = bin.to_str().unwrap().to_owned();
                let script = script.replacen("#!/bin/sh", &format!("#!{bin}/sh"), 1);
                (bin, script)
            }
        };
        for dir in ["etc-scripts", "scripts"] {
            device.file(&format!("{dir}/{name}"), &script, "755");
        }
        let installed = Self { device, name, path };
        installed.configure(example_name, conf);
        installed
    }

    pub(crate) fn configure(&self, example_name: &str, conf: &str) {
        let conf = conf.replace("@D", self.dir());
        self.device
            .file(&format!("etc/{example_name}.conf"), &conf, "644");
    }

    /// The directory of the device, which is @D in a configuration.
    pub(crate) fn dir(&self) -> &str {
        self.device.dir().to_str().unwrap()
    }

    /// A runner that gives up at the first 21.
    pub(crate) fn runner(&self) -> Runner<'static> {
        let mut runner = self.device.runner();
        runner.retry_timeout = Duration::ZERO;
        let etc = self.device.path("etc").to_str().unwrap().to_owned();
        runner.env.push(("TANDEM_CONF_DIR".into(), etc));
        runner.env.push(("PATH".into(), self.path.clone()));
        runner
    }

    /// Runs the script's set once; returns the verdict and what it printed.
    #[track_caller]
    pub(crate) fn run(&self, runner: &Runner<'_>) -> (Verdict, String) {
        let mut text = String::new();
        let mode = tandem_state_scripts::mode_of(self.name.state(), self.name.action(), false);
        let mut log = |_: &_, _, line: &str| text.push_str(&format!("{line}\n"));
        let (state, action) = (self.name.state(), self.name.action());
        let result = runner.run(state, action, mode.unwrap(), &mut log);
        let verdict = match result {
            Ok(()) => Verdict::Passed,
            Err(Error::Failed {
                failure: Failure::RetriedTooLong(_),
                ..
            }) => Verdict::Later,
            Err(Error::Failed {
                failure: Failure::Ended(Ending::Exited(1)),
                ..
            }) => Verdict::Refused,
            Err(other) => panic!("{other:?}: {text}"),
        };
        (verdict, text)
    }
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
