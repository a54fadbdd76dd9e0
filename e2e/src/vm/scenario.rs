//! What can become of an update on a whole machine. Behind every scenario the boot loader has
//! started a whole system, the agent says truthfully which, and the next update works.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::board::Board;
use super::dice::Dice;
use super::lab::Kind;
use super::managed::MANAGED;
use super::stage::{PATIENCE, Stage};
use crate::faulty::Fault;

/// One of them.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name, a sentence.
    pub name: &'static str,
    /// Among those that every check runs.
    pub usual: bool,
    /// With the real server.
    pub managed: bool,
    play: fn(&mut Stage) -> Result<()>,
    on: fn(Board) -> bool,
}

impl Scenario {
    /// Plays it.
    ///
    /// # Errors
    /// When the device does not do what it should.
    pub fn play(&self, stage: &mut Stage) -> Result<()> {
        (self.play)(stage)
    }

    /// Whether it makes sense on this board.
    #[must_use]
    pub fn is_for(&self, board: Board) -> bool {
        (self.on)(board)
    }
}

const fn scenario(name: &'static str, play: fn(&mut Stage) -> Result<()>) -> Scenario {
    Scenario {
        name,
        usual: false,
        managed: false,
        play,
        on: |_| true,
    }
}

impl Scenario {
    pub(super) const fn managed(
        name: &'static str,
        play: fn(&mut Stage) -> Result<()>,
    ) -> Scenario {
        let mut made = scenario(name, play);
        made.managed = true;
        made
    }

    const fn usual(mut self) -> Scenario {
        self.usual = true;
        self
    }

    /// For boards whose environment lies in U-Boot's two copies.
    const fn uboot(mut self) -> Scenario {
        self.on = |board| board != Board::Uefi;
        self
    }

    /// For boards whose environment lies in GRUB's two copies.
    const fn grub(mut self) -> Scenario {
        self.on = |board| board == Board::Uefi;
        self
    }
}

/// All of them.
#[must_use]
pub fn scenarios() -> Vec<Scenario> {
    BY_HAND.into_iter().chain(MANAGED).collect()
}

/// Those without the real server.
const BY_HAND: [Scenario; 27] = [
    scenario("a_committed_update_stays", committed).usual(),
    scenario("an_update_without_commit_falls_back", not_committed).usual(),
    scenario("a_kernel_panic_falls_back", |stage| {
        comes_to_nothing(stage, Kind::Panics)
    })
    .usual(),
    scenario("a_hanging_system_is_reset_by_the_watchdog", |stage| {
        comes_to_nothing(stage, Kind::Hangs)
    }),
    scenario("a_root_without_kernel_falls_back", |stage| {
        comes_to_nothing(stage, Kind::NoKernel)
    }),
    scenario("an_erased_root_falls_back", erased),
    scenario("a_failing_health_check_rolls_back", unwell).usual(),
    scenario("an_update_after_a_rollback_works", rolled_back_by_hand),
    scenario("an_older_release_can_be_installed", downgrade),
    scenario("with_copy_0_bad_the_other_is_used", |stage| {
        copy_bad(stage, 0)
    })
    .uboot(),
    scenario("with_copy_1_bad_the_other_is_used", |stage| {
        copy_bad(stage, 1)
    })
    .uboot(),
    scenario(
        "an_armed_trial_whose_copy_is_lost_does_not_start",
        armed_copy_lost,
    )
    .uboot(),
    scenario("with_both_copies_bad_the_default_starts", both_bad).uboot(),
    scenario("the_number_of_a_copy_wraps_around", wraps).uboot(),
    scenario("with_copy_1_bad_grub_uses_the_other", |stage| {
        grub_copy_bad(stage, 1)
    })
    .grub(),
    scenario("with_copy_2_bad_grub_uses_the_other", |stage| {
        grub_copy_bad(stage, 2)
    })
    .grub(),
    scenario("with_both_copies_bad_grub_starts_the_default", |stage| {
        let first = stage.first()?;
        for copy in [1, 2] {
            stage.machine.disk().spoil_grub_environment(copy)?;
        }
        let up = stage.start_with(2, &first)?;
        // GRUB cannot repair a file; the next update does.
        stage.ends_with(up, 2, &first)
    })
    .grub(),
    scenario("power_cut_in_the_download", cut_in_download).usual(),
    scenario("power_cut_before_the_boot_loader_is_told", |stage| {
        cut_while_installing(stage, "ArtifactInstall_Enter", 2)
    }),
    scenario("power_cut_after_the_boot_loader_is_told", |stage| {
        cut_while_installing(stage, "ArtifactInstall_Leave", 3)
    }),
    scenario("power_cut_between_install_and_reboot", cut_before_reboot),
    scenario(
        "power_cut_while_linux_writes_the_environment",
        cut_in_linux_save,
    )
    .uboot(),
    scenario(
        "power_cut_while_the_boot_loader_counts",
        cut_in_boot_loader_save,
    ),
    scenario("power_cut_in_the_trial", cut_in_trial),
    scenario("power_cut_before_the_commit", |stage| {
        cut_while_deciding(stage, "commit", "ArtifactCommit_Enter", 2)
    }),
    scenario("power_cut_after_the_commit", |stage| {
        cut_while_deciding(stage, "commit", "ArtifactCommit_Leave", 3)
    }),
    scenario("power_cut_in_the_rollback", |stage| {
        cut_while_deciding(stage, "rollback", "ArtifactRollback_Enter", 2)
    }),
];

