//! Load on the real server process over TLS on loopback, beside nginx and gooseBit in the same run; a table with ratios
//! and the goals. The machine is shared by the servers and the load.

mod client;
mod downloads;
mod fleet;
mod process;
mod rehearsal;
mod rivals;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

use client::{Load, drive, request};
use fleet::Operator;
use process::Process;
use rivals::Identity;

/// How the server stands its load, beside nginx and gooseBit
#[derive(Parser)]
struct Arguments {
    /// Devices of the large fleet
    #[arg(long, default_value_t = 100_000)]
    devices: usize,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Times that polls are measured, nginx and the server in turn; the median counts
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Slow downloads at once
    #[arg(long, default_value_t = 1000)]
    downloads: usize,
    /// A Python environment with gooseBit, made if it is not there; without this gooseBit is left out
    #[arg(long)]
    goosebit: Option<PathBuf>,
    /// Nothing of the above: a fleet that `simulate` plays, with a rollout in waves going on meanwhile
    #[arg(long)]
    simulate: bool,
    /// Seconds between two polls of a simulated device
    #[arg(long, default_value_t = 300)]
    poll: u64,
    /// Seconds that the fleet is played
    #[arg(long, default_value_t = 600)]
    time: u64,
    /// A connection for each poll of a simulated device, as real ones have
    #[arg(long)]
    fresh_connections: bool,
    /// The address of an empty PostgreSQL database: the same with it (`serve --database`)
    #[arg(long)]
    postgres: Option<String>,
    /// PostgreSQL alone
    #[arg(long, requires = "postgres")]
    without_sqlite: bool,
    /// The program to be measured
    #[arg(long, default_value = "target/release/tandem-server")]
    server: PathBuf,
}

