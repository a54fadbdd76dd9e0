//! Where the programs under test are.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A program of this workspace, built beside the test that asks (or in `TANDEM_BIN_DIR`).
///
/// # Errors
/// When it has not been built.
pub fn program(name: &str) -> Result<PathBuf> {
    let dir = match std::env::var_os("TANDEM_BIN_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => {
            let own = std::env::current_exe()?;
            // target/PROFILE/deps/TEST or target/PROFILE/PROGRAM
            let dir = own.parent().context("a program has a directory")?;
            if dir.ends_with("deps") {
                dir.join("..")
            } else {
                dir.to_owned()
            }
        }
    };
    let path = dir.join(name);
    ensure!(
        path.exists(),
        "{name} has not been built: cargo build --workspace"
    );
    Ok(path)
}

/// Whether a peer or tool is installed. Where it must be (`TANDEM_REQUIRE_PEERS=1`), a missing one
/// is an error; elsewhere the caller says what it leaves out.
///
/// # Errors
/// When it is missing and required.
pub fn installed(tool: &str) -> Result<bool> {
    let found = Command::new("which")
        .arg(tool)
        .output()
        .is_ok_and(|out| out.status.success());
    let required = std::env::var_os("TANDEM_REQUIRE_PEERS").is_some_and(|value| value == "1");
    ensure!(found || !required, "{tool} is not installed");
    Ok(found)
}

/// How many times as long as on a processor of its own a program under test may take: `TANDEM_PATIENCE`, where QEMU runs
/// it, else 1.
#[must_use]
pub fn patience() -> u32 {
    std::env::var_os("TANDEM_PATIENCE")
        .and_then(|times| times.to_str()?.parse().ok())
        .unwrap_or(1)
}
