//! What tests of the agent need: a device, artifacts for it, and a look at what the agent says.

#![allow(
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail loudly, and its files are its own"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::{Device, Setup, make_image, program};

const MIB: u64 = 1 << 20;

/// A device of type `board` that runs release 1, and the means to make artifacts for it.
pub struct Workshop {
    dir: TempDir,
    /// The device.
    pub device: Device,
}

impl Workshop {
    /// What `install` prints when all went well.
    pub const INSTALLED: [&str; 3] = [
        "installed, not committed",
        "run 'tandem commit' to keep it, or 'tandem rollback' to undo it",
        "reboot needed",
    ];

    /// Everything as by default, but artifacts need no signature.
    #[must_use]
    pub fn new() -> Workshop {
        Workshop::with("allow_unsigned = true")
    }

    /// With these lines in `tandem.toml`; `{dir}` in them stands for the workshop's directory.
    #[must_use]
    pub fn with(configuration: &str) -> Workshop {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        for sub in ["boot", "sbin", "etc"] {
            fs::create_dir_all(tree.join(sub)).unwrap();
        }
        for file in ["boot/vmlinuz", "sbin/init", "etc/release"] {
            fs::write(tree.join(file), "release-1").unwrap();
        }
        let bootstrap = dir.path().join("bootstrap.mender");
        write_artifact(
            &["bootstrap-artifact", "-t", "board", "-n", "release-1"],
            &bootstrap,
        );
        let setup = Setup {
            tree,
            part_size: 3 * MIB,
            device_type: "board".into(),
            configuration: configuration.replace("{dir}", &dir.path().display().to_string()),
            bootstrap: Some(bootstrap),
        };
        let device = Device::create(&dir.path().join("device"), &setup).unwrap();
        Workshop { dir, device }
    }

    /// A path in the workshop's directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An artifact with a root file system, made with these further arguments.
    #[must_use]
    pub fn artifact(&self, name: &str, arguments: &[&str]) -> PathBuf {
        let tree = self.path("tree");
        fs::write(tree.join("etc/release"), name).unwrap();
        let image = self.path("image.ext4");
        make_image(&image, &tree, 2 * MIB).unwrap();
        let artifact = self.path(&format!("{name}.mender"));
        let image = image.display().to_string();
        let mut all = vec!["rootfs-image", "-n", name, "-f", &image];
        if !arguments.contains(&"-t") {
            all.extend(["-t", "board"]);
        }
        all.extend(arguments);
        write_artifact(&all, &artifact);
        artifact
    }

    /// Runs the agent.
    #[must_use]
    pub fn tandem(&self, arguments: &[&str]) -> Output {
        Command::new(program("tandem").unwrap())
            .arg("--config")
            .arg(self.device.path("etc/tandem.toml"))
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Installs an artifact.
    #[must_use]
    pub fn install(&self, artifact: &Path) -> Output {
        self.tandem(&["install", artifact.to_str().unwrap()])
    }

    /// Everything that an update could change.
    #[must_use]
    pub fn state(&self) -> Vec<Vec<u8>> {
        [
            "disk/root2",
            "disk/root3",
            "disk/environment",
            "data/record.json",
        ]
        .iter()
        .map(|name| fs::read(self.device.path(name)).unwrap_or_default())
        .collect()
    }

    /// The agent, called like this, prints these lines and exits like this.
    #[track_caller]
    pub fn says(&self, arguments: &[&str], code: i32, lines: &[&str]) -> String {
        said(arguments, &self.tandem(arguments), code, lines)
    }

    /// Installing the artifact goes well, and the agent says what is to be done next.
    #[track_caller]
    pub fn installs(&self, artifact: &Path) -> String {
        self.says(
            &["install", artifact.to_str().unwrap()],
            0,
            &Self::INSTALLED,
        )
    }

    /// `install` refuses the artifact with these words, and nothing has changed.
    #[track_caller]
    pub fn refuses(&self, artifact: &Path, words: &[&str]) {
        self.says(&["show-artifact"], 0, &["release-1"]);
        let before = self.state();
        let output = self.install(artifact);
        let (out, log) = texts(&output);
        assert_eq!(output.status.code(), Some(1), "{out}\n{log}");
        for word in words {
            assert!(log.contains(word), "{word:?} is not in: {log}");
        }
        assert!(out.contains("the system is as it was"), "{out}");
        assert!(self.state() == before, "something has been written: {log}");
        self.says(&["show-artifact"], 0, &["release-1"]);
        self.says(&["resume"], 2, &["no update in progress"]);
    }
}

impl Default for Workshop {
    fn default() -> Workshop {
        Workshop::new()
    }
}

/// Makes an artifact: `tandem-artifact write` with these arguments.
pub fn write_artifact(arguments: &[&str], artifact: &Path) {
    let made = Command::new(program("tandem-artifact").unwrap())
        .args(["-q", "write"])
        .args(arguments)
        .arg("-o")
        .arg(artifact)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

/// A program that was called like this has printed these lines and exited like this; what it wrote to its log.
#[track_caller]
pub fn said(arguments: &[&str], output: &Output, code: i32, lines: &[&str]) -> String {
    let (out, log) = texts(output);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}: {out}\n{log}"
    );
    assert_eq!(
        out.lines().collect::<Vec<_>>(),
        lines,
        "{arguments:?}: {log}"
    );
    log
}

/// What a program wrote to its standard output, and what to its log.
#[must_use]
pub fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
