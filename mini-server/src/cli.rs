//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use log::LevelFilter;

use crate::admin::client::Target;
use crate::admin::output::Output;
use crate::admin::{
    artifacts, audit, deployments, devices, filters, groups, standing_orders, tokens, users,
    webhooks,
};
use crate::app::{QUARANTINE, Settings};
use crate::assembly::Rates;
use crate::blobs;
use crate::exit::{Because, EXIT_CODES, Exit};
use crate::housekeeping::Keep;
use crate::link::Links;
use crate::log_output::LogFormat;
use crate::serve::Options;
use crate::simulate::{SimulateArgs, Task};
use crate::store::Database;
use crate::tls::check_name;

/// Over-the-air updates for embedded Linux: the server for small fleets
#[derive(Debug, Parser)]
#[command(name = "tandem-server", version, after_help = EXIT_CODES, after_long_help = LONG_HELP)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
    /// What to log: off, error, warn, info, debug, trace
    #[arg(long, global = true, default_value = "info", value_name = "LEVEL")]
    pub log_level: LevelFilter,
    /// How to log
    #[arg(long, global = true, default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,
}

const LONG_HELP: &str = "\
Examples:
  tandem-server serve --data /var/lib/tandem-server --listen 0.0.0.0:8443
  tandem-server device list --data /var/lib/tandem-server --status pending
  tandem-server device accept mac=de:ad:be:ef:00:01 --data /var/lib/tandem-server
  tandem-server token create ci --data /var/lib/tandem-server
  tandem-server artifact upload release-2.mender --server https://updates.example.com --token TOKEN
  tandem-server deployment create release-2 --group beta --server https://updates.example.com --token TOKEN
  tandem-server deployment create release-2 --all --phase 1 --phase 10%,wait=2h --phase rest,pause --stop-after 3
  tandem-server group window beta 'mon-fri 22:00 4h Europe/Berlin' --data /var/lib/tandem-server
  tandem-server simulate --server https://localhost:8443 --ca ca.crt --token TOKEN --devices 1000 --fail 2%
  tandem-server backup /backup/today --data /var/lib/tandem-server

