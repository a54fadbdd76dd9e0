//! What the daemon takes while there is nothing to do: it has been to its server, and waits.

#![expect(
    clippy::disallowed_methods,
    reason = "the files of a device that is gone a minute later"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tandem_e2e::faulty::{Answer, Fault, FaultyServer, Request, Site, certificate};

use crate::budget::{IDLE_MIB, IDLE_WAKEUPS, Verdict};
use crate::interrupt::{Daemon, Interrupt};

/// What a minute of waiting came to.
pub(crate) struct Idle {
    /// MiB of memory that it holds.
    pub(crate) resident: f64,
    /// How often it woke up.
    pub(crate) wakeups: f64,
}

impl Idle {
    /// What the budget says to it.
    pub(crate) fn verdicts(&self) -> [Verdict; 2] {
        [
            Verdict {
                what: "the daemon while it waits, resident, MiB".to_owned(),
                at_most: IDLE_MIB,
                found: Some(self.resident),
            },
            Verdict {
                what: "the same, wake-ups in a minute".to_owned(),
                at_most: IDLE_WAKEUPS,
                found: Some(self.wakeups),
            },
        ]
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// How long it may take until it waits, in pauses.
const PATIENCE: u32 = 300;
const PAUSE: Duration = Duration::from_millis(100);

/// Starts the daemon `agent` with a server that accepts it and has nothing for it, and watches it for a minute.
pub(crate) fn idle(agent: &Path, interrupt: &Interrupt) -> Result<Idle> {
    let dir = tempfile::tempdir()?;
    let path = |name: &str| dir.path().join(name);
    certificate(&path("server"))?;
    let server = FaultyServer::start(
        &path("server.crt"),
        &path("server.key"),
        Arc::new(NothingNew),
        Arc::new(|_: &Request, _| Fault::None),
    )?;
    fs::create_dir(path("data"))?;
    fs::create_dir(path("inventory"))?;
    fs::write(path("identity"), "#!/bin/sh\necho id=1\n")?;
    fs::set_permissions(path("identity"), Permissions::from_mode(0o755))?;
    fs::write(path("data/device_type"), "device_type=board\n")?;
    let here = dir.path().display();
    fs::write(
        path("tandem.toml"),
        format!(
            "allow_unsigned = true\ndata_dir = \"{here}/data\"\nserver_url = \"{}\"\n\
             server_certificate = \"{here}/server.crt\"\nidentity_script = \"{here}/identity\"\n\
             inventory_dir = \"{here}/inventory\"\n",
            server.url("")
        ),
    )?;
    let mut daemon = Daemon::start(
        Command::new(agent)
            .arg("--config")
            .arg(path("tandem.toml"))
            .arg("daemon")
            .stdout(Stdio::null())
            .stderr(Stdio::piped()),
    )?;
    let process = daemon.id();
    let mut pauses: u32 = 0;
    while !["next", "attributes"]
        .iter()
        .all(|what| server.seen().iter().any(|seen| seen.what.contains(what)))
    {
        daemon.check()?;
        pauses = pauses.saturating_add(1);
        if pauses > PATIENCE {
            bail!("the daemon does not come to rest");
        }
        interrupt.pause(PAUSE)?;
    }
    // The answers have come, too.
    interrupt.pause(Duration::from_secs(2))?;
    let before = switches(process)?;
    interrupt.pause(MINUTE)?;
    let wakeups = switches(process)?.saturating_sub(before);
    Ok(Idle {
        resident: of_status(process, "VmRSS:")? as f64 / 1024.0,
        wakeups: wakeups as f64,
    })
}

/// A server that knows the device and has nothing for it.
struct NothingNew;

impl Site for NothingNew {
    fn answer(&self, request: &Request) -> Result<Answer> {
        let (status, body) = match &request.path {
            path if path.ends_with("auth_requests") => (200, "token"),
            path if path.contains("next") => (204, ""),
            _ => (200, ""),
        };
        Ok(Answer {
            status,
            headers: Vec::new(),
            length: body.len() as u64,
            body: Box::new(body.as_bytes()),
        })
    }
}

/// How often all threads of a process have been put to sleep or interrupted.
fn switches(process: u32) -> Result<u64> {
    let mut sum: u64 = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let thread = thread?.file_name();
        let thread = format!("{process}/task/{}", thread.to_string_lossy());
        for kind in ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"] {
            sum = sum.saturating_add(of_status(&thread, kind)?);
        }
    }
    Ok(sum)
}

/// A number of `/proc/PROCESS/status`.
fn of_status(process: impl std::fmt::Display, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.split_whitespace().next());
    Ok(value.context("the process has ended")?.parse()?)
}