fn committed(stage: &mut Stage) -> Result<()> {
    let second = stage.lab.release("release-2", Kind::Whole)?;
    let first = stage.first()?;
    stage.start_with(2, &first)?;
    stage.update(2, &second)?;
    stage.reboot()?;
    let up = stage.comes_up_with(3, &second)?;
    stage.ends_with(up, 3, &second)
}

fn not_committed(stage: &mut Stage) -> Result<()> {
    let (first, second) = (stage.first()?, stage.lab.release("release-2", Kind::Whole)?);
    stage.try_out(&second)?;
    stage.comes_up_with(3, &second)?;
    stage.reboot()?;
    let up = stage.comes_up_with(2, &first)?;
    stage.ends_with(up, 2, &first)
}

/// A release that never gets as far as to be up: the boot loader goes back by itself.
fn comes_to_nothing(stage: &mut Stage, kind: Kind) -> Result<()> {
    let (first, bad) = (stage.first()?, stage.lab.release("release-bad", kind)?);
    stage.try_out(&bad)?;
    let up = stage.comes_up_with(2, &first)?;
    ensure!(
        up.boot.iter().any(|line| line.contains("booting part 3")),
        "it was never tried: {:?}",
        up.boot
    );
    stage.ends_with(up, 2, &first)
}

fn erased(stage: &mut Stage) -> Result<()> {
    let (first, second) = (stage.first()?, stage.lab.release("release-2", Kind::Whole)?);
    stage.start_with(2, &first)?;
    stage.install(&second)?;
    stage.machine.cut();
    let part = stage.machine.disk().layout().root_b;
    stage.machine.disk().erase(part)?;
    let up = stage.start_with(2, &first)?;
    stage.ends_with(up, 2, &first)
}

fn unwell(stage: &mut Stage) -> Result<()> {
    let (first, bad) = (
        stage.first()?,
        stage.lab.release("release-unwell", Kind::Unwell)?,
    );
    stage.try_out(&bad)?;
    stage.comes_up_with(3, &bad)?;
    let (code, answer) = stage.machine.try_run("tandem commit")?;
    ensure!(
        code == 1 && answer.contains("rolled back") && answer.contains("reboot needed"),
        "the commit should fail: {answer}"
    );
    stage.reboot()?;
    let up = stage.comes_up_with(2, &first)?;
    stage.ends_with(up, 2, &first)
}

fn rolled_back_by_hand(stage: &mut Stage) -> Result<()> {
    let (first, second) = (stage.first()?, stage.lab.release("release-2", Kind::Whole)?);
    stage.try_out(&second)?;
    stage.comes_up_with(3, &second)?;
    stage.machine.run("tandem rollback")?;
    stage.reboot()?;
    let up = stage.comes_up_with(2, &first)?;
    stage.ends_with(up, 2, &first)
}

fn downgrade(stage: &mut Stage) -> Result<()> {
    let (first, second) = (stage.first()?, stage.lab.release("release-2", Kind::Whole)?);
    stage.start_with(2, &first)?;
    stage.update(2, &second)?;
    stage.update(3, &first)
}

