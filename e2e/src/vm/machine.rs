//! A running machine: power, serial port, and how long it took.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::board::Board;
use super::console::{Console, Silence};
use super::disk::Disk;

/// How long a command in the guest's shell may take: an installation takes 6 s on an idle computer,
/// and two minutes where four machines share two busy processors.
const COMMAND_LIMIT: Duration = Duration::from_secs(300);

/// A machine with a disk of its own.
pub struct Machine {
    board: Board,
    dir: PathBuf,
    disk: Disk,
    server: Option<u16>,
    running: Option<Running>,
    commands: u32,
    shown: bool,
    /// How often the power was cut.
    pub cuts: u32,
}

struct Running {
    qemu: Child,
    console: Console,
    since: Instant,
    cut_at: Option<Instant>,
}

/// A system that has come up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Up {
    /// The number of the partition that it runs from.
    pub part: u32,
    /// The release that it says it is.
    pub release: String,
    /// From power-on, or from the last time that a system came up, to this one.
    pub took: Duration,
    /// What the boot loader said on the way.
    pub boot: Vec<String>,
}

impl Machine {
    /// A machine that is off. Its disk and its serial port's log (`console.log`) are in `dir`.
    #[must_use]
    pub fn new(board: Board, disk: Disk, dir: &Path, server: Option<u16>) -> Machine {
        Machine {
            board,
            dir: dir.to_owned(),
            disk,
            server,
            running: None,
            commands: 0,
            shown: false,
            cuts: 0,
        }
    }

    /// Its kind.
    #[must_use]
    pub fn board(&self) -> Board {
        self.board
    }

    /// Its disk, as seen from outside.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Switches it on.
    ///
    /// # Errors
    /// When it is on, or QEMU or the firmware is not installed.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.running.is_none(), "the machine is on already");
        let words = self
            .board
            .command(self.disk.path(), &self.dir, self.server)?;
        let complaints = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("qemu.log"))?;
        // Whatever happens to this program, the machine does not outlive it.
        let mut qemu = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(&words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn()
            .context("cannot run setpriv (package util-linux)")?;
        let port = qemu.stdout.take().context("a pipe was asked for")?;
        let console = Console::follow(port, &self.dir.join("console.log"))?;
        self.running = Some(Running {
            qemu,
            console,
            since: Instant::now(),
            cut_at: None,
        });
        Ok(())
    }

    /// Cuts the power: nothing is flushed, nobody is told.
    pub fn cut(&mut self) {
        if let Some(mut running) = self.running.take() {
            // It may have ended by itself.
            drop(running.qemu.kill());
            drop(running.qemu.wait());
            self.cuts = self.cuts.saturating_add(1);
        }
    }

    /// Plans a power cut: whatever waits for the machine then fails.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn cut_after(&mut self, time: Duration) -> Result<()> {
        self.running()?.cut_at = Instant::now().checked_add(time);
        Ok(())
    }

    /// Shows on standard output what its console says, from now on.
    pub fn show(&mut self) {
        self.shown = true;
    }

    /// Whether the machine is off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.running.is_none()
    }

    /// Waits for a line of which `wanted` makes something.
    ///
    /// # Errors
    /// When none comes in time, the machine goes off, or the power is cut as planned; `what` says
    /// what it was waited for.
    pub fn wait<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut wanted: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let shown = self.shown;
        let running = self.running()?;
        let now = Instant::now();
        let end = now.checked_add(limit).unwrap_or(now);
        let planned = running.cut_at.filter(|&at| at < end);
        let until = planned.unwrap_or(end);
        let mut seen = |line: &str| {
            if shown {
                // Whether anybody watches does not matter.
                drop(writeln!(std::io::stdout(), "  | {line}"));
            }
            wanted(line)
        };
        match running.console.wait(until, &mut seen) {
            Ok(found) => Ok(found),
            Err(Silence::TimeUp) if planned.is_some() => {
                self.cut();
                bail!("the power is cut while waiting for {what}")
            }
            Err(Silence::TimeUp) => bail!(
                "no {what} within {} s; {}",
                limit.as_secs(),
                running.console.tail()
            ),
            Err(Silence::Off) => {
                let tail = running.console.tail();
                self.cut();
                bail!("the machine went off before {what}; {tail}")
            }
        }
    }

    /// Waits for a line that has these words in it.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn wait_for(&mut self, words: &str, limit: Duration) -> Result<String> {
        self.wait(&format!("{words:?}"), limit, |line| {
            line.contains(words).then(|| line.to_owned())
        })
    }

    /// Waits until a system is up. Failed attempts of the boot loader on the way are part of it.
    ///
    /// # Errors
    /// When none comes up in time: the device is bricked.
    pub fn up(&mut self) -> Result<Up> {
        // One trial that the watchdog has to end, and the way back.
        let limit = self.board.boot_limit().saturating_mul(3);
        let mut boot = Vec::new();
        let (part, release) = self.wait("system that is up", limit, |line| {
            if line.contains("tandem: ") || line.contains("Kernel panic") {
                boot.push(line.to_owned());
            }
            parse_up(line)
        })?;
        let running = self.running()?;
        let took = running.since.elapsed();
        running.since = Instant::now();
        // The shell comes up after the system.
        self.wait_for("guest: shell", self.board.boot_limit())?;
        Ok(Up {
            part,
            release,
            took,
            boot,
        })
    }

    /// Types a command into the shell on the console.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn say(&mut self, command: &str) -> Result<()> {
        let port = self.running()?.qemu.stdin.as_mut();
        let port = port.context("a pipe was asked for")?;
        port.write_all(format!("{command}\n").as_bytes())
            .context("cannot type on the console")
    }

    /// Runs a command in that shell: its exit code, and what it printed.
    ///
    /// # Errors
    /// When it takes too long.
    pub fn try_run(&mut self, command: &str) -> Result<(u8, String)> {
        self.commands = self.commands.saturating_add(1);
        let mark = format!("@{}", self.commands);
        // Other programs write to the console too: every line of this one bears a mark.
        self.say(&format!(
            "{{ {command}; echo \"={mark} $?\"; }} 2>&1 | sed 's/^/{mark} /'"
        ))?;
        let (prefix, last) = (format!("{mark} "), format!("{mark} ={mark} "));
        let mut answer = Vec::new();
        let code = self.wait(&format!("end of {command:?}"), COMMAND_LIMIT, |line| {
            if let Some(code) = line.strip_prefix(&last) {
                return Some(code.trim().parse());
            }
            if let Some(line) = line.strip_prefix(&prefix) {
                answer.push(line.to_owned());
            }
            None
        })?;
        Ok((code.context("an exit code is a number")?, answer.join("\n")))
    }

    /// Runs a command that must not fail: what it printed.
    ///
    /// # Errors
    /// When it fails, or takes too long.
    pub fn run(&mut self, command: &str) -> Result<String> {
        let (code, answer) = self.try_run(command)?;
        ensure!(code == 0, "{command} ends with {code}: {answer}");
        Ok(answer)
    }

    fn running(&mut self) -> Result<&mut Running> {
        self.running.as_mut().context("the machine is off")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.cut();
    }
}

/// `guest: up part=2 release=release-1 after=3.21`
pub(crate) fn parse_up(line: &str) -> Option<(u32, String)> {
    let (_, rest) = line.split_once("guest: up ")?;
    let field = |name: &str| {
        rest.split_whitespace()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    };
    Some((field("part")?.parse().ok()?, field("release")?.to_owned()))
}
