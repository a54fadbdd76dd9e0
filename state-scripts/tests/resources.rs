//! What is left in this process after children have come and gone. Alone in its file, because it
//! counts what belongs to the whole process.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a test may panic, and its files do not have to survive a power cut"
)]

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use device::{Device, run};
use tandem_state_scripts::child::{Child, Limits, Output};
use tandem_state_scripts::{Action, OnError, State, store};

mod device;

/// Our open descriptors, our threads, and our children, dead or alive.
fn resources() -> (usize, usize, String) {
    let count = |path| fs::read_dir(path).unwrap().count();
    let thread = fs::read_link("/proc/thread-self").unwrap();
    let children = fs::read_to_string(format!("/proc/{}/children", thread.display()));
    (
        count("/proc/self/fd"),
        count("/proc/self/task"),
        children.unwrap(),
    )
}

#[test]
fn nothing_is_left_behind() {
    let device = Device::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    device.rootfs_script("Sync_Enter_00", "echo out; echo err >&2; sleep 0.1 &");
    device.rootfs_script("Sync_Enter_10", "exit 1");
    device.rootfs_script("Sync_Leave_00", "trap '' TERM; sleep 100 & sleep 100");
    device.rootfs_script("Idle_Enter_00", "exit 21");
    device.file("etc-scripts/Idle_Leave_00", "#!/no/such/shell\n", "755");
    let before = resources();

    let mut runner = device.runner();
    runner.stop = Some(theirs.as_fd());
    runner.limits.timeout = Duration::from_millis(500);
    runner.limits.grace = Duration::from_millis(100);
    runner.retry_timeout = Duration::from_millis(100);
    for _ in 0..3 {
        for state in [State::Idle, State::Sync] {
            for action in [Action::Enter, Action::Leave] {
                run(&runner, state, action, OnError::Continue)
                    .0
                    .unwrap_err();
            }
        }
        store(
            &device.path("scripts"),
            [("ArtifactInstall_Enter_00", &b""[..])],
        )
        .unwrap();
        let mut log = |_, _: &str| {};
        let mut command = Command::new("sleep");
        let child = Child::spawn(
            command.arg("100"),
            Limits::new(Duration::from_secs(100)),
            Output::Capture(10),
            None,
            &mut log,
        );
        drop(child.unwrap());
    }
    assert_eq!(resources(), before);
    drop(ours);
}
