//! `tandem-server deployment`

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;
use tandem_api::DeploymentStatus;
use tandem_api::management::{Deployment, DeviceDeployment, NewDeployment, PhaseState};

use super::client::{Client, escape};
use super::devices::find;
use super::filters;
use super::output::{Output, Table, inert, inert_lines, print};
use super::rollout_args::RolloutArgs;
use crate::rollout::phase_text;

const PATH: &str = "/api/management/v1/deployments/deployments";

/// What to do with deployments
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Give an artifact to devices
    Create {
        /// The name of the artifact: each device gets the best that fits of all that have this name
        artifact: String,
        /// To whom
        #[command(flatten)]
        targets: Targets,
        /// What to call the deployment; the name of the artifact without this
        #[arg(long)]
        name: Option<String>,
        /// Also to devices that have an artifact of this name, or on which it has failed too often
        #[arg(long)]
        force: bool,
        /// Also to devices that come to be among them later
        #[arg(long, conflicts_with = "devices")]
        continuous: bool,
        /// No further devices join when it has so many
        #[arg(long, value_name = "DEVICES")]
        max_devices: Option<u64>,
        /// How it goes through the devices
        #[command(flatten)]
        rollout: Box<RolloutArgs>,
    },
    /// List deployments, the newest first
    List {
        /// Only those that are pending, inprogress, finished or aborted
        #[arg(long)]
        status: Option<String>,
    },
    /// Show how a deployment goes on each device
    Show {
        /// Which one
        deployment: String,
    },
    /// Have no further device begin, until `resume`
    Pause {
        /// Which one
        deployment: String,
        /// Why, for people
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Let a deployment go on: one that was paused, stopped itself, or waits before its next phase
    Resume {
        /// Which one
        deployment: String,
    },
    /// Have the next phase begin, whatever it waits for
    Advance {
        /// Which one
        deployment: String,
    },
    /// Deploy again to the devices on which a deployment failed
    Retry {
        /// Which one
        deployment: String,
    },
    /// Stop a deployment: devices that have not begun get nothing
    Abort {
        /// Which one
        deployment: String,
    },
    /// Print the logs that devices sent
    Logs {
        /// Of which deployment
        deployment: String,
        /// Only of this device
        #[arg(long)]
        device: Option<String>,
    },
}

/// To whom a deployment goes.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Targets {
    /// To this device (identifier, or KEY=VALUE of the identity); several times for several
    #[arg(long = "device")]
    devices: Vec<String>,
    /// To all accepted devices of this group
    #[arg(long)]
    group: Option<String>,
    /// To all accepted devices that fulfil this saved filter (name or identifier), also those that come to later
    #[arg(long)]
    filter: Option<String>,
    /// To all accepted devices
    #[arg(long)]
    all: bool,
}

/// Does it.
///
/// # Errors
/// If it cannot be done.
pub async fn run(verb: Verb, client: &mut Client, output: Output) -> Result<()> {
    match verb {
        Verb::Create {
            artifact,
            targets,
            name,
            force,
            continuous,
            max_devices,
            rollout,
        } => {
            let filter_id = match &targets.filter {
                Some(filter) => Some(filters::find(client, filter).await?),
                None => None,
            };
            let mut devices = Vec::new();
            for device in &targets.devices {
                devices.push(find(client, device).await?.id);
            }
            let new = NewDeployment {
                name: name.unwrap_or_else(|| artifact.clone()),
                artifact_name: artifact,
                devices,
                all_devices: targets.all,
                force_installation: force,
                filter_id,
                continuous,
                max_devices,
                rollout: rollout.to_wire()?,
                ..NewDeployment::default()
            };
            let path = match &targets.group {
                Some(group) => format!("{PATH}/group/{}", escape(group)),
                None => PATH.to_owned(),
            };
            let id = client.make(&path, &new).await?;
            output.done(&json!({"id": id}), &format!("made {id}"))
        }
        Verb::List { status } => {
            let query = status.map_or(String::new(), |status| {
                format!("?status={}", escape(&status))
            });
            let deployments: Vec<Deployment> = client.get_all(&format!("{PATH}{query}")).await?;
            output.show(&deployments, |deployments| list(deployments))
        }
        Verb::Show { deployment } => {
            let path = format!("{PATH}/{}", escape(&deployment));
            let deployment: Deployment = client.get(&path).await?;
            let devices: Vec<DeviceDeployment> =
                client.get_all(&format!("{path}/devices/list")).await?;
            let both = json!({"deployment": deployment, "devices": devices});
            output.show(&both, |_| show(&deployment, &devices))
        }
        Verb::Pause { deployment, reason } => {
            let body = json!({"reason": reason});
            word(client, output, &deployment, "pause", "paused", &body).await
        }
        Verb::Resume { deployment } => {
            word(client, output, &deployment, "resume", "resumed", &json!({})).await
        }
        Verb::Advance { deployment } => {
            word(
                client,
                output,
                &deployment,
                "advance",
                "advanced",
                &json!({}),
            )
            .await
        }
        Verb::Retry { deployment } => {
            let path = format!("{PATH}/{}/retry", escape(&deployment));
            let id = client.make(&path, &json!({})).await?;
            output.done(&json!({"id": id}), &format!("made {id}"))
        }
        Verb::Abort { deployment } => {
            let path = format!("{PATH}/{}/status", escape(&deployment));
            client
                .send_json(Method::PUT, &path, &json!({"status": "aborted"}))
                .await?;
            output.done(
                &json!({"aborted": deployment}),
                &format!("aborted {deployment}"),
            )
        }
        Verb::Logs { deployment, device } => logs(client, output, &deployment, device).await,
    }
}

