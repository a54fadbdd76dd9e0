//! What the command line says about a fleet.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::fate::{Rate, State, parse_rate, parse_share};
use crate::admin::output::Output;
use crate::server_address::ServerAddress;

/// A fleet to be played.
#[derive(Debug, Args)]
#[command(after_help = "\
Each device has a key of its own, asks for a token, tells its inventory, polls, and reports a deployment as the agent
does: downloading, installing, rebooting, installing (after it has asked for a token again), success or failure with a
log. What it is told to wait (429 and 503 with Retry-After) it waits; a token that is no longer good it renews.

With --token the fleet is let in and put into its groups over the management API. Without, import the list that
--write-list writes, or accept the devices by hand. The devices have 'simulated' in their identity.

Devices share --connections connections that are kept, so that a whole fleet can be played on one machine; real devices
that poll less than once in 75 s have one for each poll, as they have here with --fresh-connections. How long an answer
took counts from the moment when the device wanted to ask.

The command fails if there were errors: answers other than those that devices expect, or none. A server that is
restarted on purpose is no error with --expect-outages.

Examples:
  tandem-server simulate --server https://localhost:8443 --ca ca.crt --token TOKEN --devices 1000 --poll 1m --for 10m
  tandem-server simulate --devices 1000 --write-list fleet.csv
  tandem-server device import fleet.csv --data /var/lib/tandem-server
  tandem-server simulate --server https://localhost:8443 --ca ca.crt --devices 1000 --group canary=5% \\
      --fail 2%=rebooting --vanish 1% --slow-link 64KiB --download --token TOKEN

Signals: INT and TERM end the run; what was seen until then is printed.")]
pub struct SimulateArgs {
    /// The server [or TANDEM_SERVER]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Trusting this certificate and not those of the system: the server's ca.crt [or TANDEM_CA]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A token of an operator: the fleet is let in with it [or TANDEM_TOKEN, which others on the machine do not see]
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// How many
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    devices: u32,
    /// What the fleet is called, in the identities of its devices
    #[arg(long, value_name = "NAME", default_value = "sim")]
    name: String,
    /// What keys and all chance are made of: the same seed is the same fleet, and has the same devices fail. Whoever
    /// knows it has the keys of the devices
    #[arg(long, value_name = "TEXT", default_value = "1")]
    seed: String,
    /// Write a list of the devices for `device import`, and do nothing else
    #[arg(long, value_name = "FILE")]
    write_list: Option<PathBuf>,
    /// Keep in this file what devices have installed, and go on with it the next time
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// How long to play; until a signal comes if not given
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
    time: Option<Duration>,
    /// How often a device asks for a deployment; a tenth more or less
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = parse_time)]
    poll: Duration,
    /// How often it tells what is known about it
    #[arg(long, value_name = "TIME", default_value = "8h", value_parser = parse_time)]
    inventory: Duration,
    /// How long it is in each state of a deployment; half of it more or less
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
    step: Duration,
    /// The device type
    #[arg(long, value_name = "TYPE", default_value = "simulated")]
    device_type: String,
    /// The release that runs on devices at first
    #[arg(long, value_name = "RELEASE", default_value = "release-1")]
    release: String,
    /// A group and which share of the devices is in it: canary=5%; several times for several. Needs --token
    #[arg(long = "group", value_name = "NAME=SHARE", value_parser = parse_group)]
    groups: Vec<(String, f64)>,
    /// On which share of devices a deployment fails, and after which state: 2%=rebooting. States are downloading,
    /// installing (without a word), rebooting and committing; several times for several
    #[arg(long = "fail", value_name = "RATE[=STATE]", value_parser = parse_failing)]
    failing: Vec<Rate>,
    /// Which share of devices is not heard of any more after a state of a deployment: 1%=downloading
    #[arg(long = "vanish", value_name = "RATE[=STATE]", value_parser = parse_vanishing)]
    vanishing: Vec<Rate>,
    /// Devices that have vanished are back after so long, and go on
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    back_after: Option<Duration>,
    /// Really fetch artifacts; without this devices wait as long as it would take
    #[arg(long)]
    download: bool,
    /// Bytes per second of each device's line: 65536, 64KiB, 2MiB; as fast as it goes if not given
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    slow_link: Option<u64>,
    /// Downloads at once; who wants one more waits
    #[arg(long, value_name = "NUMBER", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    downloads: u32,
    /// Connections that all devices share, beside those of downloads
    #[arg(long, value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// A new connection for each turn of a device, as real devices have that poll seldom
    #[arg(long)]
    fresh_connections: bool,
    /// Connections that fail are counted, and are no failure of the run
    #[arg(long)]
    expect_outages: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is to be done.
pub enum Task {
    /// A list of devices is to be written.
    List {
        /// Whose.
        fleet: Fleet,
        /// Where to.
        file: PathBuf,
    },
    /// A fleet is to be played.
    Play(Box<Options>, Output),
}

