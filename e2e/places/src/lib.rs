//! Where artifacts may come from in a fleet, as real processes on the loopback interface: an S3-compatible store, and
//! nginx as whatever stands before a server.

mod nginx;
mod store;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

pub use nginx::{Nginx, Sent};
pub use store::ObjectStore;

/// How long a process may take until it takes connections.
const SOON: Duration = Duration::from_secs(30);

/// Whether `tool` is there. Where it must be (`TANDEM_REQUIRE_PEERS=1`), a missing one is an error.
fn there(found: bool, tool: &str) -> Result<bool> {
    let required = std::env::var_os("TANDEM_REQUIRE_PEERS").is_some_and(|value| value == "1");
    ensure!(found || !required, "{tool} is not installed");
    Ok(found)
}

/// An address at which nobody listens yet.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A process that ends with this.
#[derive(Debug)]
struct Running {
    process: Child,
    log: PathBuf,
}

impl Running {
    /// Starts `command`, which logs to `log`, and waits until it takes connections at `address`.
    fn start(command: &mut Command, log: &Path, address: SocketAddr) -> Result<Running> {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)?;
        let process = command
            .stdin(std::process::Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let mut running = Running {
            process,
            log: log.to_owned(),
        };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = running.process.try_wait()? {
                bail!("{command:?} ends with {status}: {}", running.said());
            }
            ensure!(
                begun.elapsed() < SOON,
                "{command:?} does not listen: {}",
                running.said()
            );
            // Nobody says when it does: it has to be asked again.
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(running)
    }

    /// What it has logged.
    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
