//! The programs that write the boot environment, beside each other: ours and libubootenv's. Each
//! changes four variables in one call, on a block device; then the power is cut at every point.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tandem_e2e::{installed, program};
use tandem_uboot_env::{Config, Env, Store};

use crate::cuts::{Caches, Draws, each_cut};
use crate::log::{Log, Media};
use crate::phase::Phase;
use crate::recorder::{Hold, Recorder};
use crate::scene::keep;

const SIZE: usize = 0x4000;
const DRAWS: Draws = Draws {
    subsets: 60,
    tears: 60,
    caches: Caches::Each,
};
/// Bytes of media that nobody uses here.
const UNUSED: usize = 4096;

/// What the cuts left.
#[derive(Clone, Copy, Debug, Default)]
struct Outcomes {
    images: usize,
    /// Not a copy is good: the boot loader's defaults count.
    lost: usize,
    /// Neither the old nor the new variables, or the old ones although the program had said that
    /// the new ones are stored.
    wrong: usize,
}

/// Prints a table of what each program's cuts left.
pub(crate) fn compare(work: &Path, seed: u64, out: &mut impl Write) -> Result<()> {
    let ours = program("fw_setenv")?;
    let mut programs = vec![("tandem", ours)];
    if installed("fw_setenv")? {
        programs.push(("libubootenv", "fw_setenv".into()));
    }
    for (name, setenv) in programs {
        for copies in [2, 1] {
            let dir = work.join(format!("{name}-{copies}"));
            let log = record(&setenv, copies, &dir)?;
            let (writes, flushes) = log.counts();
            let Outcomes {
                images,
                lost,
                wrong,
            } = replay(&log, copies, &dir, seed)?;
            writeln!(
                out,
                "{name:<12} copies {copies}: {writes:2} writes {flushes} flushes {images:5} crash images {lost:4} lost {wrong:4} wrong",
            )?;
        }
    }
    Ok(())
}

/// A call of the program, recorded.
fn record(setenv: &Path, copies: usize, dir: &Path) -> Result<Log> {
    std::fs::create_dir_all(dir.join("disk"))?;
    let config = dir.join("fw_env.config");
    let path = dir.join("disk/environment").display().to_string();
    let lines: String = [0, SIZE]
        .iter()
        .take(copies)
        .map(|offset| format!("{path} {offset:#x} {SIZE:#x}\n"))
        .collect();
    keep(&config, lines.as_bytes())?;
    keep(&dir.join("disk/environment"), &vec![0; 2 * SIZE])?;
    let store = Store::new(Config::load(&config)?);
    for _ in 0..2 {
        // Both copies, as two saves leave them.
        store.write(&store.lock()?, &variables(false)?)?;
    }
    let before: Media = [
        std::fs::read(dir.join("disk/environment"))?,
        vec![0; UNUSED],
        vec![0; UNUSED],
        vec![0; UNUSED],
    ];
    let recorder = Recorder::start(dir, before, Hold::Open)?;
    recorder.mark(Phase::Installing);
    let mut child = Command::new(setenv)
        .arg("-c")
        .arg(&config)
        .args(["-s", "-"])
        .stdin(Stdio::piped())
        .spawn()?;
    let mut script = child.stdin.take().context("the program has an input")?;
    for (name, value) in variables(true)?.iter() {
        let text = [name, b"=", value, b"\n"].concat();
        script.write_all(&text)?;
    }
    drop(script);
    ensure!(child.wait()?.success(), "{} fails", setenv.display());
    recorder.mark(Phase::Installed);
    recorder.stop()
}

fn replay(log: &Log, copies: usize, dir: &Path, seed: u64) -> Result<Outcomes> {
    let mut outcomes = Outcomes::default();
    let (old, new) = (variables(false)?, variables(true)?);
    let place = dir.join("disk/environment");
    std::fs::remove_file(&place)?;
    let store = Store::new(Config::load(&dir.join("fw_env.config"))?);
    let mut failed = None;
    each_cut(log, DRAWS, seed, |cut| {
        let [environment, ..] = &cut.media;
        let found = keep(&place, environment).and_then(|()| Ok(store.read()?.env));
        outcomes.images = outcomes.images.saturating_add(1);
        match found {
            Ok(None) => outcomes.lost = outcomes.lost.saturating_add(1),
            Ok(Some(env)) if same(&env, &new) => {}
            Ok(Some(env)) if same(&env, &old) && cut.phase == Phase::Installing => {}
            Ok(Some(_)) => outcomes.wrong = outcomes.wrong.saturating_add(1),
            Err(err) => failed = Some(err),
        }
        failed.is_none()
    });
    match failed {
        Some(err) => Err(err).with_context(|| format!("with {copies} copies")),
        None => Ok(outcomes),
    }
}

/// Whether the variables are the same; their order may differ.
fn same(one: &Env, other: &Env) -> bool {
    let sorted = |env: &Env| {
        let variables = env
            .iter()
            .map(|(name, value)| (name.to_vec(), value.to_vec()));
        variables.collect::<BTreeMap<_, _>>()
    };
    sorted(one) == sorted(other)
}

/// The variables before and after. Long enough to reach over many sectors.
fn variables(new: bool) -> Result<Env> {
    let (part, trial, letter) = if new {
        ("3", "1", "n")
    } else {
        ("2", "0", "o")
    };
    let mut env = Env::new();
    for (name, value) in [
        ("mender_boot_part", part),
        ("mender_boot_part_hex", part),
        ("upgrade_available", trial),
    ] {
        env.set(name, value)?;
    }
    // libubootenv cuts the lines of a script at 1024 bytes.
    for number in 0..9 {
        env.set(format!("long_{number}"), letter.repeat(900))?;
    }
    Ok(env)
}
