//! Running programs.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

/// Runs a program that must go well; what it wrote to its standard output.
pub(crate) fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = output(command)?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

/// Runs a program to its end.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    command
        .output()
        .with_context(|| format!("cannot run {:?}", command.get_program()))
}
