//! A large fleet, played by `tandem-server simulate` on the same machine, while a rollout in waves goes on.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::process::Process;
use crate::{Arguments, Bound, Goal, say, start};

/// What was seen with one database.
struct Seen {
    database: &'static str,
    /// Seconds until all devices were in.
    enrolment: f64,
    /// What the simulation says.
    fleet: Value,
    /// The deployment at the end.
    deployment: Value,
    /// Resident memory of the server at its highest, MiB.
    memory: f64,
    /// Processor time of the server for each poll, microseconds.
    cpu: f64,
}

/// Plays it with each database that there is; whether all goals are met.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let mut all = Vec::new();
    if !arguments.without_sqlite {
        all.push(play(arguments, "SQLite", &[]).context("with SQLite")?);
    }
    if let Some(url) = &arguments.postgres {
        let seen = play(arguments, "PostgreSQL", &["--database", url]);
        all.push(seen.context("with PostgreSQL")?);
    }
    say("");
    let heads: Vec<String> = all
        .iter()
        .map(|seen| format!("{:>12}", seen.database))
        .collect();
    say(&format!(
        "{:<52}{}",
        "a fleet and a rollout",
        heads.join("")
    ));
    for (what, value) in FIGURES {
        let values: Vec<String> = all
            .iter()
            .map(|seen| format!("{:>12.1}", value(seen)))
            .collect();
        say(&format!("{what:<52}{}", values.join("")));
    }
    say("");
    let goals: Vec<Goal> = all.iter().flat_map(|seen| goals(arguments, seen)).collect();
    for goal in &goals {
        say(&goal.line());
    }
    Ok(goals.iter().all(Goal::met))
}

