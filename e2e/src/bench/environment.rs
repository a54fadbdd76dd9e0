//! `fw_setenv` beside libubootenv's: time, system calls, and what it makes durable.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tandem_e2e::installed;
use tandem_uboot_env::{Config, Env, Store};

use crate::budget::Verdict;
use crate::figures::Spread;
use crate::interrupt::Interrupt;
use crate::table::Table;
use crate::workplace::{Workplace, write};

/// Of each of the two copies.
const SIZE: usize = 0x4000;

/// One of the two programs, with an environment of its own.
struct Setter {
    name: &'static str,
    program: PathBuf,
    configuration: PathBuf,
    /// Milliseconds.
    walls: Vec<f64>,
}

/// Sets a variable `rounds` times with each in turn; the table, and what the budget says to it.
/// `None` without Debian's.
pub(crate) fn compare(
    ours: &Path,
    workplace: &Workplace,
    rounds: usize,
    interrupt: &Interrupt,
) -> Result<Option<(Table, Vec<Verdict>)>> {
    if !ours.is_file() || !installed("fw_setenv")? || !installed("strace")? {
        return Ok(None);
    }
    let dir = workplace.path("environments");
    fs::create_dir_all(&dir)?;
    let mut setters = [
        Setter::new("tandem's", ours.canonicalize()?, &dir)?,
        Setter::new("libubootenv's", PathBuf::from("/usr/bin/fw_setenv"), &dir)?,
    ];
    for round in 0..rounds {
        interrupt.check()?;
        for setter in &mut setters {
            setter.set(&round.to_string())?;
        }
    }
    let mut table = Table::new(&["fw_setenv", "wall ms", "system calls", "flushes"]);
    let mut found = Vec::new();
    for setter in &setters {
        let wall = Spread::of(setter.walls.iter().copied()).context("no rounds")?;
        let (calls, flushes) = setter.calls(interrupt)?;
        table.row(&[
            setter.name.to_owned(),
            wall.to_string(),
            calls.to_string(),
            flushes.to_string(),
        ]);
        found.push((wall.median, calls as f64, flushes as f64));
    }
    let [ours, theirs] = found.as_slice() else {
        return Ok(None);
    };
    let verdicts = vec![
        Verdict {
            what: "fw_setenv, wall, against libubootenv's".to_owned(),
            at_most: 1.0,
            found: Some(ours.0 / theirs.0),
        },
        Verdict {
            what: "fw_setenv, system calls, against libubootenv's".to_owned(),
            at_most: 0.5,
            found: Some(ours.1 / theirs.1),
        },
        Verdict {
            what: "fw_setenv, flushes that libubootenv's has and ours has not".to_owned(),
            at_most: 0.0,
            found: Some((theirs.2 - ours.2).max(0.0)),
        },
    ];
    Ok(Some((table, verdicts)))
}

impl Setter {
    fn new(name: &'static str, program: PathBuf, dir: &Path) -> Result<Setter> {
        let (file, configuration) = (dir.join(name), dir.join(format!("{name}.config")));
        let zeros = vec![0_u8; SIZE];
        write(&file, [zeros.as_slice(), zeros.as_slice()].concat())?;
        let path = file.display();
        write(
            &configuration,
            format!("{path} 0x0 {SIZE:#x}\n{path} {SIZE:#x} {SIZE:#x}\n"),
        )?;
        let store = Store::new(Config::load(&configuration)?);
        let guard = store.lock()?;
        let mut env = Env::new();
        env.set("mender_boot_part", "2")?;
        // Both copies.
        store.write(&guard, &env)?;
        store.write(&guard, &env)?;
        Ok(Setter {
            name,
            program,
            configuration,
            walls: Vec::new(),
        })
    }

    /// The arguments that set a variable.
    fn arguments(&self, value: &str) -> [std::ffi::OsString; 4] {
        let configuration = self.configuration.as_os_str().to_owned();
        ["-c".into(), configuration, "bootcount".into(), value.into()]
    }

    fn set(&mut self, value: &str) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(self.arguments(value)).env_clear();
        command.stdout(Stdio::null());
        let begun = Instant::now();
        let status = command.status()?;
        self.walls.push(begun.elapsed().as_secs_f64() * 1000.0);
        ensure!(status.success(), "{} does not work: {status}", self.name);
        let store = Store::new(Config::load(&self.configuration)?);
        let env = store.read()?.env.context("there is no environment left")?;
        ensure!(
            env.get("bootcount") == Some(value.as_bytes()),
            "{} has not set the variable",
            self.name
        );
        Ok(())
    }

    /// How many system calls it makes to change a variable, and how many of them make durable.
    fn calls(&self, interrupt: &Interrupt) -> Result<(usize, usize)> {
        let trace = self.configuration.with_extension("trace");
        let mut command = Command::new("strace");
        command
            .args(["--follow-forks", "-qq", "--output"])
            .arg(&trace);
        command.arg(&self.program).args(self.arguments("traced"));
        interrupt.run(command.env_clear())?;
        let text = fs::read_to_string(&trace)?;
        let calls = text.lines().filter(|line| line.contains('(')).count();
        let durable = |line: &&str| line.contains("fsync(") || line.contains("fdatasync(");
        Ok((calls, text.lines().filter(durable).count()))
    }
}
