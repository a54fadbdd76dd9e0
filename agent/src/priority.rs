//! How much of the processor and of the storage device an installation claims from the others.

#![expect(
    unsafe_code,
    reason = "nobody else makes these system calls, which take numbers only"
)]

use log::warn;
use nix::errno::Errno;
use nix::libc::{self, c_long};
use serde::Deserialize;

/// What an installation leaves to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Priority {
    /// It is one among equals.
    #[default]
    Normal,
    /// The others come first.
    Low,
    /// It gets what nobody else wants.
    Idle,
}

impl Priority {
    /// Works at this priority until the guard is dropped: the calling thread, and the threads and
    /// children that it starts. What is lower already stays so.
    pub(crate) fn lower(self) -> Lowered {
        let (nice, io) = match self {
            Priority::Normal => return Lowered(None),
            Priority::Low => (10, BEST_EFFORT | LOWEST),
            Priority::Idle => (19, IDLE),
        };
        let before = Standing::now();
        Standing {
            nice: nice.max(before.nice),
            io: io.max(before.io),
        }
        .take();
        Lowered(Some(before))
    }
}

/// Brings the former priority back when it is dropped.
#[must_use]
#[derive(Debug)]
pub(crate) struct Lowered(Option<Standing>);

impl Drop for Lowered {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            before.take();
        }
    }
}

/// The priority of a thread.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    /// -20 to 19; the higher, the less it gets.
    nice: c_long,
    /// As ioprio_set(2) takes it; the higher, the less it gets.
    io: c_long,
}

/// Classes and levels of ioprio_set(2).
const REALTIME: c_long = 1 << 13;
const BEST_EFFORT: c_long = 2 << 13;
const IDLE: c_long = 3 << 13;
const LOWEST: c_long = 7;

/// What getpriority(2) gives for nice 0.
const NICE_0: c_long = 20;

/// `IOPRIO_WHO_PROCESS` and `PRIO_PROCESS`, which both mean one thread; 0 is the calling one.
const IO_OF_THREAD: c_long = 1;
const NICE_OF_THREAD: c_long = 0;
const CALLING: c_long = 0;

impl Standing {
    /// That of the calling thread.
    fn now() -> Standing {
        // SAFETY: the calls take numbers and change nothing.
        let (nice, io) = unsafe {
            (
                libc::syscall(libc::SYS_getpriority, NICE_OF_THREAD, CALLING),
                libc::syscall(libc::SYS_ioprio_get, IO_OF_THREAD, CALLING),
            )
        };
        Standing {
            // The system call gives 40 to 1, so that no answer looks like an error.
            nice: NICE_0.saturating_sub(nice),
            // Whoever has no class of their own can only be set back to having none.
            io: if io < REALTIME { 0 } else { io },
        }
    }

    /// Makes it that of the calling thread. An installation does not fail for it.
    fn take(&self) {
        // SAFETY: the calls take numbers and change nothing but priorities.
        let (nice, io) = unsafe {
            (
                libc::syscall(libc::SYS_setpriority, NICE_OF_THREAD, CALLING, self.nice),
                libc::syscall(libc::SYS_ioprio_set, IO_OF_THREAD, CALLING, self.io),
            )
        };
        for (what, result) in [("processor", nice), ("storage", io)] {
            if let Err(errno) = Errno::result(result) {
                warn!("the priority for the {what} stays as it is: {errno}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_and_those_it_starts_step_back_until_it_is_over() {
        let of_another = || std::thread::spawn(Standing::now).join().unwrap();
        let before = Standing::now();
        drop(Priority::Normal.lower());
        assert_eq!(Standing::now(), before);
        for (priority, nice, io) in [
            (Priority::Low, 10, BEST_EFFORT | LOWEST),
            (Priority::Idle, 19, IDLE),
        ] {
            let lowered = priority.lower();
            let expected = Standing {
                nice: nice.max(before.nice),
                io: io.max(before.io),
            };
            assert_eq!(Standing::now(), expected);
            assert_eq!(of_another(), expected);
            drop(lowered);
            if nix::unistd::geteuid().is_root() {
                assert_eq!(Standing::now(), before);
            }
        }
    }
}