/// The small fleet.
const SMALL: usize = 1000;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(err) => {
            say(&format!("error: {err:#}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn say(line: &str) {
    println!("{line}");
}

/// A goal, and whether it is met.
struct Goal {
    what: &'static str,
    value: f64,
    bound: Bound,
}

enum Bound {
    Least(f64),
    Most(f64),
}

impl Goal {
    fn met(&self) -> bool {
        match self.bound {
            Bound::Least(bound) => self.value >= bound,
            Bound::Most(bound) => self.value <= bound,
        }
    }

    fn line(&self) -> String {
        let bound = match self.bound {
            Bound::Least(bound) => format!(">= {bound}"),
            Bound::Most(bound) => format!("<= {bound}"),
        };
        let met = if self.met() { "met" } else { "MISSED" };
        format!("{:<58} {:>10.2}  {bound:<9} {met}", self.what, self.value)
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    if arguments.simulate {
        return rehearsal::run(arguments);
    }
    let dir = tempfile::TempDir::new()?;
    let time = Load::For(Duration::from_secs(arguments.seconds));
    let (server, operator) = start(&arguments.server, dir.path(), &[])?;
    let identity = Identity {
        certificate: dir.path().join("data/tls/server.crt"),
        key: dir.path().join("data/tls/server.key"),
    };
    let files = dir.path().join("nginx");
    std::fs::create_dir_all(files.join("files"))?;
    let artifact = files.join("files/big.mender");
    make_artifact(dir.path(), &artifact)?;
    let nginx = rivals::nginx(&files, &identity)?;
    let (address, tls) = (operator.address, &operator.tls);
    let mut goals = Vec::new();

    say("measured                                                 per second    p99 ms  CPU us");
    let measure = |what: &str, process: &Process, address: SocketAddr, requests: &[Vec<u8>]| {
        let before = process.cpu();
        let outcome = drive(address, tls, requests, time, &[200, 204])?;
        let cpu = process.cpu().saturating_sub(before).as_secs_f64() * 1e6 / outcome.count as f64;
        let p99 = outcome.p99().as_secs_f64() * 1e3;
        say(&format!(
            "{what:<58} {:>8.0}  {p99:>8.1}  {cpu:>6.1}",
            outcome.rate()
        ));
        Ok::<_, anyhow::Error>(outcome.rate())
    };

    let small = operator.enrol("small", SMALL)?;
    let (mut of_nginx, mut of_small) = (Vec::new(), Vec::new());
    for _ in 0..arguments.repeat.max(1) {
        of_nginx.push(measure(
            "nginx, constant 204",
            &nginx.process,
            nginx.address,
            &small.polls,
        )?);
        of_small.push(measure(
            "polls of 1,000 devices",
            &server,
            address,
            &small.polls,
        )?);
    }
    let (of_nginx, of_small) = (median(of_nginx), median(of_small));
    goals.push(Goal {
        what: "polls against nginx's constant 204",
        value: of_small / of_nginx,
        bound: Bound::Least(0.25),
    });
    goals.push(Goal {
        what: "resident memory with 1,000 devices, MiB",
        value: server.memory(),
        bound: Bound::Most(64.0),
    });
    if let Some(venv) = &arguments.goosebit {
        let home = dir.path().join("goosebit");
        std::fs::create_dir(&home)?;
        let goosebit = rivals::goosebit(&home, venv, &identity)?;
        let polls: Vec<Vec<u8>> = (0..100)
            .map(|n| request("GET", &format!("/DEFAULT/controller/v1/device{n}"), "", b""))
            .collect();
        drive(goosebit.address, tls, &polls, Load::Once, &[200])?;
        let rate = measure(
            "gooseBit 0.2.12, polls of 100 devices",
            &goosebit.process,
            goosebit.address,
            &polls,
        )?;
        goals.push(Goal {
            what: "polls against gooseBit's",
            value: of_small / rate,
            bound: Bound::Least(50.0),
        });
    }

    let path = "/api/management/v1/deployments/deployments";
    operator.upload(&artifact)?;
    operator.ask(
        "POST",
        path,
        &json!({"name": "all", "artifact_name": "release-2", "all_devices": true}),
    )?;
    let offers = drive(address, tls, &small.polls, Load::Once, &[200])?;
    let links = offers
        .answers
        .iter()
        .take(arguments.downloads)
        .map(|answer| {
            let offer: Value = serde_json::from_slice(&answer.body)?;
            let uri = offer
                .pointer("/artifact/source/uri")
                .and_then(Value::as_str)
                .context("an offer without a link")?;
            let path = uri.splitn(4, '/').nth(3).context("a link without a path")?;
            Ok(format!("GET /{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into_bytes())
        });
    let links = links.collect::<Result<Vec<_>>>()?;
    let quiet = operator.enrol("quiet", 1)?;
    let long = Duration::from_secs(arguments.seconds.saturating_mul(2));
    let seen = downloads::slow(
        address,
        tls,
        &server,
        &links,
        quiet.polls.first().map(Vec::as_slice),
        long,
    )
    .context("slow downloads from tandem-server")?;
    let file = b"GET /files/big.mender HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_vec();
    let nginx_seen = downloads::slow(
        nginx.address,
        tls,
        &nginx.process,
        &vec![file; links.len()],
        None,
        long,
    )
    .context("slow downloads from nginx")?;
    for (what, seen) in [("tandem-server", &seen), ("nginx", &nginx_seen)] {
        say(&format!(
            "{what}: {} slow downloads, {:.1} MiB/s, {:.1} MiB resident",
            links.len(),
            seen.speed,
            seen.memory
        ));
    }
    goals.push(Goal {
        what: "resident memory of slow downloads against nginx's",
        value: seen.memory / nginx_seen.memory,
        bound: Bound::Most(1.5),
    });
    let p99 = seen.p99.unwrap_or_default().as_secs_f64() * 1e3;
    goals.push(Goal {
        what: "p99 of polls meanwhile, ms",
        value: p99,
        bound: Bound::Most(50.0),
    });

    let large = operator.enrol("large", arguments.devices.saturating_sub(SMALL).max(1))?;
    goals.push(Goal {
        what: "durable enrolments per second (Ed25519)",
        value: large.enrolments,
        bound: Bound::Least(1000.0),
    });
    // Once around, so that both fleets have been heard from.
    drive(address, tls, &large.polls, Load::Once, &[200, 204])?;
    let of_small = measure(
        "polls of 1,000 devices again",
        &server,
        address,
        large.polls.get(..SMALL).unwrap_or(&large.polls),
    )?;
    let of_large = measure(
        &format!("polls of {} devices", arguments.devices),
        &server,
        address,
        &large.polls,
    )?;
    goals.push(Goal {
        what: "polls of the large fleet against the small one",
        value: of_large / of_small,
        bound: Bound::Least(0.5),
    });
    say(&format!(
        "resident memory with {} devices: {:.1} MiB",
        arguments.devices,
        server.memory()
    ));

    say("");
    for goal in &goals {
        say(&goal.line());
    }
    Ok(goals.iter().all(Goal::met))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Starts the server in `dir` with these further options, and signs in.
fn start(program: &Path, dir: &Path, more: &[&str]) -> Result<(Process, Operator)> {
    let (data, log) = (dir.join("data"), dir.join("server.log"));
    let mut command = Command::new(program);
    command
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--log-level",
            "warn",
            "--data",
        ])
        .arg(&data);
    // All devices are on one machine here, and ask as fast as they can.
    command.args([
        "--address-rate",
        "1000000",
        "--device-rate",
        "1000000",
        "--max-pending",
        "1000000",
    ]);
    command.args(more);
    let mut server = Process::start_logged(&mut command, &log)?;
    let text = server.wait("tandem-server", || {
        std::fs::read_to_string(&log)
            .ok()
            .filter(|text| text.contains("listening on "))
    })?;
    let address = text
        .lines()
        .find_map(|line| line.strip_prefix("listening on https://"));
    let address = address
        .context("the server does not say where it listens")?
        .parse()?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(data.join("tls/ca.crt"))?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let tls = Arc::new(tls.with_root_certificates(roots).with_no_client_auth());
    let made = Command::new(program)
        .args(["token", "create", "bench", "--data"])
        .arg(&data)
        .output()?;
    if !made.status.success() {
        bail!("no token: {}", String::from_utf8_lossy(&made.stderr));
    }
    let token = String::from_utf8(made.stdout)?.trim().to_owned();
    Ok((
        server,
        Operator {
            address,
            tls,
            token,
        },
    ))
}

/// An artifact of 100 MB.
fn make_artifact(dir: &Path, artifact: &Path) -> Result<()> {
    let payload = dir.join("payload");
    let mut content = std::io::Read::take(std::fs::File::open("/dev/urandom")?, 100_000_000);
    std::io::copy(&mut content, &mut std::fs::File::create_new(&payload)?)?;
    write_artifact(&payload, "testboard", artifact)
}

/// Writes an artifact for devices of this type.
fn write_artifact(payload: &Path, device_type: &str, artifact: &Path) -> Result<()> {
    let made = Command::new("mender-artifact")
        .args([
            "--compression",
            "none",
            "write",
            "module-image",
            "-T",
            "test",
            "-t",
            device_type,
            "-n",
            "release-2",
            "-f",
        ])
        .arg(payload)
        .arg("-o")
        .arg(artifact)
        .output()
        .context("cannot run mender-artifact")?;
    if !made.status.success() {
        bail!("no artifact: {}", String::from_utf8_lossy(&made.stderr));
    }
    Ok(())
}