/// With the second release committed: either copy alone says so, once it has been saved twice.
fn copy_bad(stage: &mut Stage, copy: usize) -> Result<()> {
    let (first, second) = (stage.first()?, stage.lab.release("release-2", Kind::Whole)?);
    stage.start_with(2, &first)?;
    stage.update(2, &second)?;
    stage
        .machine
        .run("fw_setenv note 1; fw_setenv note 2; sync")?;
    stage.machine.cut();
    stage.machine.disk().spoil_environment(copy)?;
    let up = stage.start_with(3, &second)?;
    stage.machine.run("fw_setenv note 3; sync")?;
    let copies = stage.machine.disk().environment()?;
    ensure!(
        copies.iter().all(|copy| copy.variables.is_some()),
        "the next write should mend the bad copy: {copies:?}"
    );
    stage.ends_with(up, 3, &second)
}

/// The copy that arms the trial is lost before the trial: the older one counts, and knows of none.
fn armed_copy_lost(stage: &mut Stage) -> Result<()> {
    let (first, second) = (stage.first()?, stage.lab.release("release-2", Kind::Whole)?);
    stage.start_with(2, &first)?;
    stage.install(&second)?;
    stage.machine.cut();
    let copies = stage.machine.disk().environment()?;
    let armed = copies
        .iter()
        .position(|copy| copy.get("upgrade_available") == Some("1"));
    ensure!(armed.is_some(), "no copy arms the trial: {copies:?}");
    stage.machine.disk().spoil_environment(armed.unwrap_or(0))?;
    let up = stage.start_with(2, &first)?;
    stage.ends_with(up, 2, &first)
}

fn both_bad(stage: &mut Stage) -> Result<()> {
    let first = stage.first()?;
    for copy in [0, 1] {
        stage.machine.disk().spoil_environment(copy)?;
    }
    let up = stage.start_with(2, &first)?;
    stage.ends_with(up, 2, &first)
}

/// With the second release committed: either copy says so. The next update mends the bad one.
fn grub_copy_bad(stage: &mut Stage, copy: u8) -> Result<()> {
    let (first, second) = (stage.first()?, stage.lab.release("release-2", Kind::Whole)?);
    stage.start_with(2, &first)?;
    stage.update(2, &second)?;
    stage.machine.run("sync")?;
    stage.machine.cut();
    stage.machine.disk().spoil_grub_environment(copy)?;
    let up = stage.start_with(3, &second)?;
    stage.ends_with(up, 3, &second)
}

/// Linux writes 255, U-Boot 0, Linux 1.
fn wraps(stage: &mut Stage) -> Result<()> {
    let (first, second) = (stage.first()?, stage.lab.release("release-2", Kind::Whole)?);
    stage.start_with(2, &first)?;
    stage.machine.run("sync")?;
    stage.machine.cut();
    let copies = stage.machine.disk().environment()?;
    let newer = usize::from(copies[1].number > copies[0].number);
    stage.machine.disk().number_environment(newer, 254)?;
    stage
        .machine
        .disk()
        .number_environment(usize::from(newer == 0), 253)?;
    stage.start_with(2, &first)?;
    stage.install(&second)?;
    stage.reboot()?;
    let up = stage.comes_up_with(3, &second)?;
    let numbers = stage.machine.disk().environment()?.map(|copy| copy.number);
    ensure!(
        numbers.contains(&255) && numbers.contains(&0),
        "the numbers should be 255 and 0: {numbers:?}"
    );
    stage.machine.run("tandem commit")?;
    stage.ends_with(up, 3, &second)
}

fn cut_in_download(stage: &mut Stage) -> Result<()> {
    let (first, second) = (
        stage.first()?,
        stage.lab.release("release-slow", Kind::Whole)?,
    );
    stage.start_with(2, &first)?;
    let silence = Duration::from_secs(600);
    stage
        .lab
        .spoil_download(&second, Fault::Stall(9 << 20, silence));
    stage.machine.say(&format!(
        "tandem --log-level debug install {} 2>&1",
        second.address()
    ))?;
    stage.machine.wait_for("writing rootfs.ext4", PATIENCE)?;
    // What has come is written by then; the rest never comes.
    stage.machine.cut_after(Duration::from_secs(4))?;
    drop(stage.machine.wait_for("installed", PATIENCE));
    ensure!(stage.machine.is_off(), "the download should not have ended");
    let up = stage.start_with(2, &first)?;
    stage.ends_with(up, 2, &first)
}

