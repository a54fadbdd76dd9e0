//! Running programs inside the device: with the active root part as `/`.
//!
//! Every program is started by a second process of this one, which enters the device, and then
//! either measures the program or becomes it. Its mounts are its own:
//!
//! ```text
//! /               the active root part (ext4)
//! /usr /dev /sys  the machine's
//! /proc /tmp /run fresh
//! /bench          the workplace: artifacts
//! /opt/program    the directory of the program that is measured
//! ```

use std::ffi::OsString;
use std::fs::File;
use std::io::{Write, stdout};
use std::os::unix::fs::chroot;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::mount::MsFlags;
use tandem_e2e::leave_mounts;
use tandem_e2e::peers::{attach, furnish};

use crate::interrupt::{self, Interrupt};
use crate::measure::{Cost, measure};

/// Where the workplace is, inside.
pub(crate) const BENCH: &str = "/bench";
/// Where the directory of the program is, inside.
pub(crate) const PROGRAM: &str = "/opt/program";

/// How to enter the device, and what to do there.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Inside {
    /// Where the active root part is mounted
    #[arg(long)]
    pub(crate) root: PathBuf,
    /// What is seen as /bench
    #[arg(long)]
    pub(crate) bench: PathBuf,
    /// What is seen as /opt/program
    #[arg(long)]
    pub(crate) program: PathBuf,
    /// The environment, beside PATH and HOME
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Measure the command, write its words to this file, and the cost to standard output
    #[arg(long, value_name = "LOG")]
    pub(crate) measure: Option<PathBuf>,
    /// Listen for the begin and the end of reading back
    #[arg(long)]
    pub(crate) listen: bool,
    /// The command
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

impl Inside {
    /// The same by way of this program's command line.
    pub(crate) fn outside(&self) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("inside").arg("--root").arg(&self.root);
        command.arg("--bench").arg(&self.bench);
        command.arg("--program").arg(&self.program);
        for variable in &self.env {
            command.arg("--env").arg(variable);
        }
        if let Some(log) = &self.measure {
            command.arg("--measure").arg(log);
        }
        if self.listen {
            command.arg("--listen");
        }
        command.arg("--").args(&self.command);
        Ok(command)
    }

    /// Measures the command in the device, from outside.
    pub(crate) fn cost(&self, interrupt: &Interrupt) -> Result<Cost> {
        let mut command = self.outside()?;
        let output = interrupt.output(command.stdout(Stdio::piped()).stderr(Stdio::inherit()))?;
        ensure!(output.status.success(), "the device could not be entered");
        serde_json::from_slice(&output.stdout).context("the cost is not understood")
    }

    /// What the second process does.
    pub(crate) fn run(&self) -> Result<()> {
        interrupt::die_with_parent()?;
        let log = match &self.measure {
            Some(log) => Some(File::options().create(true).append(true).open(log)?),
            None => None,
        };
        self.enter().context("cannot enter the device")?;
        let (program, arguments) = self.command.split_first().context("no command")?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear();
        command.env("PATH", format!("{PROGRAM}:/usr/sbin:/usr/bin:/sbin:/bin"));
        command.env("HOME", "/root");
        command.envs(
            self.env
                .iter()
                .filter_map(|variable| variable.split_once('=')),
        );
        let Some(log) = log else {
            return Err(become_it(&mut command));
        };
        let cost = measure(command.stdin(Stdio::null()), log, self.listen)?;
        serde_json::to_writer(stdout().lock(), &cost)?;
        stdout().flush()?;
        Ok(())
    }

    /// Makes the device's root the root.
    fn enter(&self) -> Result<()> {
        leave_mounts()?;
        furnish(&self.root)?;
        let bind = |from: &Path, to: &str| attach(from, &self.root, to, None, MsFlags::MS_BIND);
        bind(&self.bench, BENCH)?;
        bind(&self.program, PROGRAM)?;
        chroot(&self.root)?;
        std::env::set_current_dir("/")?;
        Ok(())
    }
}

/// Replaces this process. Comes back only with the reason why that was not possible.
fn become_it(command: &mut Command) -> anyhow::Error {
    anyhow::Error::new(command.exec()).context(format!("cannot run {:?}", command.get_program()))
}
