//! `tandem-server`: the command line. The library of this crate has the pages.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clap::error::ErrorKind;
use log::{LevelFilter, error};
use tandem_server::admin::client::Client;
use tandem_server::admin::output::Output;
use tandem_server::admin::{
    artifacts, audit, backup, deployments, devices, filters, groups, log_level, migrate,
    standing_orders, tokens, users, webhooks,
};
use tandem_server::cli::{Cli, Place, Verb, data, move_to, output, simulation};
use tandem_server::exit::{self, Exit};
use tandem_server::{log_output, serve, simulate};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => {
            // Whether anybody reads it does not change the exit code.
            let _ = err.print();
            let asked = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion].contains(&err.kind());
            return if asked { Exit::Success } else { Exit::Usage }.into();
        }
    };
    // A verb says by itself what it has done; of its work only what is odd is worth a line.
    let level = if cli.log_level == LevelFilter::Info && !matches!(cli.verb, Verb::Serve(_)) {
        LevelFilter::Warn
    } else {
        cli.log_level
    };
    log_output::start(level, cli.log_format);
    let outcome = serve::runtime().and_then(|runtime| runtime.block_on(run(cli.verb)));
    match outcome {
        Ok(()) => Exit::Success.into(),
        Err(err) => {
            error!("{err:#}");
            exit::of(&err).into()
        }
    }
}

async fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Serve(args) => serve::run(args.options()?).await,
        Verb::User { verb, place } => {
            with(place, async |client, output| {
                users::run(verb, client, output).await
            })
            .await
        }
        Verb::Token { verb, place } => {
            with(place, async |client, output| {
                tokens::run(verb, client, output).await
            })
            .await
        }
        Verb::Device { verb, place } => {
            with(place, async |client, output| {
                devices::run(verb, client, output).await
            })
            .await
        }
        Verb::Group { verb, place } => {
            with(place, async |client, output| {
                groups::run(verb, client, output).await
            })
            .await
        }
        Verb::Filter { verb, place } => {
            with(place, async |client, output| {
                filters::run(verb, client, output).await
            })
            .await
        }
        Verb::Order { verb, place } => {
            with(place, async |client, output| {
                standing_orders::run(verb, client, output).await
            })
            .await
        }
        Verb::Artifact { verb, place } => {
            with(place, async |client, output| {
                artifacts::run(verb, client, output).await
            })
            .await
        }
        Verb::Deployment { verb, place } => {
            with(place, async |client, output| {
                deployments::run(verb, client, output).await
            })
            .await
        }
        Verb::Webhook { verb, place } => {
            with(place, async |client, output| {
                webhooks::run(verb, client, output).await
            })
            .await
        }
        Verb::Audit { verb, place } => {
            with(place, async |client, output| {
                audit::run(verb, client, output).await
            })
            .await
        }
        Verb::LogLevel { level, place } => {
            with(place, async |client, output| {
                log_level::run(level, client, output).await
            })
            .await
        }
        Verb::Simulate(args) => simulate::run(simulation(*args)?).await,
        Verb::Backup {
            to,
            data: dir,
            json,
        } => backup::backup(&data(dir)?, &to, output(json)).await,
        Verb::Migrate {
            to,
            data: dir,
            json,
        } => migrate::run(&data(dir)?, &move_to(&to)?, output(json)).await,
        Verb::Restore {
            from,
            data: dir,
            json,
        } => backup::restore(&from, &data(dir)?, output(json)),
    }
}

/// Does `work` where the command line says.
async fn with(
    place: Place,
    work: impl AsyncFnOnce(&mut Client, Output) -> Result<()>,
) -> Result<()> {
    let (target, output) = place.resolve()?;
    let mut client = Client::open(target).await?;
    let outcome = work(&mut client, output).await;
    client.close().await;
    outcome
}
