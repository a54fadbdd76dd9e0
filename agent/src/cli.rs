//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::Overrides;
use crate::machine::{Point, State, Step};

/// Over-the-air updates for embedded Linux
///
/// Installs artifacts into the passive one of two root file systems, tries them, keeps them when
/// they prove themselves, and goes back in every other case.
#[derive(Debug, Parser)]
#[command(name = "tandem", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Read this configuration (TOML, or JSON as in mender.conf) instead of /etc/tandem/tandem.toml
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Read this configuration first; the other one overrides it key by key
    #[arg(short = 'b', long, value_name = "FILE", global = true)]
    fallback_config: Option<PathBuf>,
    /// Keep the device's data here instead of in data_dir
    #[arg(short, long, alias = "data", value_name = "DIR", global = true)]
    datastore: Option<PathBuf>,
    /// Trust these certificates instead of the system's
    #[arg(short = 'E', long, value_name = "FILE", global = true)]
    trusted_certs: Option<PathBuf>,
    /// What to log: error, warning, info, debug or trace
    #[arg(short, long, value_name = "LEVEL", global = true)]
    pub(crate) log_level: Option<String>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Install an artifact from a file or an https address
    ///
    /// Ends when the new software is installed and waits to be tried: reboot, then commit or roll
    /// back. Software that cannot be rolled back is committed at once.
    #[command(after_help = INSTALL_EXAMPLES)]
    Install {
        /// A .mender file, an https:// address, or - for the standard input
        #[arg(value_name = "FILE|URL")]
        source: String,
        #[command(flatten)]
        reboot: RebootOption,
        #[command(flatten)]
        stop: StopOption,
    },
    /// Make the installed software permanent
    #[command(after_help = CODES)]
    Commit {
        #[command(flatten)]
        stop: StopOption,
    },
    /// Undo the installation
    #[command(after_help = CODES)]
    Rollback {
        #[command(flatten)]
        stop: StopOption,
    },
    /// Go on with an update that was stopped or interrupted
    ///
    /// An interrupted installation or commit is rolled back, everything else is finished.
    #[command(after_help = CODES)]
    Resume {
        #[command(flatten)]
        reboot: RebootOption,
        #[command(flatten)]
        stop: StopOption,
    },
    /// Run as the device's daemon: ask the server for deployments and carry them out
    ///
    /// Logs to standard error. SIGUSR1 asks for a deployment at once, SIGUSR2 sends the inventory,
    /// SIGTERM stops; what is in progress then is taken up when the daemon starts again.
    Daemon,
    /// Make the running daemon ask the server for a deployment now
    CheckUpdate,
    /// Make the running daemon send the inventory now
    SendInventory,
    /// Print the name of the installed artifact
    ShowArtifact,
    /// Print everything that the installed software provides, as key=value lines
    ShowProvides,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RebootOption {
    /// Exit with code 4 instead of 0 when the device has to be rebooted
    #[arg(long)]
    pub(crate) reboot_exit_code: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StopOption {
    /// Stop in front of this step; 'tandem resume' goes on. May be repeated. One of
    /// ArtifactInstall_Enter, ArtifactCommit_Enter, ArtifactCommit_Leave, ArtifactRollback_Enter,
    /// ArtifactFailure_Enter, Cleanup
    #[arg(long, value_name = "STATE", value_parser = stop_point)]
    pub(crate) stop_before: Vec<Point>,
}

impl Cli {
    /// What the command line says about the configuration.
    pub(crate) fn overrides(&self) -> Overrides {
        Overrides {
            config: self.config.clone(),
            fallback_config: self.fallback_config.clone(),
            datastore: self.datastore.clone(),
            trusted_certs: self.trusted_certs.clone(),
        }
    }
}

/// The point in front of which `--stop-before` stops.
fn stop_point(name: &str) -> Result<Point, String> {
    Ok(match name {
        "ArtifactInstall_Enter" => Point::new(State::ArtifactInstall, Step::Enter),
        "ArtifactCommit_Enter" => Point::new(State::ArtifactCommit, Step::Enter),
        "ArtifactCommit_Leave" => Point::new(State::ArtifactCommit, Step::Leave),
        "ArtifactRollback_Enter" => Point::new(State::ArtifactRollback, Step::Enter),
        "ArtifactFailure_Enter" => Point::new(State::ArtifactFailure, Step::Enter),
        "Cleanup" => Point::new(State::Cleanup, Step::Main),
        _ => return Err("it is not a step that can be stopped in front of".to_owned()),
    })
}

const EXAMPLES: &str = "\
Examples:
  tandem install release-2.mender                 install from a file
  tandem install https://host/release-2.mender    install from a server
  tandem commit                                   keep what was installed and tried
  tandem rollback                                 go back to what ran before
  tandem show-provides                            what is installed

Exit codes:
  0  done
  1  failed; the last lines say what the device is left with
  2  there is no update to commit, roll back or resume
  4  done, and a reboot is needed (with --reboot-exit-code)";

const INSTALL_EXAMPLES: &str = "\
Examples:
  tandem install release-2.mender && reboot
  tandem install --reboot-exit-code release-2.mender; [ $? -eq 4 ] && reboot
  xz -dc release-2.mender.xz | tandem install -

Exit codes: 0 done, 1 failed, 4 done and a reboot is needed (with --reboot-exit-code)";

const CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 there is no update in progress, 4 done and a reboot is needed
(with --reboot-exit-code)";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_manual_page_is_what_help_says() {
        tandem_manual::hold(super::Cli::command(), env!("CARGO_MANIFEST_DIR"));
    }
}
