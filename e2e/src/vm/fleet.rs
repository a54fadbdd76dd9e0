//! The real server, for machines whose updates come from it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::board::SERVER_NAME;
use crate::program;

/// How long the server may take to start: it makes its keys first.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running `tandem-server`; it ends when it is dropped.
pub struct Fleet {
    server: Child,
    program: PathBuf,
    data: PathBuf,
    /// Where it listens on the loopback.
    pub(crate) port: u16,
}

impl Fleet {
    /// Starts a server whose data, certificate and key are in `dir`.
    ///
    /// # Errors
    /// When it has not been built, or does not start.
    pub(crate) fn start(dir: &Path) -> Result<Fleet> {
        let program = program("tandem-server")?;
        let data = dir.join("server");
        let mut server = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(&program)
            .args(["serve", "--listen", "127.0.0.1:0", "--name", SERVER_NAME])
            .args(["--public-url", &format!("https://{SERVER_NAME}")])
            .arg("--data")
            .arg(&data)
            .arg("--tls-cert")
            .arg(dir.join("server.crt"))
            .arg("--tls-key")
            .arg(dir.join("server.key"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run setpriv (package util-linux)")?;
        let output = server.stdout.take().context("a pipe was asked for")?;
        let (sender, said) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some((_, port)) = line.split_once("listening on https://127.0.0.1:") {
                    // Nobody waits for a second one.
                    drop(sender.send(port.trim().parse::<u16>()));
                }
            }
        });
        let mut fleet = Fleet {
            server,
            program,
            data,
            port: 0,
        };
        fleet.port = said
            .recv_timeout(START_LIMIT)
            .context("the server does not start")?
            .context("a port is a number")?;
        Ok(fleet)
    }

    /// Gives the server an administrator's command: what it answers.
    ///
    /// # Errors
    /// When it refuses.
    pub fn admin(&self, words: &[&str]) -> Result<String> {
        let output = Command::new(&self.program)
            .args(words)
            .arg("--data")
            .arg(&self.data)
            .stdin(Stdio::null())
            .output()
            .context("cannot run the server's program")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        ensure!(
            output.status.success(),
            "tandem-server {} fails: {}",
            words.join(" "),
            text(&output.stderr)
        );
        Ok(text(&output.stdout))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}