Exit codes:
  0  done
  1  not done
  2  called in a wrong way
  3  there is no such user, token, device, artifact, deployment, filter or group
  4  the server cannot be reached, or its certificate is not trusted
  5  the server does not allow it: no token, a wrong one, or one that is no longer good";

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Serve devices, the APIs, and pages for people; sets everything up at the first start
    Serve(Box<ServeArgs>),
    /// Users: add, list, role, delete, passwd
    User {
        /// What exactly
        #[command(subcommand)]
        verb: users::Verb,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// Personal access tokens: create, list, revoke
    Token {
        /// What exactly
        #[command(subcommand)]
        verb: tokens::Verb,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// Devices: list, show, accept, reject, decommission, preauthorize, import, pin, unpin
    Device {
        /// What exactly
        #[command(subcommand)]
        verb: devices::Verb,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// Groups of devices: list, devices, add, remove, delete, window
    Group {
        /// What exactly
        #[command(subcommand)]
        verb: groups::Verb,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// Saved filters, which are dynamic groups: create, list, delete
    Filter {
        /// What exactly
        #[command(subcommand)]
        verb: filters::Verb,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// Standing orders, always the newest release with a tag: create, list, delete
    Order {
        /// What exactly
        #[command(subcommand)]
        verb: standing_orders::Verb,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// Artifacts: upload, list, show, delete, download
    Artifact {
        /// What exactly
        #[command(subcommand)]
        verb: artifacts::Verb,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// Deployments: create, list, show, pause, resume, advance, retry, abort, logs
    Deployment {
        /// What exactly
        #[command(subcommand)]
        verb: deployments::Verb,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// Addresses that are told of events: add, list, test, delete
    Webhook {
        /// What exactly
        #[command(subcommand)]
        verb: webhooks::Verb,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// The audit log: list, export
    Audit {
        /// What exactly
        #[command(subcommand)]
        verb: audit::Verb,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// How much the running server logs, or let it log more or less until it is started again
    LogLevel {
        /// off, error, warn, info, debug, trace
        level: Option<LevelFilter>,
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// Play a fleet of devices against a server: to rehearse a rollout, or to see how much the server stands
    Simulate(Box<SimulateArgs>),
    /// Copy everything into an empty directory, also while the server runs
    Backup {
        /// Where to; keep it as safe as the data directory: the server's keys are in it
        to: PathBuf,
        /// The data directory
        #[arg(long)]
        data: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Move the database from a data directory to a PostgreSQL server; the server must not run meanwhile
    Migrate {
        /// Where to: postgres://USER@HOST/DATABASE, or a file with that in it; a database with nothing in it
        #[arg(long, value_name = "URL|FILE")]
        to: String,
        /// The data directory
        #[arg(long)]
        data: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a data directory from a backup
    Restore {
        /// The backup
        from: PathBuf,
        /// The data directory to be made; it must be empty or not there
        #[arg(long)]
        data: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Where a verb works.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where")]
pub struct Place {
    /// On this data directory, also while its server runs [or TANDEM_DATA]
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "server")]
    data: Option<PathBuf>,
    /// Where its database is, if not in this directory: postgres://USER@HOST/DATABASE, or a file with that in it [or
    /// TANDEM_DATABASE]
    #[arg(
        long,
        global = true,
        value_name = "URL|FILE",
        conflicts_with = "server"
    )]
    database: Option<String>,
    /// On this server [or TANDEM_SERVER]
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    /// With this token, made with `token create` [or TANDEM_TOKEN, which others on the machine do not see]
    #[arg(long, global = true, value_name = "TOKEN")]
    token: Option<String>,
    /// Trusting this certificate and not those of the system: the server's ca.crt [or TANDEM_CA]
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

/// How to serve.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tandem-server serve --data /var/lib/tandem-server --listen 0.0.0.0:8443 --name updates.example.com

Signals: TERM and INT stop the server, HUP has it read its certificate again.")]
pub struct ServeArgs {
    /// Where everything is kept; made if it is not there [or TANDEM_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Keep the database on a PostgreSQL server and not in the data directory: postgres://USER@HOST/DATABASE, or a file
    /// with that in it, so that a password is not seen by others on the machine [or TANDEM_DATABASE]
    #[arg(long, value_name = "URL|FILE")]
    database: Option<String>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8443")]
    listen: SocketAddr,
    /// A name or address by which devices know the server, for its certificate; several times for several
    #[arg(long = "name", value_name = "NAME", value_parser = check_name)]
    names: Vec<String>,
    /// A certificate of another authority (PEM, with what leads to it), instead of one by an authority of our own
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The beginning of the links that devices get, if they do not know the server by its own name
    #[arg(long, value_name = "https://HOST[:PORT]", value_parser = check_url)]
    public_url: Option<String>,
    /// Where artifacts are kept: a directory, or s3://BUCKET[/PREFIX] of a store that the AWS_ variables of the
    /// environment lead to. It is remembered; what there is moves there first. Without this, where they are
    #[arg(long, value_name = "PLACE", value_parser = check_place)]
    artifacts: Option<blobs::Place>,
    /// From whom devices get artifacts: this server, or the store itself, by links that it signs
    #[arg(long, value_name = "WHOM", value_enum, default_value_t = Giver::Server)]
    artifact_links: Giver,
    /// From a cache at this address, which gets them from this server: one link for all devices
    #[arg(long, value_name = "https://HOST[/PATH]", value_parser = check_url)]
    artifact_base_url: Option<String>,
    /// Hours for which the links to artifacts are good, at least
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = value_parser!(u64).range(1..=168))]
    link_hours: u64,
    /// The e-mail address of the administrator that is made at the first start
    #[arg(long, value_name = "EMAIL", default_value = "admin@tandem.internal")]
    admin_email: String,
    /// A public key (PEM) of which one must have signed every artifact that is uploaded; several times for several
    #[arg(long = "artifact-key", value_name = "FILE")]
    artifact_keys: Vec<PathBuf>,
    /// A certificate (PEM) that receivers of webhooks have theirs by, instead of the authorities of the system
    #[arg(long, value_name = "FILE")]
    webhook_ca: Option<PathBuf>,
    /// Devices that may be accepted; without a limit if not given
    #[arg(long, value_name = "NUMBER")]
    max_devices: Option<u64>,
    /// Devices that may wait to be accepted
    #[arg(long, value_name = "NUMBER", default_value_t = 100_000)]
    max_pending: u64,
    /// MiB of an artifact
    #[arg(long, value_name = "MIB", default_value_t = 10_240)]
    max_artifact_size: u64,
    /// MiB of all artifacts together; without a limit if not given
    #[arg(long, value_name = "MIB")]
    artifact_quota: Option<u64>,
    /// MiB that uploads leave free on the disk
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    min_free: u64,
    /// Days that the audit log goes back; 0 for ever
    #[arg(long, value_name = "DAYS", default_value_t = 730)]
    keep_audit: u32,
    /// Days that logs of failures are kept after the end of their deployments; 0 for ever
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    keep_logs: u32,
    /// Days after which artifacts are deleted that no deployment and no device needs; 0 never
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    keep_artifacts: u32,
    /// Downloads at once; further devices are told to come later. Without a limit if not given
    #[arg(long, value_name = "NUMBER")]
    max_downloads: Option<u64>,
    /// Failures after which an artifact is not offered to a device again but by force; 0 for never
    #[arg(long, value_name = "FAILURES", default_value_t = QUARANTINE)]
    quarantine: u64,
    /// After how long without a word from it a device that is at a deployment is lost: others get its place; 0s for
    /// never. A device that downloads from elsewhere says nothing meanwhile
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration)]
    lost_after: Duration,
    /// Connections at once
    #[arg(long, value_name = "NUMBER", default_value_t = 16_384)]
    max_connections: usize,
    /// Requests per second of one device
    #[arg(long, value_name = "NUMBER", default_value_t = Rates::default().device)]
    device_rate: u32,
    /// Requests per second from one address, those of devices not counted
    #[arg(long, value_name = "NUMBER", default_value_t = Rates::default().address)]
    address_rate: u32,
    /// Seconds that requests may go on when the server is to stop
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    drain: u64,
}

impl ServeArgs {
    /// What to serve.
    ///
    /// # Errors
    /// If something is missing.
    pub fn options(self) -> Result<Options> {
        let settings = Settings {
            max_devices: self.max_devices,
            max_pending: self.max_pending,
            max_artifact_size: self.max_artifact_size.saturating_mul(1 << 20),
            artifact_quota: self
                .artifact_quota
                .map(|quota| quota.saturating_mul(1 << 20)),
            min_free: self.min_free.saturating_mul(1 << 20),
            keep: Keep {
                audit: Some(self.keep_audit).filter(|days| *days > 0),
                logs: Some(self.keep_logs).filter(|days| *days > 0),
                artifacts: Some(self.keep_artifacts).filter(|days| *days > 0),
            },
            max_downloads: self.max_downloads,
            quarantine: self.quarantine,
            lost_after: Some(self.lost_after).filter(|time| !time.is_zero()),
            public_url: self.public_url,
            artifacts: self.artifacts,
            links: match (self.artifact_base_url, self.artifact_links) {
                (Some(_), Giver::Store) => {
                    return Err(usage(
                        "--artifact-base-url and --artifact-links store: devices can get artifacts from one of them only",
                    ));
                }
                (Some(url), Giver::Server) => Links::Cache(url),
                (None, Giver::Server) => Links::Server,
                (None, Giver::Store) => Links::Store,
            },
            link_validity: Duration::from_secs(self.link_hours.saturating_mul(60 * 60)),
            webhook_authority: self.webhook_ca,
            ..Settings::default()
        };
        Ok(Options {
            data: data(self.data)?,
            database: database(self.database, PATIENCE)?,
            listen: self.listen,
            names: self.names,
            certificate: self.tls_cert.zip(self.tls_key),
            admin_email: self.admin_email,
            connections: self.max_connections,
            drain: Duration::from_secs(self.drain),
            rates: Rates {
                device: self.device_rate,
                address: self.address_rate,
            },
            artifact_keys: self.artifact_keys,
            settings,
        })
    }
}

impl Place {
    /// Where to work, and how to print.
    ///
    /// # Errors
    /// If nothing says where.
    pub fn resolve(self) -> Result<(Target, Output)> {
        let output = output(self.json);
        // What is on the command line wins over what is in the environment.
        let server = self.server.or_else(|| match &self.data {
            Some(_) => None,
            None => variable("TANDEM_SERVER"),
        });
        let Some(url) = server else {
            let database = database(self.database, VERB_PATIENCE)?;
            return Ok((Target::Data(data(self.data)?, database), output));
        };
        let token = self.token.or_else(|| variable("TANDEM_TOKEN"));
        let token = token.ok_or_else(|| {
            usage("a token is needed with --server: make one with `tandem-server token create NAME --data DIR`")
        })?;
        let authority = self.ca.or_else(|| variable("TANDEM_CA").map(PathBuf::from));
        let target = Target::Https {
            url,
            token,
            authority,
        };
        Ok((target, output))
    }
}

/// What fleet is to be played.
///
/// # Errors
/// If something is missing or contradicts.
pub fn simulation(args: SimulateArgs) -> Result<Task> {
    args.task(variable, usage)
}

/// The data directory, from the command line or the environment.
///
/// # Errors
/// If neither says so.
pub fn data(given: Option<PathBuf>) -> Result<PathBuf> {
    given
        .or_else(|| variable("TANDEM_DATA").map(PathBuf::from))
        .ok_or_else(|| usage("where? Give --data DIR, or --server URL with --token TOKEN"))
}

/// How long the server waits at its start for a database server that is not there yet, and how long a verb does.
const PATIENCE: Duration = Duration::from_secs(60);
const VERB_PATIENCE: Duration = Duration::from_secs(5);

/// The database, from the command line or the environment; absent if it is in the data directory.
fn database(given: Option<String>, patience: Duration) -> Result<Option<Database>> {
    let given = given.or_else(|| variable("TANDEM_DATABASE"));
    given.map(|text| postgres(&text, patience)).transpose()
}

/// Where a database is to be moved to.
///
/// # Errors
/// If it is no such place.
pub fn move_to(text: &str) -> Result<Database> {
    postgres(text, VERB_PATIENCE)
}

/// A PostgreSQL database by its URL, or by a file that has the URL in it.
///
/// # Errors
/// If it is no such URL.
fn postgres(text: &str, patience: Duration) -> Result<Database> {
    let is_url = |text: &str| text.starts_with("postgres://") || text.starts_with("postgresql://");
    let url = if is_url(text) {
        text.to_owned()
    } else if text.contains("://") {
        return Err(usage(
            "a database is postgres://USER:PASSWORD@HOST:PORT/DATABASE, or a file with that in it",
        ));
    } else {
        let content = std::fs::read_to_string(text)
            .with_context(|| format!("cannot read the address of the database from {text}"))?;
        content.trim().to_owned()
    };
    if !is_url(&url) {
        return Err(usage(&format!(
            "there is no postgres://USER:PASSWORD@HOST:PORT/DATABASE in {text}"
        )));
    }
    Database::postgres(&url, patience)
        .map_err(|err| usage(&format!("the address of the database is unusable: {err}")))
}

/// How to print.
#[must_use]
pub fn output(json: bool) -> Output {
    if json { Output::Json } else { Output::Table }
}

fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is the place that may")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn usage(message: &str) -> anyhow::Error {
    anyhow!(Because(Exit::Usage, message.to_owned()))
}

/// Who gives artifacts to devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Giver {
    // Also what is in a store.
    Server,
    Store,
}

fn check_place(text: &str) -> Result<blobs::Place, String> {
    text.parse().map_err(|err: blobs::Unusable| err.to_string())
}

fn check_url(text: &str) -> Result<String, String> {
    match text.parse::<http::Uri>() {
        Ok(uri)
            if uri.scheme_str() == Some("https")
                && uri.host().is_some()
                && uri.query().is_none() =>
        {
            Ok(text.to_owned())
        }
        _ => Err("it must be https://HOST[:PORT][/PATH]".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_manual_page_is_what_help_says() {
        tandem_manual::hold(super::Cli::command(), env!("CARGO_MANIFEST_DIR"));
    }
}