/// A cut in the scripts around the step that arms the trial. Before it nothing has happened; behind
/// it the boot loader tries the release, and a person may commit it.
fn cut_while_installing(stage: &mut Stage, state: &str, part: u32) -> Result<()> {
    let (first, second) = (
        stage.first()?,
        stage.lab.release("release-holds", Kind::Holds)?,
    );
    stage.start_with(2, &first)?;
    stage.cut_in(state, &format!("tandem install {}", second.address()))?;
    let runs = if part == 2 { &first } else { &second };
    let up = stage.start_with(part, runs)?;
    // What was interrupted in the middle of the installation is undone.
    let settled = stage.settle((up, runs.clone()))?;
    ensure!(settled == (2, first), "it settles on {settled:?}");
    stage.next_update(2)
}

fn cut_before_reboot(stage: &mut Stage) -> Result<()> {
    let (first, second) = (stage.first()?, stage.lab.release("release-2", Kind::Whole)?);
    stage.start_with(2, &first)?;
    stage.install(&second)?;
    stage.machine.cut();
    let up = stage.start_with(3, &second)?;
    stage.machine.run("tandem commit")?;
    stage.ends_with(up, 3, &second)
}

/// Cuts at instants that only the seed knows, while Linux writes the environment all the time.
fn cut_in_linux_save(stage: &mut Stage) -> Result<()> {
    let first = stage.first()?;
    let mut dice = Dice::new(7);
    for _ in 0..4 {
        stage.start_with(2, &first)?;
        stage
            .machine
            .say("i=0; while :; do i=$((i+1)); fw_setenv note $i; done")?;
        let time = Duration::from_millis(dice.below(900).saturating_add(200));
        stage.machine.cut_after(time)?;
        drop(stage.machine.wait_for("nothing", PATIENCE));
        let copies = stage.machine.disk().environment()?;
        ensure!(
            copies.iter().any(|copy| copy.variables.is_some()),
            "no copy is whole: {copies:?}"
        );
    }
    let up = stage.start_with(2, &first)?;
    stage.ends_with(up, 2, &first)
}

/// Cuts before, in and behind the write with which the boot loader counts the trial.
fn cut_in_boot_loader_save(stage: &mut Stage) -> Result<()> {
    let (first, second) = (stage.first()?, stage.lab.release("release-2", Kind::Whole)?);
    stage.try_out(&second)?;
    let limit = stage.machine.board().boot_limit();
    stage.machine.wait_for("tandem: saving", limit)?;
    stage.machine.cut();
    stage.machine.start()?;
    // The count may or may not have got onto the disk: the trial goes ahead, or is over.
    let (up, runs) = stage.comes_up()?;
    if up.part == 3 {
        stage.machine.run("tandem commit")?;
    }
    let part = up.part;
    ensure!(part == 3 || runs == first, "it runs {}", runs.name);
    stage.ends_with(up, part, &runs)
}

fn cut_in_trial(stage: &mut Stage) -> Result<()> {
    let (first, second) = (stage.first()?, stage.lab.release("release-2", Kind::Whole)?);
    stage.try_out(&second)?;
    let limit = stage.machine.board().boot_limit();
    stage.machine.wait_for("tandem: booting part 3", limit)?;
    stage.machine.cut();
    let up = stage.start_with(2, &first)?;
    stage.ends_with(up, 2, &first)
}

/// A cut in the scripts around a decision: until it is made the boot loader goes back.
fn cut_while_deciding(stage: &mut Stage, verb: &str, state: &str, part: u32) -> Result<()> {
    let (first, second) = (
        stage.first()?,
        stage.lab.release("release-holds", Kind::Holds)?,
    );
    stage.try_out(&second)?;
    stage.comes_up_with(3, &second)?;
    stage.cut_in(state, &format!("tandem {verb}"))?;
    let runs = if part == 2 { first } else { second };
    let up = stage.start_with(part, &runs)?;
    stage.ends_with(up, part, &runs)
}