/// Which devices.
#[derive(Debug, Clone)]
pub struct Fleet {
    pub(super) devices: u32,
    pub(super) name: String,
    pub(super) seed: String,
}

/// A fleet and how it behaves.
pub struct Options {
    pub(super) fleet: Fleet,
    pub(super) url: String,
    pub(super) address: ServerAddress,
    pub(super) authority: Option<PathBuf>,
    pub(super) token: Option<String>,
    pub(super) state: Option<PathBuf>,
    pub(super) time: Option<Duration>,
    pub(super) poll: Duration,
    pub(super) inventory: Duration,
    pub(super) step: Duration,
    pub(super) device_type: String,
    pub(super) release: String,
    pub(super) groups: Vec<(String, f64)>,
    pub(super) failing: Vec<Rate>,
    pub(super) vanishing: Vec<Rate>,
    pub(super) back_after: Option<Duration>,
    pub(super) download: bool,
    pub(super) pace: Option<u64>,
    pub(super) downloads: usize,
    pub(super) lines: usize,
    pub(super) fresh: bool,
    pub(super) outages: bool,
}

impl SimulateArgs {
    /// What is to be done, where `variable` reads the environment and `usage` makes an error of a wrong call.
    ///
    /// # Errors
    /// If something is missing or contradicts.
    pub fn task(
        self,
        variable: impl Fn(&str) -> Option<String>,
        usage: impl Fn(&str) -> anyhow::Error,
    ) -> Result<Task> {
        let fleet = Fleet {
            devices: self.devices,
            name: self.name,
            seed: self.seed,
        };
        if let Some(file) = self.write_list {
            return Ok(Task::List { fleet, file });
        }
        let server = self.server.or_else(|| variable("TANDEM_SERVER"));
        let url = server.ok_or_else(|| usage("against which server? Give --server URL"))?;
        let token = self.token.or_else(|| variable("TANDEM_TOKEN"));
        if !self.groups.is_empty() && token.is_none() {
            return Err(usage("devices are put into groups with --token TOKEN"));
        }
        let shares = |rates: &[Rate]| rates.iter().map(|rate| rate.share).sum::<f64>();
        if shares(&self.failing) + shares(&self.vanishing) > 1.0 {
            return Err(usage("--fail and --vanish are more than 100 % together"));
        }
        if self.groups.iter().map(|(_, share)| share).sum::<f64>() > 1.0 {
            return Err(usage("the groups are more than 100 % together"));
        }
        let address = ServerAddress::parse(&url)?;
        let options = Options {
            fleet,
            url,
            address,
            authority: self.ca.or_else(|| variable("TANDEM_CA").map(PathBuf::from)),
            token,
            state: self.state,
            time: self.time,
            poll: self.poll,
            inventory: self.inventory,
            step: self.step,
            device_type: self.device_type,
            release: self.release,
            groups: self.groups,
            failing: self.failing,
            vanishing: self.vanishing,
            back_after: self.back_after,
            download: self.download,
            pace: self.slow_link,
            downloads: usize::try_from(self.downloads).unwrap_or(usize::MAX),
            lines: usize::try_from(self.connections).unwrap_or(usize::MAX),
            fresh: self.fresh_connections,
            outages: self.expect_outages,
        };
        Ok(Task::Play(Box::new(options), crate::cli::output(self.json)))
    }
}

fn parse_failing(text: &str) -> Result<Rate, String> {
    parse_rate(text, State::Installing)
}

fn parse_vanishing(text: &str) -> Result<Rate, String> {
    parse_rate(text, State::Downloading)
}

fn parse_group(text: &str) -> Result<(String, f64), String> {
    let (name, share) = text
        .split_once('=')
        .ok_or("a group is written like canary=5%")?;
    Ok((name.to_owned(), parse_share(share)?))
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text)
        .map_err(|err| format!("{text:?} is no time, one is written like 5m: {err}"))?;
    if time.is_zero() || time > LONGEST {
        return Err("it must be more than nothing and less than a year".to_owned());
    }
    Ok(time)
}

const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no number of bytes: one is written like 64KiB");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text.get(digits.len()..).unwrap_or_default().trim() {
        "" | "B" => 1,
        "k" | "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number
        .checked_mul(unit)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_times_and_groups_are_read() {
        assert_eq!(parse_bytes("64KiB"), Ok(65_536));
        assert_eq!(parse_bytes("1000"), Ok(1000));
        assert_eq!(parse_bytes("2 M"), Ok(2 << 20));
        for wrong in ["", "x", "0", "-1", "1TB", "99999999999999G"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(parse_group("a=5%"), Ok(("a".to_owned(), 0.05)));
        assert!(parse_group("a").is_err() && parse_group("a=x").is_err());
        assert_eq!(parse_time("5m"), Ok(Duration::from_secs(300)));
        assert!(parse_time("0s").is_err() && parse_time("5").is_err());
    }
}
