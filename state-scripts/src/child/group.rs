//! Process groups: signalling one, and seeing whether it is gone.
//!
//! A group is named by the process id of its leader, and the kernel may give that number to a
//! stranger as soon as the leader has been reaped *and* the group is empty. So callers signal a
//! group only while they have not reaped its leader: a dead leader that nobody has waited for yet
//! keeps the number taken, and the group can be killed without risk of hitting anyone else.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use log::warn;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Signals all processes of a group whose leader has not been reaped.
pub(super) fn signal(group: Pid, signal: Signal) {
    match killpg(group, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(err) => warn!("cannot send {signal} to process group {group}: {err}"),
    }
}

/// Whether a process of the group can still do something, that is, whether any is no zombie.
///
/// `kill` cannot tell, since it counts zombies, so this asks `/proc`. If that cannot be read the
/// answer is yes, which makes the caller wait its full time.
pub(super) fn is_alive(group: Pid) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else {
        return true;
    };
    processes.flatten().any(|process| {
        let name = process.file_name();
        name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
            && read_stat(&process.path().join("stat"))
                .is_ok_and(|stat| is_living_member(&stat, group))
    })
}

/// The beginning of a `stat` file, which has all that is needed.
fn read_stat(path: &Path) -> io::Result<Vec<u8>> {
    const ENOUGH: u64 = 512;
    let mut stat = Vec::new();
    File::open(path)?.take(ENOUGH).read_to_end(&mut stat)?;
    Ok(stat)
}

/// Reads `pid (name) state ppid pgrp ...`, proc_pid_stat(5). The name may contain anything.
fn is_living_member(stat: &[u8], group: Pid) -> bool {
    let after_name = stat.rsplit(|byte| *byte == b')').next().unwrap_or_default();
    let after_name = String::from_utf8_lossy(after_name);
    let mut fields = after_name.split_ascii_whitespace();
    let (state, process_group) = (fields.next(), fields.nth(1));
    process_group.and_then(|id| id.parse().ok()) == Some(group.as_raw())
        && !matches!(state, Some("Z" | "X" | "x"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stat: &str, expected: bool) {
        let found = is_living_member(stat.as_bytes(), Pid::from_raw(77));
        assert_eq!(found, expected, "{stat}");
    }

    #[test]
    fn members_are_told_from_strangers_and_zombies() {
        check("80 (sh) S 1 77 77 0 -1", true);
        check("80 (sh) D 1 77 77 0 -1", true);
        check("77 (sh) Z 1 77 77 0 -1", false);
        check("80 (sh) S 77 80 77 0 -1", false);
        check("80 (a) S 1 77 (x) R 5 6 77", false);
        check("80 (a) Z 5 6) S 1 77 77", true);
        check("80 (sh", false);
        check("", false);
    }
}
