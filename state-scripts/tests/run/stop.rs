//! The run is asked to stop.

use std::io::Read as _;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use tandem_state_scripts::Action::Enter;
use tandem_state_scripts::State::Sync;
use tandem_state_scripts::{Error, OnError};

use super::{NOTE, check_with};
use crate::device::Device;

#[test]
fn a_stop_ends_the_running_script_and_the_run() {
    let device = Device::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    // The script itself asks for the stop, as a test's way to be sure that it is running.
    device.rootfs_script(
        "Sync_Enter_00",
        r#"echo $$ > "$D/pid"; echo running; while :; do sleep 1; done"#,
    );
    device.rootfs_script("Sync_Enter_10", NOTE);
    let mut runner = device.runner();
    runner.stop = Some(theirs.as_fd());
    let start = Instant::now();
    let result = runner.run(Sync, Enter, OnError::Continue, &mut |_, _, line| {
        assert_eq!(line, "running");
        (&ours).write_all(b"stop").unwrap();
    });
    assert!(matches!(result, Err(Error::Stopped)), "{result:?}");
    assert!(start.elapsed() < Duration::from_secs(20));
    assert!(!device.is_alive("pid"));
    assert_eq!(device.ran(), [""; 0]);
    // The descriptor is only watched: who owns it can still read what was written.
    let mut word = [0; 4];
    (&theirs).read_exact(&mut word).unwrap();
    assert_eq!(&word, b"stop");
}

#[test]
fn a_stop_ends_the_wait_for_the_next_run() {
    let device = Device::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    device.rootfs_script("Sync_Enter_00", "echo later\nexit 21");
    let mut runner = device.runner();
    runner.retry_interval = Duration::from_secs(3600);
    runner.retry_timeout = Duration::from_secs(3600);
    runner.stop = Some(theirs.as_fd());
    let asker = std::thread::spawn(move || {
        let mut byte = [0];
        // Wait for the script to have run, then some more: either side of its end is right.
        (&ours).read_exact(&mut byte).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        drop(ours);
    });
    let result = runner.run(Sync, Enter, OnError::Continue, &mut |_, _, _| {
        (&theirs).write_all(b"x").unwrap();
    });
    assert!(matches!(result, Err(Error::Stopped)), "{result:?}");
    asker.join().unwrap();
}

#[test]
fn nothing_runs_when_already_asked_to_stop() {
    let device = Device::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(ours);
    device.rootfs_script("Sync_Enter_00", NOTE);
    let mut runner = device.runner();
    runner.stop = Some(theirs.as_fd());
    check_with(
        &device,
        &runner,
        (Sync, Enter, OnError::Stop),
        "asked to stop while running state scripts",
        &[],
    );
}
