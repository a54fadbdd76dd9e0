//! What one program costs: wall clock, processor time, memory.
//!
//! This runs in a process of its own that has no other child, so that what the kernel has added up
//! for its children (getrusage(2)) is what that program and all that it waited for have used.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStderr, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde::{Deserialize, Serialize};

/// What a run of a program cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Whether the program said that all is well.
    pub(crate) success: bool,
    /// From its start to its end, seconds.
    pub(crate) wall: f64,
    /// Processor time, its own and the kernel's for it, with all children that it waited for,
    /// seconds.
    pub(crate) cpu: f64,
    /// The most memory that it, or the largest of its children, has held at once, MiB.
    pub(crate) peak: f64,
    /// The part of `wall` and `cpu` in which it read back what it had written, if it said so.
    pub(crate) read_back: Option<Span>,
}

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Span {
    /// Seconds.
    pub(crate) wall: f64,
    /// Seconds.
    pub(crate) cpu: f64,
}

/// What tandem logs when everything is written, and when it has read it back.
const WRITTEN: &str = " wrote ";
const READ_BACK: &str = " read it back ";

/// Runs `command` to its end. What it says goes to `log`; with `listen` it is listened to for the
/// begin and the end of reading back.
pub(crate) fn measure(command: &mut Command, log: File, listen: bool) -> Result<Cost> {
    command.stdout(log.try_clone()?);
    command.stderr(match listen {
        true => Stdio::piped(),
        false => log.try_clone()?.into(),
    });
    let begun = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {:?}", command.get_program()))?;
    let read_back = match child.stderr.take() {
        Some(words) => read_back(words, log, child.id(), begun)?,
        None => None,
    };
    let status = child.wait()?;
    let wall = begun.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok(Cost {
        success: status.success(),
        wall,
        cpu: seconds(usage.user_time()) + seconds(usage.system_time()),
        peak: usage.max_rss() as f64 / 1024.0,
        read_back,
    })
}

/// Copies what a program says to `log`, and looks at it at the two moments that matter.
fn read_back(
    words: ChildStderr,
    mut log: File,
    process: u32,
    begun: Instant,
) -> Result<Option<Span>> {
    let now = || -> Result<Span> {
        Ok(Span {
            wall: begun.elapsed().as_secs_f64(),
            cpu: cpu_of(process)?,
        })
    };
    let (mut from, mut to) = (None, None);
    let mut words = BufReader::new(words);
    let mut line = Vec::new();
    while words.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        if text.contains(WRITTEN) {
            from = Some(now()?);
        } else if text.contains(READ_BACK) {
            to = Some(now()?);
        }
        log.write_all(&line)?;
        line.clear();
    }
    Ok(from.zip(to).map(|(from, to)| Span {
        wall: to.wall - from.wall,
        cpu: to.cpu - from.cpu,
    }))
}

fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}

/// The processor time that a running process, all its threads, and the children that it waited for
/// have used, in seconds, to 0.01 (proc(5), `/proc/PID/stat`, fields 14 to 17).
pub(crate) fn cpu_of(process: u32) -> Result<f64> {
    /// `USER_HZ`, the same on every architecture in use.
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is a name in parentheses, and may contain anything.
    let (_, fields) = stat.rsplit_once(')').context("/proc has changed")?;
    let mut ticks = 0.0;
    for field in fields.split_whitespace().skip(11).take(4) {
        ticks += field.parse::<f64>()?;
    }
    Ok(ticks / TICKS)
}

/// The most memory that a running process has held at once, MiB.
pub(crate) fn peak_of(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|value| value.split_whitespace().next());
    Ok(peak.context("the process has ended")?.parse::<f64>()? / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a shell script and measures it.
    fn measured(script: &str) -> (Cost, String) {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let cost = measure(&mut command, log.reopen().unwrap(), true).unwrap();
        (cost, fs::read_to_string(log.path()).unwrap())
    }

    #[test]
    fn reading_back_is_told_apart_from_the_rest() {
        let (cost, log) = measured(
            "i=0; echo 'I wrote 5 MiB' >&2; while [ $i -lt 200000 ]; do i=$((i+1)); done
             echo 'I read it back in 1 s' >&2; exit 3",
        );
        let part = cost.read_back.unwrap();
        assert!(!cost.success);
        assert!(part.cpu > 0.01 && part.cpu <= cost.cpu + 0.02, "{cost:?}");
        assert!(part.wall > 0.01 && part.wall <= cost.wall, "{cost:?}");
        assert_eq!(log, "I wrote 5 MiB\nI read it back in 1 s\n");
    }

    #[test]
    fn who_does_not_read_back_has_no_such_part() {
        let (cost, _) = measured("echo hello >&2");
        assert_eq!(cost.read_back, None);
        assert!(cost.success && cost.peak > 0.0);
    }
}
