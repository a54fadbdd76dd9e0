//! Doing what a chapter says.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tandem_e2e::{installed, program};

use crate::chapter::{Block, Chapter};

/// What chapters call, beside the programs of the product.
const TOOLS: [&str; 10] = [
    "bash",
    "curl",
    "mcopy",
    "mke2fs",
    "mkfs.vfat",
    "openssl",
    "sfdisk",
    "timeout",
    "xz",
    "grub-mkimage",
];

/// How long a chapter may take, seconds. On a machine with nothing else to do it is five.
const PATIENCE: &str = "240";

/// The line that comes before what a block prints.
const MARK: &str = "=== block";

/// Whether there is what chapters need.
pub(crate) fn can_tell() -> bool {
    let missing = TOOLS.iter().find(|tool| !installed(tool).unwrap());
    if let Some(tool) = missing {
        eprintln!("SKIPPED: {tool} is not installed");
    }
    missing.is_none()
}

/// Whether a chapter has commands to be run.
pub(crate) fn is_one(chapter: &Chapter) -> bool {
    chapter.blocks.iter().any(|block| block.kind == "sh")
}

/// Runs the blocks of a chapter; what does not come true of it.
pub(crate) fn tell(chapter: &Chapter) -> Result<(), String> {
    let blocks: Vec<&Block> = chapter
        .blocks
        .iter()
        .filter(|block| block.kind == "sh")
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let here = Place::new(dir.path());
    let mut script = String::from("set -euo pipefail\nexec 2>&1\n");
    for (number, block) in blocks.iter().enumerate() {
        script.push_str(&format!(
            "echo '{MARK} {number}'\n{}",
            here.fill(&block.text)
        ));
    }
    let (good, printed) = run(dir.path(), &script);
    if !good {
        return Err(format!("{} does not come true:\n{printed}", chapter.name));
    }
    let mut number = 0;
    for block in &chapter.blocks {
        match block.kind.as_str() {
            "sh" => number += 1,
            "output" => {
                let mark = |number: usize| format!("{MARK} {number}\n");
                let (_, said) = printed.split_once(&mark(number - 1)).unwrap();
                let said = said.split(&mark(number)).next().unwrap();
                compare(&here.fill(&block.text), said)
                    .map_err(|why| format!("{}: {why}", chapter.name))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// What names of the book stand for here.
struct Place {
    port: String,
    data: String,
}

impl Place {
    fn new(dir: &Path) -> Place {
        // Free now, and soon taken by the server.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Place {
            port: listener.local_addr().unwrap().port().to_string(),
            data: dir.join("var-lib-tandem-server").display().to_string(),
        }
    }

    fn fill(&self, text: &str) -> String {
        text.replace("8443", &self.port)
            .replace("/var/lib/tandem-server", &self.data)
    }
}

/// Runs a script in `dir`; whether it did well, and what it printed. Nothing of it goes on behind it.
fn run(dir: &Path, script: &str) -> (bool, String) {
    fs::write(dir.join(".script"), script).unwrap();
    let home = dir.join("home");
    fs::create_dir(&home).unwrap();
    let programs = program("tandem").unwrap();
    let programs = programs.parent().unwrap().canonicalize().unwrap();
    let path = std::env::var("PATH").unwrap();
    let printed = dir.join(".printed");
    let mut child = Command::new("timeout")
        .args([PATIENCE, "bash", ".script"])
        .current_dir(dir)
        .env(
            "PATH",
            format!("{}:{path}:/usr/sbin:/sbin", programs.display()),
        )
        .env("HOME", &home)
        .env_remove("TANDEM_DATA")
        .stdin(Stdio::null())
        .stdout(fs::File::create(&printed).unwrap())
        .process_group(0)
        .spawn()
        .unwrap();
    let status = child.wait().unwrap();
    // Servers and devices that it has started.
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let _ = killpg(group, Signal::SIGKILL);
    (status.success(), fs::read_to_string(printed).unwrap())
}

/// Whether each line of `wanted` is among those of `said`, in this order.
fn compare(wanted: &str, said: &str) -> Result<(), String> {
    let mut lines = said.lines();
    for line in wanted.lines().filter(|line| !line.trim().is_empty()) {
        if !lines.any(|said| is_like(said, line)) {
            return Err(format!(
                "no line is like {line:?} (or not in this order) in:\n{said}"
            ));
        }
    }
    Ok(())
}

/// Whether a line is another in which `…` stands for anything.
fn is_like(line: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut is_open = false;
    for part in parts {
        is_open = true;
        if part.is_empty() {
            continue;
        }
        let Some(place) = rest.find(part) else {
            return false;
        };
        rest = &rest[place + part.len()..];
        is_open = false;
    }
    is_open || rest.is_empty()
}

#[test]
fn dots_stand_for_anything() {
    for (line, pattern, expected) in [
        ("abc", "abc", true),
        ("abcd", "abc", false),
        ("abcd", "abc…", true),
        ("xabc", "…abc", true),
        ("axbxc", "a…b…c", true),
        ("ab", "a…b…c", false),
        ("", "…", true),
    ] {
        assert_eq!(is_like(line, pattern), expected, "{line} {pattern}");
    }
}
