//! `tandem`: over-the-air updates for embedded Linux, on the device.
//!
//! ARCHITECTURE.md at the top of the repository has the map.

#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::disallowed_methods,
        clippy::wildcard_enum_match_arm,
        reason = "a test may panic, and its files are its own"
    )
)]

mod adaptive;
mod backoff;
mod block;
mod boot;
mod bootstrap;
mod cli;
mod config;
mod daemon;
mod deployment_log;
mod device;
mod device_type;
mod download;
mod drive;
mod durable;
mod exit;
mod http;
mod identity;
mod install;
mod inventory;
mod key_values;
mod keys;
mod link;
mod lock;
mod logger;
mod machine;
mod opening;
mod pace;
mod partition;
mod priority;
mod progress;
mod read_ahead;
mod reboot;
mod record;
mod rootfs_image;
mod same_again;
mod schedule;
mod seed;
mod server;
mod slots;
mod source;
mod standalone;
mod stop;
mod update_module;
mod wake;
mod watchdog;

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clap::error::ErrorKind;
use log::{LevelFilter, error, warn};
use tandem_artifact::{ARTIFACT_NAME, Provides};

use cli::{Cli, RebootOption, Verb};
use config::Config;
use exit::Exit;
use schedule::Errand;
use stop::Stop;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => {
            // Whether anybody reads it does not change the exit code.
            let _ = err.print();
            let asked = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion].contains(&err.kind());
            return if asked {
                Exit::Success.into()
            } else {
                Exit::Failure.into()
            };
        }
    };
    match run(&cli) {
        Ok(exit) => exit.into(),
        Err(err) => {
            error!("{err:#}");
            Exit::Failure.into()
        }
    }
}

fn run(cli: &Cli) -> Result<Exit> {
    let level = cli
        .log_level
        .as_deref()
        .map_or(Ok(LevelFilter::Info), config::log_level)?;
    logger::start(level);
    let config = Config::load(&cli.overrides())?;
    if let (None, Some(level)) = (&cli.log_level, config.log_level) {
        log::set_max_level(level);
    }
    let (verb, stop_before, reboot_code) = match &cli.verb {
        Verb::Daemon => return daemon::run(&config),
        Verb::CheckUpdate => return daemon::hurry(&config, Errand::Deployment),
        Verb::SendInventory => return daemon::hurry(&config, Errand::Inventory),
        Verb::ShowArtifact => return show(&config, |name, _| vec![name.to_owned()]),
        Verb::ShowProvides => {
            return show(&config, |_, provides| {
                provides
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect()
            });
        }
        Verb::Install {
            source,
            reboot: RebootOption { reboot_exit_code },
            stop,
        } => (
            standalone::Verb::Install(source.clone()),
            &stop.stop_before,
            *reboot_exit_code,
        ),
        Verb::Commit { stop } => (standalone::Verb::Commit, &stop.stop_before, false),
        Verb::Rollback { stop } => (standalone::Verb::Rollback, &stop.stop_before, false),
        Verb::Resume {
            reboot: RebootOption { reboot_exit_code },
            stop,
        } => (
            standalone::Verb::Resume,
            &stop.stop_before,
            *reboot_exit_code,
        ),
    };
    let stop = Stop::new()?;
    let (lines, exit) = standalone::run(&verb, stop_before, &config, &stop)?;
    print(&lines);
    let hide = exit == Exit::RebootNeeded && !reboot_code;
    Ok(if hide { Exit::Success } else { exit })
}

/// Prints what is installed.
fn show(config: &Config, lines: impl Fn(&str, &Provides) -> Vec<String>) -> Result<Exit> {
    let installed = bootstrap::installed(config)?;
    let name = installed
        .get(ARTIFACT_NAME)
        .map_or(bootstrap::UNKNOWN, String::as_str);
    print(&lines(name, &installed));
    Ok(Exit::Success)
}

/// The answer of a verb, on standard output; the log goes to standard error.
fn print(lines: &[String]) {
    let mut out = stdout().lock();
    for line in lines {
        if let Err(err) = writeln!(out, "{line}") {
            // The reader has gone. What the verb did stands, and so does its exit code.
            warn!("cannot print the answer: {err}");
            return;
        }
    }
}
