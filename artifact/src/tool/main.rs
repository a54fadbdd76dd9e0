//! `tandem-artifact`: write, read, check, sign and unpack Mender artifacts on the command line.

mod cli;
mod delta;
mod dump;
mod ext4;
mod framed;
mod input;
mod normalise;
mod output;
mod progress;
mod read;
mod reframe;
mod sign;
mod validate;
mod write;

use std::io::{self, Write as _};
use std::process::ExitCode;

use tandem_artifact::{Error, Kind};

use crate::cli::{Command, Usage, Verb};

fn main() -> ExitCode {
    let command = match Command::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(err) => {
            // Help and version come this way too, with code 0. Where they cannot be printed there is nobody to tell.
            let _ = err.print();
            return u8::try_from(err.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let result = match &command.verb {
        Verb::Write(write) => write::run(write, &command),
        Verb::Read(read) => read::run(read, &command),
        Verb::Validate(validate) => validate::run(validate, &command),
        Verb::Sign(sign) => sign::run(sign, &command),
        Verb::Dump(dump) => dump::run(dump, &command),
        Verb::Reframe(reframe) => reframe::run(reframe, &command),
        Verb::Delta(delta) => delta::run(delta, &command),
        Verb::Normalise(normalise) => normalise::run(normalise),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            if !is_broken_pipe(&err) {
                let _ = writeln!(io::stderr(), "tandem-artifact: {err:#}");
            }
            exit_code(&err)
        }
    }
}

/// The conversion of errors into the exit codes that `--help` promises.
fn exit_code(err: &anyhow::Error) -> ExitCode {
    const REFUSED: u8 = 1;
    const USAGE: u8 = 2;
    const IO: u8 = 3;
    if err.is::<Usage>() {
        return USAGE.into();
    }
    if err.is::<delta::OverBudget>() {
        return REFUSED.into();
    }
    let code = match err.downcast_ref::<Error>().map(Error::kind) {
        Some(Kind::Invalid | Kind::Untrusted | Kind::Unsupported | Kind::Limit) => REFUSED,
        Some(Kind::Input) => USAGE,
        Some(Kind::Source | Kind::Sink) | None => IO,
    };
    code.into()
}

/// Whoever read our output has seen enough: nothing to complain about.
fn is_broken_pipe(err: &anyhow::Error) -> bool {
    err.chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
