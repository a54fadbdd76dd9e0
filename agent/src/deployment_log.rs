//! The log of a deployment: every line of this program, of scripts and of update modules while it
//! lasts, kept on the device and sent to the server when it fails.
//!
//! `<update_log_path>/deployments.NNNN.<id>.log`, 0000 being the newest, one JSON object a line.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use log::Level;
use tandem_api::Timestamp;
use tandem_api::device::LogMessage;

use crate::durable;

/// How many logs are kept.
const KEPT: usize = 5;

/// Less free space than this, and older logs make room.
const MIN_FREE: u64 = 100 << 10;

/// The most that is sent: a server takes 1 MiB, headers and all.
const MAX_SENT: usize = 999_744;

/// No log grows beyond this on the device: a script that prints for ever must not fill the disk.
const MAX_KEPT: u64 = 8 << 20;

/// The log of the deployment in progress.
#[derive(Debug)]
pub(crate) struct DeploymentLog {
    file: File,
    left: u64,
}

impl DeploymentLog {
    /// Opens the log of `deployment`, a new one or where it left off.
    ///
    /// # Errors
    /// Any failure of the file system.
    pub(crate) fn open(dir: &Path, deployment: &str) -> Result<DeploymentLog> {
        let path = newest(dir, deployment);
        let attempt = || format!("cannot open the deployment log {}", path.display());
        if !path.exists() {
            make_room(dir).with_context(attempt)?;
        }
        let mut options = OpenOptions::new();
        let file = options
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .with_context(attempt)?;
        let size = file.metadata().with_context(attempt)?.len();
        Ok(DeploymentLog {
            file,
            left: MAX_KEPT.saturating_sub(size),
        })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// Any failure of the file system.
    pub(crate) fn add(&mut self, level: Level, message: &str) -> Result<()> {
        let entry = LogMessage {
            timestamp: SystemTime::now().into(),
            level: level.as_str().to_ascii_lowercase(),
            message: message.to_owned(),
        };
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        let size = line.len() as u64;
        if size <= self.left {
            self.left = self.left.saturating_sub(size);
            self.file.write_all(&line)?;
        }
        Ok(())
    }
}

/// The log of `deployment` as the server wants it: `{"messages":[...]}`, cut at the front if it is
/// too long, and with a word about what could not be read.
///
/// # Errors
/// When there is no such log.
pub(crate) fn messages(dir: &Path, deployment: &str) -> Result<Vec<u8>> {
    let path = newest(dir, deployment);
    let attempt = || format!("cannot read the deployment log {}", path.display());
    let file = File::open(&path).with_context(attempt)?;
    let mut lines = Vec::new();
    let mut last = Timestamp::from_seconds(0);
    let mut damaged = 0_usize;
    for line in BufReader::new(file).split(b'\n') {
        let line = line.with_context(attempt)?;
        if line.is_empty() {
            continue;
        }
        match serde_json::from_slice::<LogMessage>(&line) {
            Ok(entry) if !entry.message.is_empty() => {
                last = entry.timestamp;
                lines.push(line);
            }
            Ok(_) => {}
            Err(_) => {
                damaged = damaged.saturating_add(1);
                lines.push(note(
                    last,
                    Level::Error,
                    "(this line of the log is damaged)",
                )?);
            }
        }
    }
    let mut leading = Vec::new();
    if damaged > 0 {
        leading.push(note(
            last,
            Level::Warn,
            &format!("{damaged} lines of this log are damaged"),
        )?);
    }
    let (kept, cut) = newest_that_fit(&lines, MAX_SENT);
    if cut > 0 {
        leading.push(note(
            last,
            Level::Warn,
            &format!("the first {cut} lines are left out: the log is too long"),
        )?);
    }
    leading.extend_from_slice(kept);
    Ok([b"{\"messages\":[", &leading.join(&b","[..])[..], b"]}"].concat())
}

/// The lines at the end that fit, and how many before them do not. A little is kept free for notes.
fn newest_that_fit(lines: &[Vec<u8>], room: usize) -> (&[Vec<u8>], usize) {
    let mut left = room.saturating_sub(1024);
    let mut cut = lines.len();
    for line in lines.iter().rev() {
        match left.checked_sub(line.len().saturating_add(1)) {
            Some(rest) => left = rest,
            None => break,
        }
        cut = cut.saturating_sub(1);
    }
    (lines.get(cut..).unwrap_or_default(), cut)
}

fn note(timestamp: Timestamp, level: Level, message: &str) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(&LogMessage {
        timestamp,
        level: level.as_str().to_ascii_lowercase(),
        message: message.to_owned(),
    })?)
}

