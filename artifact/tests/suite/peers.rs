//! Programs of others that judge ours.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Whether `program` is here. Where it is not, the test that asks says so and is over; with `TANDEM_REQUIRE_PEERS=1` it
/// fails.
pub(crate) fn have(program: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).is_file());
    if !found {
        let required = std::env::var_os("TANDEM_REQUIRE_PEERS").is_some_and(|value| value == "1");
        assert!(!required, "{program} is required and not installed");
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
}

/// Runs `program` in `folder`; it must succeed.
#[track_caller]
pub(crate) fn run(folder: &Path, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Output {
    let program = program.as_ref();
    let output = Command::new(program)
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{program:?} {args:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Our program.
pub(crate) fn ours() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_tandem-artifact"))
}