/// A figure: what it is, and where it is.
type Figure = (&'static str, fn(&Seen) -> f64);

const FIGURES: [Figure; 11] = [
    ("seconds until all devices are let in", |seen| {
        seen.enrolment
    }),
    ("polls per second", |seen| poll(seen, "per_second")),
    ("polls, p50, ms", |seen| poll(seen, "p50_ms")),
    ("polls, p99, ms", |seen| poll(seen, "p99_ms")),
    ("polls, the longest, ms", |seen| poll(seen, "max_ms")),
    ("status reports, p99, ms", |seen| {
        number(&seen.fleet, "/requests/status/p99_ms")
    }),
    ("errors", errors),
    ("server, resident memory at its highest, MiB", |seen| {
        seen.memory
    }),
    (
        "server, processor time for each poll and all else, us",
        |seen| seen.cpu,
    ),
    ("devices updated", |seen| {
        number(&seen.deployment, "/statistics/status/success")
    }),
    ("devices on which it failed", |seen| {
        number(&seen.deployment, "/statistics/status/failure")
    }),
];

fn number(value: &Value, pointer: &str) -> f64 {
    value
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_default()
}

fn poll(seen: &Seen, what: &str) -> f64 {
    number(&seen.fleet, &format!("/requests/poll/{what}"))
}

fn errors(seen: &Seen) -> f64 {
    let errors = seen.fleet.get("errors").and_then(Value::as_object);
    let counts = errors.map(|errors| errors.values().filter_map(Value::as_f64).sum());
    counts.unwrap_or(f64::INFINITY)
}

fn goals(arguments: &Arguments, seen: &Seen) -> [Goal; 6] {
    let devices = arguments.devices as f64;
    let begun = seen.deployment.get("phases").and_then(Value::as_array);
    let begun = begun.map_or(0, |phases| {
        let waiting =
            |phase: &&Value| phase.get("state").and_then(Value::as_str) != Some("waiting");
        phases.iter().filter(waiting).count()
    });
    [
        Goal {
            what: "errors",
            value: errors(seen),
            bound: Bound::Most(0.0),
        },
        Goal {
            what: "polls per second of what the fleet is to ask",
            value: poll(seen, "per_second") / (devices / arguments.poll as f64),
            bound: Bound::Least(0.9),
        },
        Goal {
            what: "p99 of polls, ms",
            value: poll(seen, "p99_ms"),
            bound: Bound::Most(250.0),
        },
        Goal {
            what: "resident memory of the server, MiB",
            value: seen.memory,
            bound: Bound::Most(256.0),
        },
        Goal {
            what: "devices let in per second",
            value: devices / seen.enrolment,
            bound: Bound::Least(250.0),
        },
        Goal {
            what: "phases of the rollout that have begun",
            value: begun as f64,
            bound: Bound::Least(2.0),
        },
    ]
}

fn play(arguments: &Arguments, database: &'static str, how: &[&str]) -> Result<Seen> {
    let dir = tempfile::TempDir::new()?;
    let (server, operator) = start(&arguments.server, dir.path(), how)?;
    let artifact = dir.path().join("small.mender");
    make_artifact(dir.path(), &artifact)?;
    operator.upload(&artifact)?;
    say(&format!(
        "{database}: {} devices come in",
        arguments.devices
    ));
    let begun = Instant::now();
    let out = dir.path().join("simulation.json");
    let mut command = Command::new(&arguments.server);
    command
        .arg("simulate")
        .args(["--server", &format!("https://{}", operator.address), "--ca"])
        .arg(dir.path().join("data/tls/ca.crt"))
        .args(["--token", &operator.token])
        .args(["--devices", &arguments.devices.to_string()])
        .args(["--poll", &format!("{}s", arguments.poll)])
        .args(["--for", &format!("{}s", arguments.time)])
        .args([
            "--step",
            "5s",
            "--fail",
            "1%",
            "--group",
            "canary=1%",
            "--json",
        ])
        .stdin(Stdio::null())
        .stdout(File::create_new(&out)?);
    if arguments.fresh_connections {
        command.arg("--fresh-connections");
    }
    let mut fleet = Process::start(&mut command)?;
    wait_for(&mut fleet, "the fleet to come in", || {
        let path = "/api/management/v2/devauth/devices/count?status=accepted";
        let count = operator.ask("GET", path, &Value::Null)?;
        Ok(number(&count, "/count") >= arguments.devices as f64)
    })?;
    let enrolment = begun.elapsed().as_secs_f64();
    wait_for(&mut fleet, "the group", || {
        let path = "/api/management/v1/inventory/groups";
        let groups = operator.ask("GET", path, &Value::Null)?;
        Ok(groups.as_array().is_some_and(|groups| !groups.is_empty()))
    })?;
    let (cpu, path) = (server.cpu(), "/api/management/v1/deployments/deployments");
    let deployment = operator.ask(
        "POST",
        path,
        &json!({
            "name": "in waves", "artifact_name": "release-2", "all_devices": true,
            "phases": [{"group": "canary"}, {"batch_size": 10}, {}], "max_concurrent": 2000,
            "stop_on_failures": {"percent": 10, "minimum": 100},
        }),
    )?;
    drop(deployment);
    let mut memory = server.memory();
    let status = loop {
        memory = memory.max(server.memory());
        if let Some(status) = fleet.ended()? {
            break status;
        }
        std::thread::park_timeout(Duration::from_millis(500));
    };
    let text = std::fs::read(&out)?;
    let seen: Value = serde_json::from_slice(&text).context("the simulation says nothing")?;
    if !status.success() {
        say(&format!(
            "the simulation was not content: {}",
            seen.get("errors").unwrap_or(&Value::Null)
        ));
    }
    let polls = number(&seen, "/requests/poll/count").max(1.0);
    let cpu = server.cpu().saturating_sub(cpu).as_secs_f64() * 1e6 / polls;
    let deployments = operator.ask("GET", path, &Value::Null)?;
    let id = deployments.pointer("/0/id").and_then(Value::as_str);
    let id = id.context("the deployment is gone")?;
    let deployment = operator.ask("GET", &format!("{path}/{id}"), &Value::Null)?;
    Ok(Seen {
        database,
        enrolment,
        fleet: seen,
        deployment,
        memory,
        cpu,
    })
}

/// Waits until something is so, a quarter of an hour at most.
fn wait_for(fleet: &mut Process, what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !so()? {
        if let Some(status) = fleet.ended()? {
            bail!("the simulation has ended before {what}: {status}");
        }
        ensure!(
            begun.elapsed() < Duration::from_secs(15 * 60),
            "a quarter of an hour is not enough for {what}"
        );
        std::thread::park_timeout(Duration::from_millis(500));
    }
    Ok(())
}

/// An artifact that takes no time.
fn make_artifact(dir: &Path, artifact: &Path) -> Result<()> {
    let payload = dir.join("small");
    let mut content = std::io::Read::take(File::open("/dev/urandom")?, 10_000);
    std::io::copy(&mut content, &mut File::create_new(&payload)?)?;
    crate::write_artifact(&payload, "simulated", artifact)
}