/// The name of the newest log. The id is safe in it: the server's answer has been read strictly.
fn newest(dir: &Path, deployment: &str) -> PathBuf {
    dir.join(format!("deployments.0000.{deployment}.log"))
}

/// The logs on the device by their number and the rest of their name, oldest first.
fn logs(dir: &Path) -> Vec<(u32, String)> {
    let mut logs: Vec<(u32, String)> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (number, rest) = name.strip_prefix("deployments.")?.split_once('.')?;
            rest.ends_with(".log")
                .then_some((number.parse().ok()?, rest.to_owned()))
        })
        .collect();
    logs.sort_by(|one, other| other.cmp(one));
    logs
}

/// Moves every log one number on, and removes the oldest while there are too many or the disk is
/// full.
fn make_room(dir: &Path) -> Result<()> {
    let all = logs(dir);
    let name = |number: u32, rest: &str| dir.join(format!("deployments.{number:04}.{rest}"));
    let mut left = all.len();
    for (number, rest) in all {
        #[allow(
            clippy::useless_conversion,
            reason = "32 bits on processors of 32 bits"
        )]
        let full = nix::sys::statvfs::statvfs(dir).is_ok_and(|disk| {
            let free = u64::from(disk.blocks_available());
            free.saturating_mul(u64::from(disk.fragment_size())) < MIN_FREE
        });
        if left >= KEPT || full {
            durable::remove(&name(number, &rest))?;
            left = left.saturating_sub(1);
        } else {
            durable::set_aside(&name(number, &rest), &name(number.saturating_add(1), &rest))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(dir: &Path, deployment: &str) -> serde_json::Value {
        serde_json::from_slice(&messages(dir, deployment).unwrap()).unwrap()
    }

    #[test]
    fn a_log_goes_on_where_it_left_off() {
        let dir = tempfile::tempdir().unwrap();
        for message in ["one", "two \"quoted\""] {
            DeploymentLog::open(dir.path(), "id")
                .unwrap()
                .add(Level::Info, message)
                .unwrap();
        }
        let log = json(dir.path(), "id");
        assert_eq!(log["messages"][1]["message"], "two \"quoted\"");
        assert_eq!(log["messages"][1]["level"], "info");
        assert!(
            log["messages"][0]["timestamp"]
                .as_str()
                .unwrap()
                .ends_with('Z')
        );
    }

    #[test]
    fn damaged_lines_are_replaced_and_told_of() {
        let dir = tempfile::tempdir().unwrap();
        DeploymentLog::open(dir.path(), "id")
            .unwrap()
            .add(Level::Info, "one")
            .unwrap();
        let path = newest(dir.path(), "id");
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(b"\x00\xff half a li\n\n");
        durable::replace(&path, &bytes).unwrap();
        let log = json(dir.path(), "id");
        assert_eq!(log["messages"].as_array().unwrap().len(), 3);
        assert_eq!(
            log["messages"][0]["message"],
            "1 lines of this log are damaged"
        );
    }

    #[test]
    fn a_long_log_is_cut_at_the_front() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = DeploymentLog::open(dir.path(), "id").unwrap();
        for number in 0..3000 {
            log.add(Level::Info, &format!("{number} {}", "x".repeat(1000)))
                .unwrap();
        }
        let sent = messages(dir.path(), "id").unwrap();
        assert!(sent.len() <= MAX_SENT, "{}", sent.len());
        let log = json(dir.path(), "id");
        let all = log["messages"].as_array().unwrap();
        assert!(all[0]["message"].as_str().unwrap().contains("are left out"));
        assert!(
            all.last().unwrap()["message"]
                .as_str()
                .unwrap()
                .starts_with("2999 ")
        );
    }

    #[test]
    fn five_logs_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        for id in ["a", "b", "c", "d", "e", "f", "g"] {
            DeploymentLog::open(dir.path(), id)
                .unwrap()
                .add(Level::Info, id)
                .unwrap();
        }
        let names: Vec<String> = logs(dir.path())
            .into_iter()
            .rev()
            .map(|(number, rest)| format!("{number} {rest}"))
            .collect();
        assert_eq!(
            names,
            ["0 g.log", "1 f.log", "2 e.log", "3 d.log", "4 c.log"]
        );
    }

    #[test]
    fn a_log_stops_growing() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = DeploymentLog::open(dir.path(), "id").unwrap();
        for _ in 0..200 {
            log.add(Level::Info, &"x".repeat(64 << 10)).unwrap();
        }
        assert!(newest(dir.path(), "id").metadata().unwrap().len() <= MAX_KEPT);
    }
}
