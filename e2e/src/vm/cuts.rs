//! Power cuts at instants that only chance knows, through whole update cycles, for as long as one
//! likes.
//!
//! A machine is switched on, brings what was begun to its end, and updates itself for ever, from
//! one release to the other and back, until the power goes. Then the same again, on the same disk.
//! After every cut a copy of the boot environment must be whole; the next start must reach a whole
//! system within its time limit, and that must get to an end with what was begun.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::board::Board;
use super::dice::Dice;
use super::lab::Kind;
use super::stage::{Stage, other};

/// What a machine was at when the power went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Boot loader, kernel, init.
    Starting,
    /// Finding out what was begun, and ending it; a commit or a rollback among others.
    Resuming,
    /// Download and installation.
    Installing,
    /// Going down, and starting the new release on trial.
    Trying,
    /// The commit.
    Committing,
}

/// What has happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often the power was cut, by what the machine was at.
    pub cuts: BTreeMap<Phase, u32>,
    /// How often a system was up.
    pub starts: u32,
    /// Updates that were committed.
    pub committed: u32,
    /// Installed updates whose trial the power cut ended: the release before was back.
    pub fell_back: u32,
}

impl Tally {
    /// All cuts.
    #[must_use]
    pub fn all_cuts(&self) -> u32 {
        self.cuts.values().sum()
    }

    /// Adds what another machine went through.
    pub fn add(&mut self, more: &Tally) {
        for (&phase, &count) in &more.cuts {
            let cuts = self.cuts.entry(phase).or_default();
            *cuts = cuts.saturating_add(count);
        }
        self.starts = self.starts.saturating_add(more.starts);
        self.committed = self.committed.saturating_add(more.committed);
        self.fell_back = self.fell_back.saturating_add(more.fell_back);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cuts (", self.all_cuts())?;
        for (index, (phase, count)) in self.cuts.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{phase:?} {count}")?;
        }
        write!(
            f,
            "), {} starts, {} updates committed, {} fallen back",
            self.starts, self.committed, self.fell_back
        )
    }
}

/// A machine that suffers power cuts.
pub struct Victim<'a> {
    stage: Stage<'a>,
    dice: Dice,
    longest: Duration,
    phase: Phase,
    /// The release that was last seen settled.
    last: Option<String>,
    /// Another one has been installed since.
    tried: bool,
    tally: Tally,
}

impl<'a> Victim<'a> {
    /// A machine that is off. `seed` decides when the power goes: at most `longest` after it came.
    #[must_use]
    pub fn new(stage: Stage<'a>, seed: u64, longest: Duration) -> Victim<'a> {
        Victim {
            stage,
            dice: Dice::new(seed),
            longest,
            phase: Phase::Starting,
            last: None,
            tried: false,
            tally: Tally::default(),
        }
    }

    /// Switches it on, has it update itself, and cuts the power. What has happened in this time.
    ///
    /// # Errors
    /// When anything else happens than the power cut.
    pub fn live(&mut self) -> Result<Tally> {
        self.tally = Tally::default();
        let longest = u64::try_from(self.longest.as_millis())?;
        let time = Duration::from_millis(self.dice.below(longest));
        self.stage.machine.start()?;
        self.stage.machine.cut_after(time)?;
        let outcome = self.update_for_ever();
        if !self.stage.machine.is_off() {
            return Err(outcome.err().context("it does not end")?)
                .with_context(|| format!("{:?}, power on for {time:?} at most", self.phase));
        }
        let cuts = self.tally.cuts.entry(self.phase).or_default();
        *cuts = cuts.saturating_add(1);
        if self.stage.machine.board() != Board::Uefi {
            let copies = self.stage.machine.disk().environment()?;
            ensure!(
                copies.iter().any(|copy| copy.variables.is_some()),
                "after a cut in {:?} no copy of the environment is whole",
                self.phase
            );
        }
        Ok(std::mem::take(&mut self.tally))
    }

    /// Spares it further cuts: it has to come up, settle, and update itself once more.
    ///
    /// # Errors
    /// When it does not.
    pub fn retire(mut self) -> Result<()> {
        self.stage.machine.start()?;
        let at = self.stage.comes_up()?;
        let (part, _) = self.stage.settle(at)?;
        self.stage.next_update(part)
    }

    fn update_for_ever(&mut self) -> Result<()> {
        self.phase = Phase::Starting;
        let mut at = self.stage.comes_up()?;
        self.tally.starts = self.tally.starts.saturating_add(1);
        loop {
            self.phase = Phase::Resuming;
            let (part, runs) = self.stage.settle(at)?;
            match &self.last {
                Some(last) if *last != runs.name => {
                    self.tally.committed = self.tally.committed.saturating_add(1);
                }
                Some(_) if self.tried => {
                    self.tally.fell_back = self.tally.fell_back.saturating_add(1);
                }
                Some(_) | None => {}
            }
            self.last = Some(runs.name.clone());
            self.tried = false;

            self.phase = Phase::Installing;
            let first = self.stage.first()?;
            let next = match runs == first {
                true => self.stage.lab.release("release-2", Kind::Whole)?,
                false => first,
            };
            self.stage.install(&next)?;
            self.tried = true;

            self.phase = Phase::Trying;
            self.stage.reboot()?;
            let up = self.stage.comes_up_with(other(part), &next)?;
            self.tally.starts = self.tally.starts.saturating_add(1);

            self.phase = Phase::Committing;
            self.stage.machine.run("tandem commit")?;
            at = (up, next);
        }
    }
}
