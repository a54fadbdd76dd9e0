//! A virtual device that is switched on: its daemon runs, and when it reboots it starts again.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Device, boot, program};

/// How often it is looked whether something has happened.
const STEP: Duration = Duration::from_millis(20);

/// How long a daemon may take to end when the device goes down.
const PATIENCE: Duration = Duration::from_secs(30);

/// A device that is switched on. Dropping it pulls the plug.
#[derive(Debug)]
pub struct Powered {
    device: Device,
    /// For the daemon and the scripts that it runs.
    environment: Vec<(String, String)>,
    daemon: Child,
    boots: u32,
}

impl Powered {
    /// Switches the device on. What its daemon logs goes to the file `console` in its directory.
    ///
    /// # Errors
    /// When it does not start.
    pub fn on(device: Device, environment: &[(&str, &str)]) -> Result<Powered> {
        let environment = environment
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect::<Vec<_>>();
        let daemon = start(&device, &environment)?;
        Ok(Powered {
            device,
            environment,
            daemon,
            boots: 1,
        })
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How often it has started, the first time included.
    #[must_use]
    pub fn boots(&self) -> u32 {
        self.boots
    }

    /// The daemon's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.daemon.id()
    }

    /// What the console showed so far.
    #[must_use]
    pub fn console(&self) -> String {
        std::fs::read_to_string(console(&self.device)).unwrap_or_default()
    }

    /// Lets the device live for a moment: what has to be done about a reboot is done.
    ///
    /// # Errors
    /// When the device does not start any more, or its daemon has ended by itself.
    pub fn live(&mut self) -> Result<()> {
        let marker = self.device.path("rebooting");
        if marker.exists() {
            self.go_down()?;
            std::fs::remove_file(&marker)?;
            return self.start();
        }
        if let Some(status) = self.daemon.try_wait()? {
            // It may have asked for the reboot with its last breath.
            if !marker.exists() {
                bail!("the daemon ended by itself: {status}\n{}", self.console());
            }
        }
        pause();
        Ok(())
    }

    /// Lets the device live until something has come true.
    ///
    /// # Errors
    /// When that takes longer than `limit`, or the device does not live any more.
    pub fn until(
        &mut self,
        what: &str,
        limit: Duration,
        mut true_now: impl FnMut(&Powered) -> Result<bool>,
    ) -> Result<()> {
        let begun = Instant::now();
        while !true_now(self)? {
            if begun.elapsed() > limit {
                bail!(
                    "not within {} s: {what}\n{}",
                    limit.as_secs(),
                    self.console()
                );
            }
            self.live()?;
        }
        Ok(())
    }

    /// Pulls the plug, and starts the device again.
    ///
    /// # Errors
    /// When it does not start.
    pub fn cut(&mut self) -> Result<()> {
        self.daemon.kill()?;
        self.daemon.wait()?;
        self.start()
    }

    /// Ends the daemon as an init process does: it is told to, and what it runs is finished.
    ///
    /// # Errors
    /// When it does not end.
    pub fn go_down(&mut self) -> Result<ExitStatus> {
        let pid = Pid::from_raw(i32::try_from(self.daemon.id())?);
        // It may be gone already.
        let _ = kill(pid, Signal::SIGTERM);
        let begun = Instant::now();
        loop {
            if let Some(status) = self.daemon.try_wait()? {
                return Ok(status);
            }
            if begun.elapsed() > PATIENCE {
                bail!("the daemon does not end when told to\n{}", self.console());
            }
            pause();
        }
    }

    fn start(&mut self) -> Result<()> {
        self.daemon = start(&self.device, &self.environment)?;
        self.boots = self.boots.saturating_add(1);
        Ok(())
    }
}

impl Drop for Powered {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a device that lives is looked at now and then"
)]
fn pause() {
    std::thread::sleep(STEP);
}

fn console(device: &Device) -> PathBuf {
    device.path("console")
}

/// From reset until the daemon runs.
fn start(device: &Device, environment: &[(String, String)]) -> Result<Child> {
    let booted = boot(device)?;
    let mut log: File = OpenOptions::new()
        .create(true)
        .append(true)
        .open(console(device))?;
    for line in &booted.console {
        std::io::Write::write_all(&mut log, format!("{line}\n").as_bytes())?;
    }
    Command::new(program("tandem")?)
        .arg("--config")
        .arg(device.path("etc/tandem.toml"))
        .arg("daemon")
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start the daemon")
}
