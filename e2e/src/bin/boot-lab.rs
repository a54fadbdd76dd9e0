//! Plays what can become of an update on whole machines in QEMU.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Parser, Subcommand};
use tandem_e2e::vm::{
    Board, Kind, Lab, Scenario, Stage, Tally, Updates, Victim, await_end, deploy, enrol, scenarios,
};

/// Plays what can become of an update on whole machines: a boot loader, a kernel, Tandem
///
/// The machines are QEMU's, without hardware virtualisation; nothing needs root, but fetching a
/// kernel for another processor for the first time does.
#[derive(Parser)]
#[command(name = "boot-lab", after_help = EXAMPLES)]
struct Cli {
    /// The kind of machine: arm64 (U-Boot), x86 (U-Boot) or uefi (GRUB)
    #[arg(long, global = true, default_value = "arm64")]
    board: Board,
    /// Keep disks and consoles in this directory
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Play scenarios
    Scenarios {
        /// Only those with one of these words in their name
        words: Vec<String>,
        /// Only those that every check runs
        #[arg(long)]
        usual: bool,
        /// How many at the same time
        #[arg(short, long, default_value_t = 2)]
        jobs: usize,
        /// Only say what there is
        #[arg(long)]
        list: bool,
    },
    /// Show a device that is enrolled, updated over HTTPS, and comes back on the new release
    Show,
    /// Cut the power at random instants while machines update themselves
    Cuts {
        /// How many cuts
        #[arg(long, default_value_t = 300)]
        count: u32,
        /// What decides when: the same seed, the same instants
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Go on for so many hours instead of counting
        #[arg(long)]
        hours: Option<u64>,
        /// The longest time that the power stays on, in seconds: about one update
        #[arg(long, value_name = "SECONDS", default_value_t = 45)]
        longest: u64,
        /// How many machines at the same time
        #[arg(short, long, default_value_t = 2)]
        jobs: u32,
    },
}

