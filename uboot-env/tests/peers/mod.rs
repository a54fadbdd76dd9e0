//! The programs that the tests compare: ours, and Debian's as oracles.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whose program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Ours,
    Debians,
}

/// What a program did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Whether a program is installed. With `TANDEM_REQUIRE_PEERS=1` a missing one fails the test.
#[track_caller]
pub(crate) fn installed(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()));
    let required = std::env::var_os("TANDEM_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(
        found || !required,
        "{program} is required and not installed"
    );
    if !found {
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
}

/// Our program of this name.
pub(crate) fn ours(name: &str) -> PathBuf {
    PathBuf::from(match name {
        "fw_printenv" => env!("CARGO_BIN_EXE_fw_printenv"),
        "fw_setenv" => env!("CARGO_BIN_EXE_fw_setenv"),
        other => panic!("no such program: {other}"),
    })
}

/// Runs `fw_printenv` or `fw_setenv` in a directory.
pub(crate) fn run<A: AsRef<OsStr>>(
    whose: Whose,
    name: &str,
    dir: &Path,
    args: &[A],
    input: &[u8],
) -> Run {
    let program = match whose {
        Whose::Ours => ours(name),
        Whose::Debians => PathBuf::from(name),
    };
    let mut command = Command::new(program);
    command.args(args).current_dir(dir);
    finish(command, input)
}

/// Runs a command to its end.
pub(crate) fn finish(mut command: Command, input: &[u8]) -> Run {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code(),
        out: output.stdout.escape_ascii().to_string(),
        err: output.stderr.escape_ascii().to_string(),
    }
}

/// A directory with `fw_env.config` and the file `env` that it names.
pub(crate) struct Device {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) size: usize,
    pub(crate) copies: usize,
}

impl Device {
    /// One or two copies of `size` bytes, one after the other in one file.
    pub(crate) fn new(size: usize, copies: usize, content: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = String::new();
        for copy in 0..copies {
            config.push_str(&format!("env {:#x} {size:#x}\n", copy * size));
        }
        fs::write(dir.path().join("fw_env.config"), config).unwrap();
        fs::write(dir.path().join("env"), content).unwrap();
        Self { dir, size, copies }
    }

    /// The same in another directory.
    pub(crate) fn twin(&self) -> Self {
        let twin = Self::new(self.size, self.copies, &self.content());
        let config = fs::read(self.dir.path().join("fw_env.config")).unwrap();
        fs::write(twin.dir.path().join("fw_env.config"), config).unwrap();
        twin
    }

    pub(crate) fn content(&self) -> Vec<u8> {
        fs::read(self.dir.path().join("env")).unwrap()
    }

    pub(crate) fn set_content(&self, content: &[u8]) {
        fs::write(self.dir.path().join("env"), content).unwrap();
    }

    pub(crate) fn print<A: AsRef<OsStr>>(&self, whose: Whose, args: &[A]) -> Run {
        run(
            whose,
            "fw_printenv",
            self.dir.path(),
            &with_config(args),
            b"",
        )
    }

    pub(crate) fn set<A: AsRef<OsStr>>(&self, whose: Whose, args: &[A], input: &[u8]) -> Run {
        run(
            whose,
            "fw_setenv",
            self.dir.path(),
            &with_config(args),
            input,
        )
    }

    /// Per copy what counts of its bytes, so that contents can be compared although Debian's tool
    /// fills the padding with what its heap held.
    pub(crate) fn essence(&self) -> Vec<String> {
        self.content()
            .chunks(self.size)
            .map(|copy| essence(copy, self.copies > 1))
            .collect()
    }
}

fn essence(copy: &[u8], redundant: bool) -> String {
    match tandem_uboot_env::image::data(copy, redundant) {
        Ok(data) => {
            let end = data.windows(2).position(|pair| pair == [0, 0]);
            let entries = if data[0] == 0 {
                &[]
            } else {
                &data[..end.map_or(data.len(), |at| at + 1)]
            };
            let flags = tandem_uboot_env::image::flags(copy);
            let flags = if redundant {
                format!("flags {flags}: ")
            } else {
                String::new()
            };
            format!("{flags}{}", entries.escape_ascii())
        }
        Err(_) => format!("bad: {}", copy.escape_ascii()),
    }
}

fn with_config<A: AsRef<OsStr>>(args: &[A]) -> Vec<OsString> {
    let config = ["-c", "fw_env.config"].map(OsString::from);
    config
        .into_iter()
        .chain(args.iter().map(|arg| arg.as_ref().to_owned()))
        .collect()
}

/// Bytes as an argument.
pub(crate) fn arg(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// Numbers that are the same in each run with one seed (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}
