//! Scenarios with the real server: it must be told the truth, whatever becomes of the update.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::lab::{Kind, Release};
use super::scenario::Scenario;
use super::stage::Stage;

/// How long the server may have to wait for the truth.
const PATIENCE: Duration = Duration::from_secs(240);

/// All of them.
pub(super) const MANAGED: [Scenario; 3] = [
    Scenario::managed("the_server_learns_of_a_success", |stage| {
        deployed(stage, "release-2", Kind::Whole, "success")
    }),
    Scenario::managed("the_server_learns_of_a_release_that_panics", |stage| {
        deployed(stage, "release-bad", Kind::Panics, "failure")
    }),
    Scenario::managed(
        "a_release_that_cannot_reach_the_server_goes_back",
        |stage| deployed(stage, "release-alone", Kind::Alone, "failure"),
    ),
];

/// The first start, and a deployment that ends so.
fn deployed(stage: &mut Stage, name: &str, kind: Kind, end: &str) -> Result<()> {
    let (first, release) = (stage.first()?, stage.lab.release(name, kind)?);
    stage.start_with(2, &first)?;
    enrol(stage)?;
    deploy(stage, &release)?;
    let (part, runs) = match end {
        "success" => (3, &release),
        _ => (2, &first),
    };
    if kind == Kind::Alone {
        stage.comes_up_with(3, &release)?;
    }
    stage.comes_up_with(part, runs)?;
    await_end(stage, &release, end)?;
    let shown = stage.machine.run("tandem show-artifact")?;
    ensure!(shown == runs.name, "it says that it runs {shown:?}");
    ensure!(stage.variable("upgrade_available")? == "0");
    Ok(())
}

/// Waits until the device knocks, and lets it in.
///
/// # Errors
/// When it does not.
pub fn enrol(stage: &mut Stage) -> Result<()> {
    until(stage, "the device knocks", |stage| {
        let fleet = stage.lab.fleet().context("there is no server")?;
        let devices = fleet.admin(&["device", "list", "--json"])?;
        let Some(id) = field(&devices, "id") else {
            return Ok(false);
        };
        fleet.admin(&["device", "accept", &id])?;
        Ok(true)
    })
}

/// Gives the release to all devices.
///
/// # Errors
/// When the server refuses.
pub fn deploy(stage: &mut Stage, release: &Release) -> Result<()> {
    let fleet = stage.lab.fleet().context("there is no server")?;
    let artifact = stage.lab.artifact_path(release);
    fleet.admin(&["artifact", "upload", &artifact.display().to_string()])?;
    fleet.admin(&["deployment", "create", "--all", &release.name])?;
    Ok(())
}

/// Waits until the server knows that the deployment of `release` has ended so.
///
/// # Errors
/// When it is told something else, or nothing.
pub fn await_end(stage: &mut Stage, release: &Release, end: &str) -> Result<()> {
    until(stage, "the server knows the end", |stage| {
        let fleet = stage.lab.fleet().context("there is no server")?;
        let list = fleet.admin(&["deployment", "list", "--json"])?;
        let id = field(&list, "id").context("there is no deployment")?;
        let shown = fleet.admin(&["deployment", "show", &id, "--json"])?;
        let ends = ["success", "failure"].map(|word| shown.contains(&format!("\"{word}\"")));
        ensure!(
            !shown.contains(&format!("\"status\":\"{}\"", opposite(end))),
            "the server is told that {} is a {}: {shown}",
            release.name,
            opposite(end)
        );
        Ok(ends.contains(&true) && shown.contains(end) && list.contains("finished"))
    })
}

fn opposite(end: &str) -> &'static str {
    if end == "success" {
        "failure"
    } else {
        "success"
    }
}

/// Asks again whenever the console has been read for a second.
fn until(
    stage: &mut Stage,
    what: &str,
    mut is_so: impl FnMut(&mut Stage) -> Result<bool>,
) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if is_so(stage)? {
            return Ok(());
        }
        let second = Duration::from_secs(1);
        // Nothing that the console says matters here; the second does.
        drop(stage.machine.wait("nothing", second, |_| None::<()>));
        ensure!(!stage.machine.is_off(), "the machine is off");
    }
    bail!(
        "after {} s it is still not so that {what}",
        PATIENCE.as_secs()
    )
}

/// The first string of this name in a JSON text.
fn field(json: &str, name: &str) -> Option<String> {
    let (_, rest) = json.split_once(&format!("\"{name}\":"))?;
    let (_, rest) = rest.split_once('"')?;
    Some(rest.split_once('"')?.0.to_owned())
}
