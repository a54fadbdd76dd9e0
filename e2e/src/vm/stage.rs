//! What a scenario does with a machine, and what must be true behind it.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::board::Board;
use super::lab::{FIRST, Kind, Lab, Release};
use super::machine::{Machine, Up};

/// How long the console may take to say what is waited for, on a computer with much else to do.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// How often a device may have to start before everything is settled.
const MAX_BOOTS: u32 = 5;

/// A machine, and where its updates come from.
pub struct Stage<'a> {
    /// Makes releases.
    pub lab: &'a Lab,
    /// The machine.
    pub machine: Machine,
    /// The time that each start took.
    pub boots: Vec<Duration>,
}

impl<'a> Stage<'a> {
    /// A new machine with the first release; its files go into the directory `name`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(lab: &'a Lab, name: &str) -> Result<Stage<'a>> {
        Ok(Stage {
            lab,
            machine: lab.machine(name)?,
            boots: Vec::new(),
        })
    }

    /// The release that the machine came with.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn first(&self) -> Result<Release> {
        self.lab.release(FIRST, Kind::Whole)
    }

    /// Waits until the machine is up.
    ///
    /// # Errors
    /// When it does not come up, or its root part is not what was signed for.
    pub fn comes_up(&mut self) -> Result<(Up, Release)> {
        let up = self.machine.up()?;
        self.boots.push(up.took);
        let release = self
            .lab
            .made(&up.release)
            .with_context(|| format!("it runs {}, which nobody has made", up.release))?;
        let sum = self.machine.disk().root_sum(up.part, release.length)?;
        ensure!(
            sum == release.sha256,
            "part {} is not {}: its SHA-256 is {sum}",
            up.part,
            up.release
        );
        Ok((up, release))
    }

    /// Waits until the machine is up from this part with this release.
    ///
    /// # Errors
    /// When it does not come up, or is up from elsewhere.
    pub fn comes_up_with(&mut self, part: u32, release: &Release) -> Result<Up> {
        let (up, _) = self.comes_up()?;
        ensure!(
            (up.part, &up.release) == (part, &release.name),
            "it is up from part {} with {}, not from part {part} with {}; the boot loader: {:?}",
            up.part,
            up.release,
            release.name,
            up.boot
        );
        Ok(up)
    }

    /// Switches the machine on and waits until it is up from this part with this release.
    ///
    /// # Errors
    /// As for [`comes_up_with`](Self::comes_up_with).
    pub fn start_with(&mut self, part: u32, release: &Release) -> Result<Up> {
        self.machine.start()?;
        self.comes_up_with(part, release)
    }

    /// Has the machine install a release.
    ///
    /// # Errors
    /// When it does not.
    pub fn install(&mut self, release: &Release) -> Result<()> {
        let answer = self
            .machine
            .run(&format!("tandem install {}", release.address()))?;
        ensure!(
            answer.contains("installed, not committed"),
            "it should wait to be tried: {answer}"
        );
        Ok(())
    }

    /// Has it restart.
    ///
    /// # Errors
    /// When it is off.
    pub fn reboot(&mut self) -> Result<()> {
        self.machine.say("reboot")
    }

    /// Puts the first release and then, on trial, this one onto the stage.
    ///
    /// # Errors
    /// When something goes wrong on the way.
    pub fn try_out(&mut self, release: &Release) -> Result<()> {
        let first = self.first()?;
        self.start_with(2, &first)?;
        self.install(release)?;
        self.reboot()
    }

    /// Has the state script `state` stand still when it comes to it.
    ///
    /// # Errors
    /// When the machine cannot be told.
    pub fn hold(&mut self, state: &str) -> Result<()> {
        self.machine
            .run(&format!("echo {state} > /data/hold && sync"))
            .map(drop)
    }

    /// Gives a command, waits until the state script `state` stands still, and cuts the power.
    ///
    /// # Errors
    /// When it never stands still.
    pub fn cut_in(&mut self, state: &str, command: &str) -> Result<()> {
        self.hold(state)?;
        self.machine.say(&format!("{command} 2>&1"))?;
        self.machine
            .wait_for(&format!("guest: holding in {state}"), PATIENCE)?;
        self.machine.cut();
        Ok(())
    }

    /// A variable of the boot loader, as the running system sees it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn variable(&mut self, name: &str) -> Result<String> {
        let command = match self.machine.board() {
            Board::Arm64 | Board::X86 => format!("fw_printenv -n {name} 2> /dev/null"),
            Board::Uefi => {
                // Copy 1 counts; where it is bad, copy 2.
                let files = "/boot/efi/grub-mender-grubenv/mender_grubenv";
                format!("sed -n 's/^{name}=//p' {files}1/env {files}2/env | head -n 1")
            }
        };
        self.machine.run(&command)
    }

    /// The system is up, whatever has happened before: has everything that was begun brought to
    /// its end, and checks that the device is in order and tells the truth. What it runs.
    ///
    /// # Errors
    /// When it is not in order, or never gets there.
    pub fn settle(&mut self, mut at: (Up, Release)) -> Result<(u32, Release)> {
        for _ in 0..MAX_BOOTS {
            let (_, answer) = self.machine.try_run("tandem resume")?;
            if answer.contains("reboot needed") {
                self.reboot()?;
                at = self.comes_up()?;
                continue;
            }
            if !answer.contains("no update in progress") {
                continue;
            }
            let (up, release) = at;
            let shown = self.machine.run("tandem show-artifact")?;
            ensure!(
                shown == release.name,
                "it runs {} and says that it is {shown:?}",
                release.name
            );
            let pending = self.variable("upgrade_available")?;
            // GRUB may have no copy left that says anything: it starts its default then.
            let silent = self.machine.board() == Board::Uefi && pending.is_empty();
            ensure!(
                pending == "0" || silent,
                "a trial is still pending: {pending}"
            );
            let next = self.variable("mender_boot_part")?;
            ensure!(
                next == up.part.to_string() || (silent && up.part == 2),
                "it runs from part {}, the next start is from part {next}",
                up.part
            );
            return Ok((up.part, release));
        }
        bail!("after {MAX_BOOTS} rounds there is still an update in progress")
    }

    /// The machine is up: checks that it is settled on this part with this release, and that the
    /// next update works.
    ///
    /// # Errors
    /// When that is not so.
    pub fn ends_with(&mut self, up: Up, part: u32, release: &Release) -> Result<()> {
        let (now, runs) = self.settle((up, release.clone()))?;
        ensure!(
            (now, &runs) == (part, release),
            "it settles on part {now} with {}, not on part {part} with {}",
            runs.name,
            release.name
        );
        self.next_update(part)
    }

    /// The machine runs from `part`: one more update, committed.
    ///
    /// # Errors
    /// When it does not work.
    pub fn next_update(&mut self, part: u32) -> Result<()> {
        let next = self.lab.release("release-next", Kind::Whole)?;
        self.update(part, &next).context("the next update")
    }

    /// The machine runs from `part`: an update to `release`, committed.
    ///
    /// # Errors
    /// When it does not work.
    pub fn update(&mut self, part: u32, release: &Release) -> Result<()> {
        self.install(release)?;
        self.reboot()?;
        let other = other(part);
        let up = self.comes_up_with(other, release)?;
        self.machine.run("tandem commit")?;
        let (part, runs) = self.settle((up, release.clone()))?;
        ensure!(
            part == other && runs == *release,
            "the commit does not stay"
        );
        Ok(())
    }
}

/// The root part that is not this one.
pub(crate) const fn other(part: u32) -> u32 {
    if part == 2 { 3 } else { 2 }
}
