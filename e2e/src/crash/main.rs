//! `crash`: every crash point of a whole update.
//!
//! ```text
//! scene, story, recorder, fuse   a real update on block devices whose every write is recorded
//! log, cuts, phase               what a power cut may leave, and what may be found; pure
//! verdict                        the power comes back: boot loader, file system, agent
//! environment                    the programs that write the boot environment, compared
//! peer, contest, machine, entry  whole updates by other programs, compared
//! ```

mod cli;
mod contest;
mod cuts;
mod entry;
mod environment;
mod fuse;
mod log;
mod machine;
mod peer;
mod phase;
mod random;
mod recorder;
mod scene;
mod story;
mod tool;
mod verdict;

use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use tandem_e2e::{leave_mounts, program};

use cli::{Cli, Verb};
use cuts::{Cut, each_cut};
use log::Log;
use scene::{MOUNT_OPTIONS, Scene};
use story::Story;
use verdict::Bench;

/// So many violations are told in full.
const TOLD: usize = 5;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(err) => {
            let _ = writeln!(stderr(), "crash: {err:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether there was no violation.
fn run(cli: &Cli) -> Result<bool> {
    if let Some(Verb::Inside(entry)) = &cli.verb {
        return Err(entry.run());
    }
    leave_mounts().context("cannot get a mount namespace (this needs root)")?;
    let work = tempfile::Builder::new()
        .prefix("tandem-crash.")
        .tempdir_in(&cli.work)?;
    if cli.environment {
        environment::compare(work.path(), cli.seed, &mut stdout())?;
        return Ok(true);
    }
    if !cli.peers.is_empty() {
        contest::compare(cli, work.path(), &mut stdout())?;
        return Ok(true);
    }
    let agent = match &cli.tandem {
        Some(agent) => std::fs::canonicalize(agent)?,
        None => program("tandem")?,
    };
    let scene = Scene::create(&work.path().join("scene"), &agent)?;
    let stories = match cli.stories.as_slice() {
        [] => &Story::ALL,
        some => some,
    };
    let begun = Instant::now();
    let mut total = Tally::default();
    for option in MOUNT_OPTIONS {
        if cli
            .mount_option
            .as_deref()
            .is_some_and(|only| only != option)
        {
            continue;
        }
        for story in stories {
            let dir = work.path().join(format!("{story:?}-{option}"));
            let log = story
                .record(&scene, &dir, option)
                .with_context(|| format!("cannot record {story:?} with {option}"))?;
            let tally = replay(&log, &scene, option, work.path(), cli)?;
            let (writes, flushes) = log.counts();
            writeln!(
                stdout(),
                "{:<9} {option:<16} {writes:4} writes {flushes:4} flushes {:5} crash images {:3} violations",
                format!("{story:?}"),
                tally.images,
                tally.violations
            )?;
            total.images = total.images.saturating_add(tally.images);
            total.violations = total.violations.saturating_add(tally.violations);
            if cli.first && total.violations > 0 {
                return Ok(false);
            }
        }
    }
    ensure!(total.images > 0, "nothing was tried");
    writeln!(
        stdout(),
        "{} crash images, {} violations, seed {}, {} s",
        total.images,
        total.violations,
        cli.seed,
        begun.elapsed().as_secs()
    )?;
    Ok(total.violations == 0)
}

/// What came of trying.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    images: usize,
    violations: usize,
}

/// Tries the cuts of a recording, on several devices side by side.
fn replay(log: &Log, scene: &Scene, option: &str, work: &Path, cli: &Cli) -> Result<Tally> {
    let (images, violations) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let enough = AtomicBool::new(false);
    let (send, receive) = sync_channel::<(usize, Cut)>(1);
    let receive = Mutex::new(receive);
    let next = || {
        let receive = receive.lock().unwrap_or_else(PoisonError::into_inner);
        receive.recv().ok()
    };
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for job in 0..cli.jobs.max(1) {
            let bench = Bench::new(scene, work.join(format!("bench-{job}")))?;
            let (images, violations, enough) = (&images, &violations, &enough);
            workers.push(scope.spawn(move || {
                while let Some((number, cut)) = next() {
                    if enough.load(Ordering::Relaxed) {
                        continue;
                    }
                    images.fetch_add(1, Ordering::Relaxed);
                    let again = number.checked_rem(cli.next_update) == Some(0);
                    if let Err(err) = bench.check(&cut, option, again) {
                        if violations.fetch_add(1, Ordering::Relaxed) < TOLD {
                            let _ = writeln!(stdout(), "VIOLATION {option}, {}: {err:#}", cut.name);
                        }
                        enough.fetch_or(cli.first, Ordering::Relaxed);
                    }
                }
            }));
        }
        let mut number: usize = 0;
        each_cut(log, cli.draws(), cli.seed, |cut| {
            if !cli.phases.is_empty() && !cli.phases.contains(&cut.phase) {
                return true;
            }
            number = number.saturating_add(1);
            let wanted = number.checked_rem(cli.every.max(1)) == Some(0);
            !wanted || (!enough.load(Ordering::Relaxed) && send.send((number, cut)).is_ok())
        });
        drop(send);
        for worker in workers {
            ensure!(worker.join().is_ok(), "a worker failed");
        }
        Ok(())
    })?;
    Ok(Tally {
        images: images.into_inner(),
        violations: violations.into_inner(),
    })
}
