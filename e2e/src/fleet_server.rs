//! The real server as a process, and its verbs.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::program;

/// A server that runs. Dropping it kills it.
#[derive(Debug)]
pub struct FleetServer {
    data: PathBuf,
    process: Child,
    /// Kept, so that the server can go on printing.
    _out: BufReader<ChildStdout>,
    address: SocketAddr,
    /// What it printed at its first start.
    pub welcome: String,
}

impl FleetServer {
    /// Starts a server on this data directory, on a free port of the loopback interface. What it
    /// logs goes to `server.log` beside the directory.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(data: &Path) -> Result<FleetServer> {
        Self::start_at(data, SocketAddr::from(([127, 0, 0, 1], 0)), &[])
    }

    /// Starts a server at an address, with further options.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_at(data: &Path, address: SocketAddr, options: &[&str]) -> Result<FleetServer> {
        Self::start_among(data, address, options, &[])
    }

    /// The same, with further variables in its environment.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_among(
        data: &Path,
        address: SocketAddr,
        options: &[&str],
        environment: &[(String, String)],
    ) -> Result<FleetServer> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(data.with_extension("log"))?;
        let mut process = Command::new(program("tandem-server")?)
            .args(["serve", "--listen", &address.to_string(), "--data"])
            .arg(data)
            .args(options)
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start the server")?;
        let mut out = BufReader::new(process.stdout.take().context("a pipe was asked for")?);
        let mut welcome = String::new();
        loop {
            let mut line = String::new();
            if out.read_line(&mut line)? == 0 {
                bail!("the server does not start: {}", process.wait()?);
            }
            if let Some(address) = line.trim_end().strip_prefix("listening on https://") {
                return Ok(FleetServer {
                    data: data.to_owned(),
                    address: address.parse()?,
                    process,
                    _out: out,
                    welcome,
                });
            }
            welcome.push_str(&line);
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What devices have in `server_url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The certificate that devices are to trust.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.data.join("tls/ca.crt")
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Runs a verb on the data directory, and gives what it prints as JSON.
    ///
    /// # Errors
    /// When it fails.
    pub fn verb(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let output = Command::new(program("tandem-server")?)
            .args(arguments)
            .arg("--data")
            .arg(&self.data)
            .arg("--json")
            .output()?;
        ensure!(
            output.status.success(),
            "tandem-server {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("tandem-server {} prints no JSON", arguments.join(" ")))
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// When it cannot be told to.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let pid = Pid::from_raw(i32::try_from(self.process.id())?);
        kill(pid, Signal::SIGTERM)?;
        Ok(self.process.wait()?)
    }

    /// Kills it.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for FleetServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
