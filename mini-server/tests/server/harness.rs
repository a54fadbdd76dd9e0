//! A real server process, and those who talk to it: operators, devices, and whoever sends what nobody should.

mod device;
mod http;
pub mod postgres;
mod server;
mod upload;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

pub use self::device::Device;
pub use self::http::{Answer, Http, Json};
pub use self::server::{PROGRAM, Server};
pub use self::upload::{artifact, build, form};

/// How long anything may take that should come at once.
pub const SOON: Duration = Duration::from_secs(30);

/// Waits until something is so.
#[track_caller]
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < SOON, "{what} does not come about");
        pause();
    }
}

/// A moment in which something else may go on.
pub fn pause() {
    // Nobody says when it has happened: it has to be asked for again.
    std::thread::park_timeout(Duration::from_millis(20));
}

/// Whether a program of somebody else is there. Where it must be, a missing one is a failure.
pub fn installed(tool: &str) -> bool {
    let found = Command::new("which")
        .arg(tool)
        .output()
        .is_ok_and(|out| out.status.success());
    let required = std::env::var_os("TANDEM_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(found || !required, "{tool} is not installed");
    if !found {
        eprintln!("SKIPPED: {tool} is not installed");
    }
    found
}

/// Writes a file.
pub fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(path).unwrap().write_all(content).unwrap();
}