/// Has a person's word followed.
async fn word(
    client: &mut Client,
    output: Output,
    deployment: &str,
    action: &str,
    done: &str,
    body: &serde_json::Value,
) -> Result<()> {
    let path = format!("{PATH}/{}/{action}", escape(deployment));
    client.send_json(Method::POST, &path, body).await?;
    let mut said = serde_json::Map::new();
    said.insert(done.to_owned(), deployment.into());
    output.done(&said.into(), &format!("{done} {deployment}"))
}

async fn logs(
    client: &mut Client,
    output: Output,
    deployment: &str,
    device: Option<String>,
) -> Result<()> {
    let path = format!("{PATH}/{}", escape(deployment));
    let devices = match device {
        Some(device) => vec![find(client, &device).await?.id],
        None => {
            let all: Vec<DeviceDeployment> =
                client.get_all(&format!("{path}/devices/list")).await?;
            all.into_iter()
                .filter(|one| one.log)
                .map(|one| one.id)
                .collect()
        }
    };
    let mut logs = serde_json::Map::new();
    for device in devices {
        let response = client
            .send(
                Method::GET,
                &format!("{path}/devices/{device}/log"),
                None,
                axum::body::Body::empty(),
            )
            .await?;
        let body = http_body_util::BodyExt::collect(response.into_body())
            .await
            .context("the log breaks off")?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        if output == Output::Table {
            print(&format!("device {device}\n{}", inert_lines(&text)))?;
        }
        logs.insert(device, text.into());
    }
    match output {
        Output::Json => output.show(&logs, |_| String::new()),
        Output::Table if logs.is_empty() => print("no device has sent a log\n"),
        Output::Table => Ok(()),
    }
}

fn list(deployments: &[Deployment]) -> String {
    let mut table = Table::new(&[
        "ID", "NAME", "ARTIFACT", "STATUS", "DEVICES", "SUCCESS", "FAILURE", "SINCE",
    ]);
    for deployment in deployments {
        table.row([
            deployment.id.clone(),
            deployment.name.clone(),
            deployment.artifact_name.clone(),
            deployment.status.as_str().to_owned(),
            deployment.max_devices.to_string(),
            count(deployment, DeploymentStatus::Success),
            count(deployment, DeploymentStatus::Failure),
            deployment.created.to_string(),
        ]);
    }
    table.render()
}

fn count(deployment: &Deployment, status: DeploymentStatus) -> String {
    let statistics = deployment.statistics.as_ref();
    let count = statistics
        .and_then(|statistics| statistics.status.get(&status))
        .copied();
    count.unwrap_or_default().to_string()
}

fn show(deployment: &Deployment, devices: &[DeviceDeployment]) -> String {
    let mut text = list(std::slice::from_ref(deployment));
    if !deployment.phases.is_empty() {
        text.push_str(&format!("\n{}", phases(deployment)));
    }
    let holding = deployment
        .rollout
        .as_ref()
        .and_then(|rollout| rollout.holding.as_deref());
    if let Some(holding) = holding {
        text.push_str(&format!("\nno device begins now: {}\n", inert(holding)));
    }
    if let Some(rollout) = deployment.rollout.as_ref().filter(|one| one.lost > 0) {
        text.push_str(&format!(
            "\nlost devices, of which nothing was heard for long: {}\n",
            rollout.lost
        ));
    }
    let mut table = Table::new(&["DEVICE", "STATUS", "SINCE", "UNTIL", "LOG", "WHAT"]);
    for device in devices {
        table.row([
            device.id.clone(),
            device.status.to_string(),
            device.created.to_string(),
            device
                .finished
                .map(|time| time.to_string())
                .unwrap_or_default(),
            if device.log { "yes" } else { "" }.to_owned(),
            device.substate.clone().unwrap_or_default(),
        ]);
    }
    text.push_str(&format!("\n{}", table.render()));
    let waiting = deployment
        .max_devices
        .saturating_sub(deployment.device_count);
    if waiting > 0 {
        text.push_str(&format!("{waiting} devices have not asked for it yet\n"));
    }
    text
}

fn phases(deployment: &Deployment) -> String {
    let mut table = Table::new(&["PHASE", "STATE", "BEGUN", "OF", "DEVICES"]);
    for (number, phase) in (1_usize..).zip(&deployment.phases) {
        table.row([
            number.to_string(),
            match phase.state {
                PhaseState::Waiting => "waiting",
                PhaseState::Current => "current",
                PhaseState::Past => "past",
            }
            .to_owned(),
            phase.device_count.to_string(),
            phase.size.map(|size| size.to_string()).unwrap_or_default(),
            phase_text::describe(&phase.made),
        ]);
    }
    table.render()
}