const EXAMPLES: &str = "\
Examples:
  boot-lab scenarios                        all of them
  boot-lab scenarios commit --board uefi    those about commits, with GRUB
  boot-lab cuts --count 300 --seed 1        300 power cuts
  boot-lab cuts --hours 8                   as many as there is time for";

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            #[expect(clippy::print_stderr, reason = "this is where a program says why")]
            {
                eprintln!("boot-lab: {err:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let temporary = tempfile::tempdir().context("cannot make a temporary directory")?;
    let dir = cli.dir.as_deref().unwrap_or(temporary.path());
    match &cli.verb {
        Verb::Scenarios {
            words,
            usual,
            jobs,
            list,
        } => {
            let chosen: Vec<Scenario> = scenarios()
                .into_iter()
                .filter(|scenario| scenario.is_for(cli.board) && (scenario.usual || !usual))
                .filter(|scenario| {
                    words.is_empty() || words.iter().any(|word| scenario.name.contains(&**word))
                })
                .collect();
            if *list {
                for scenario in chosen {
                    writeln!(stdout(), "{}", scenario.name)?;
                }
                return Ok(());
            }
            play_all(cli.board, dir, &chosen, *jobs)
        }
        Verb::Show => show(cli.board, dir),
        Verb::Cuts {
            count,
            seed,
            hours,
            longest,
            jobs,
        } => {
            let end = match hours {
                Some(hours) => End::At(
                    Instant::now()
                        .checked_add(Duration::from_secs(hours.saturating_mul(3600)))
                        .context("that is too long")?,
                ),
                None => End::After(*count),
            };
            let longest = Duration::from_secs(*longest);
            cut(
                &Lab::new(cli.board, dir, Updates::ByHand)?,
                *seed,
                &end,
                longest,
                *jobs,
            )
        }
    }
}

/// Those without the server at the same time; those with it each with a server of its own.
fn play_all(board: Board, dir: &Path, scenarios: &[Scenario], jobs: usize) -> Result<()> {
    let (managed, by_hand): (Vec<Scenario>, Vec<Scenario>) =
        scenarios.iter().partition(|scenario| scenario.managed);
    let mut failed = Vec::new();
    if !by_hand.is_empty() {
        let lab = Lab::new(board, &dir.join("by-hand"), Updates::ByHand)?;
        failed = play(&lab, &by_hand, jobs);
    }
    for scenario in managed {
        let lab = Lab::new(board, &dir.join(scenario.name), Updates::FromServer)?;
        failed.extend(play(&lab, &[scenario], 1));
    }
    let passed = scenarios.len().saturating_sub(failed.len());
    writeln!(stdout(), "{passed} passed, {} failed", failed.len())?;
    ensure!(
        failed.is_empty(),
        "these failed: {}; with --dir DIR the consoles of their machines are kept there",
        failed.join(", ")
    );
    Ok(())
}

/// Plays them, some at the same time, and says what came of each. Those that failed.
fn play(lab: &Lab, scenarios: &[Scenario], jobs: usize) -> Vec<&'static str> {
    let board = lab.board();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = Instant::now();
                    let (boots, outcome) = perform(lab, scenario);
                    let time = start.elapsed().as_secs();
                    let word = if outcome.is_ok() { "ok    " } else { "FAILED" };
                    let mut line = format!(
                        "{word} {board} {}: {} starts, {time} s",
                        scenario.name, boots
                    );
                    if let Err(err) = outcome {
                        line.push_str(&format!("\n       {err:#}"));
                        failed
                            .lock()
                            .map(|mut failed| failed.push(scenario.name))
                            .ok();
                    }
                    // The report is for people; whether they read it changes nothing.
                    drop(writeln!(stdout(), "{line}"));
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// One scenario: how often its machine came up, and whether all was as it must be.
fn perform(lab: &Lab, scenario: &Scenario) -> (usize, Result<()>) {
    match Stage::new(lab, scenario.name) {
        Ok(mut stage) => {
            let outcome = scenario.play(&mut stage);
            (stage.boots.len(), outcome)
        }
        Err(err) => (0, Err(err)),
    }
}

/// When it is enough.
enum End {
    At(Instant),
    After(u32),
}

/// Machines that suffer until `end`; says what came of it every ten cuts.
fn cut(lab: &Lab, seed: u64, end: &End, longest: Duration, jobs: u32) -> Result<()> {
    let total = Mutex::new((Tally::default(), 0_u32));
    let start = Instant::now();
    let is_over = |begun: u32| match end {
        End::At(end) => Instant::now() >= *end,
        End::After(count) => begun >= *count,
    };
    // Whether there is another cut to be made; it counts as begun.
    let another = || {
        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
        let goes_on = !is_over(total.1);
        total.1 = total.1.saturating_add(u32::from(goes_on));
        goes_on
    };
    let suffer = |number: u32| -> Result<()> {
        let stage = Stage::new(lab, &format!("victim-{number}"))?;
        let mut victim = Victim::new(stage, seed.wrapping_add(number.into()), longest);
        while another() {
            let outcome = victim.live()?;
            let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
            total.0.add(&outcome);
            if total.0.all_cuts() % 10 == 0 {
                let time = start.elapsed().as_secs();
                writeln!(stdout(), "{:5} s  {}", time, total.0)?;
            }
        }
        victim.retire()
    };
    let outcomes: Vec<Result<()>> = thread::scope(|scope| {
        let suffer = &suffer;
        let victims: Vec<_> = (0..jobs.max(1))
            .map(|number| {
                scope.spawn(move || {
                    suffer(number).with_context(|| format!("the machine victim-{number}"))
                })
            })
            .collect();
        let ends = victims.into_iter().map(|victim| match victim.join() {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow!("a machine's driver has crashed")),
        });
        ends.collect()
    });
    let total = total.into_inner().unwrap_or_else(PoisonError::into_inner).0;
    let lost = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    writeln!(
        stdout(),
        "{}, seed {seed}, {} s: {total}; {lost} of {jobs} devices lost",
        lab.board(),
        start.elapsed().as_secs()
    )?;
    outcomes.into_iter().collect()
}

/// A device's first update, with its console.
fn show(board: Board, dir: &Path) -> Result<()> {
    let say = |words: &str| writeln!(stdout(), "\n== {words}");
    say("a disk image, two releases and a server; the first time they have to be built")?;
    let lab = Lab::new(board, dir, Updates::FromServer)?;
    let mut stage = Stage::new(&lab, "device")?;
    stage.machine.show();
    let first = stage.first()?;
    let second = lab.release("release-2", Kind::Whole)?;
    say("power on: the boot loader starts root part 2")?;
    stage.start_with(2, &first)?;
    say("the device knocks at the server, and is let in")?;
    enrol(&mut stage)?;
    say("release-2 is deployed to all devices")?;
    deploy(&mut stage, &second)?;
    let up = stage.comes_up_with(3, &second)?;
    say(&format!(
        "the device is back on {} from root part {}",
        up.release, up.part
    ))?;
    await_end(&mut stage, &second, "success")?;
    say("the server knows:")?;
    let fleet = lab.fleet().context("there is a server")?;
    writeln!(stdout(), "{}", fleet.admin(&["deployment", "list"])?)?;
    writeln!(stdout(), "{}", fleet.admin(&["device", "list"])?)?;
    Ok(())
}
