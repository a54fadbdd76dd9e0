//! `tandem-server device`

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Subcommand;
use http::Method;
use serde_json::{Map, Value, json};
use tandem_api::device::AttributeValue;
use tandem_api::management::{
    AuthSet, AuthSetStatus, Device, DeviceHistory, DeviceStatus, ImportProblem, Imported,
    InventoryDevice, NewAuthSetStatus, Pin, Preauthorized, WaitingDeployment,
};

use super::client::{Client, escape};
use super::output::{Output, Table, inert, print};
use crate::device_key::fingerprint;
use crate::device_list;
use crate::exit::{Because, Exit};

const PATH: &str = "/api/management/v2/devauth/devices";

/// What to do with devices. DEVICE is an identifier, or KEY=VALUE of the identity: mac=de:ad:be:ef:00:01
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List devices
    List {
        /// Only those with this status: accepted, pending, rejected, preauthorized, noauth
        #[arg(long)]
        status: Option<DeviceStatus>,
    },
    /// Show all that is known about a device
    Show {
        /// Which one
        device: String,
    },
    /// Let devices in
    Accept {
        /// Which ones
        #[arg(required_unless_present = "all_pending")]
        devices: Vec<String>,
        /// All that wait
        #[arg(long)]
        all_pending: bool,
        /// With which of several keys that wait (see `device show`)
        #[arg(long)]
        key: Option<String>,
    },
    /// Keep devices out, also if they were let in; effective at their next request
    Reject {
        /// Which ones
        #[arg(required = true)]
        devices: Vec<String>,
    },
    /// Forget devices for good; if they come again they are new
    Decommission {
        /// Which ones
        #[arg(required = true)]
        devices: Vec<String>,
    },
    /// Have a device stay with a release: it is given no other
    Pin {
        /// Which one
        device: String,
        /// The name of the release
        release: String,
    },
    /// Have a device take again what it is given
    Unpin {
        /// Which one
        device: String,
    },
    /// Let a device in that has not come yet
    Preauthorize {
        /// The whole identity, exactly as the device will send it: KEY=VALUE, several times
        #[arg(required = true)]
        identity: Vec<String>,
        /// Its public key, a PEM file
        #[arg(long)]
        key: PathBuf,
        /// Also if there is a device of this identity: the key is added to it
        #[arg(long)]
        force: bool,
    },
    /// Let many devices in as soon as they come: those of a list
    #[command(after_help = "\
The list is comma-separated, and its first line has the names of the columns: 'pubkey' for the public key (PEM, or the
base64 of it in one line), any other for a part of the identity, exactly as devices send it:

  mac,pubkey
  de:ad:be:ef:00:01,MCowBQYDK2VwAyEA...")]
    Import {
        /// The file
        file: PathBuf,
        /// Also devices that there are: the keys are added to them
        #[arg(long)]
        force: bool,
    },
}

fn pin_path(device: &str) -> String {
    format!("/api/management/v1/deployments/devices/{device}/pin")
}

/// Does it.
///
/// # Errors
/// If it cannot be done.
pub async fn run(verb: Verb, client: &mut Client, output: Output) -> Result<()> {
    match verb {
        Verb::List { status } => {
            let query = status.map_or(String::new(), |status| format!("?status={status}"));
            let devices: Vec<Device> = client.get_all(&format!("{PATH}{query}")).await?;
            output.show(&devices, |devices| list(devices))
        }
        Verb::Show { device } => show(client, output, &device).await,
        Verb::Accept {
            devices,
            all_pending,
            key,
        } => {
            let devices = if all_pending {
                client.get_all(&format!("{PATH}?status=pending")).await?
            } else {
                find_all(client, &devices).await?
            };
            accept(client, output, devices, key.as_deref()).await
        }
        Verb::Reject { devices } => {
            let mut rejected = Vec::new();
            for device in find_all(client, &devices).await? {
                for set in &device.auth_sets {
                    match set.status {
                        AuthSetStatus::Pending | AuthSetStatus::Accepted => {
                            decide(client, &device, set, AuthSetStatus::Rejected).await?;
                        }
                        // It has not come: there is nothing to reject but the expectation.
                        AuthSetStatus::Preauthorized => {
                            client
                                .delete(&format!("{PATH}/{}/auth/{}", device.id, set.id))
                                .await?;
                        }
                        AuthSetStatus::Rejected => {}
                    }
                }
                rejected.push(device.id);
            }
            let sentence = format!("rejected {}", rejected.join(", "));
            output.done(&json!({"rejected": rejected}), &sentence)
        }
        Verb::Decommission { devices } => {
            let mut gone = Vec::new();
            for device in find_all(client, &devices).await? {
                client.delete(&format!("{PATH}/{}", device.id)).await?;
                gone.push(device.id);
            }
            let sentence = format!("decommissioned {}", gone.join(", "));
            output.done(&json!({"decommissioned": gone}), &sentence)
        }
        Verb::Pin { device, release } => {
            let id = find(client, &device).await?.id;
            let pin = Pin { release };
            client.send_json(Method::PUT, &pin_path(&id), &pin).await?;
            let sentence = format!("{id} stays with {}", pin.release);
            output.done(&json!({"id": id, "release": pin.release}), &sentence)
        }
        Verb::Unpin { device } => {
            let id = find(client, &device).await?.id;
            client.delete(&pin_path(&id)).await?;
            output.done(&json!({"id": id}), &format!("{id} takes what it is given"))
        }
        Verb::Preauthorize {
            identity,
            key,
            force,
        } => {
            let pubkey = std::fs::read_to_string(&key)
                .with_context(|| format!("cannot read {}", key.display()))?;
            let new = Preauthorized {
                identity_data: identity_object(&identity)?,
                pubkey,
                force,
            };
            let id = client.make(PATH, &new).await?;
            output.done(&json!({"id": id}), &format!("expecting {id}"))
        }
        Verb::Import { file, force } => import(client, output, &file, force).await,
    }
}

async fn import(client: &mut Client, output: Output, file: &Path, force: bool) -> Result<()> {
    let name = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    let lines = device_list::parse(&text, force).map_err(|err| anyhow!("{name}: {err}"))?;
    let all = lines.len();
    let (mut numbers, mut devices, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for (number, device) in lines {
        match device {
            Ok(device) => {
                numbers.push(number);
                devices.push(device);
            }
            Err(problem) => wrong.push((number, problem)),
        }
    }
    let imported = announce_all(client, &devices).await?;
    for problem in imported.problems {
        let number = numbers.get(problem.index).copied().unwrap_or_default();
        wrong.push((number, problem.error));
    }
    wrong.sort_by_key(|(number, _)| *number);
    let problems = wrong
        .iter()
        .map(|(number, problem)| format!("line {number}: {problem}"));
    let (done, problems) = (imported.imported, problems.collect::<Vec<_>>());
    let sentence = format!("{done} of {all} devices are imported");
    output.done(&json!({"imported": done, "problems": problems}), &sentence)?;
    if problems.is_empty() {
        return Ok(());
    }
    Err(anyhow!("{}", problems.join("\n")))
}

/// Bytes of a request with devices: a body may have a MiB.
const REQUEST: usize = 512 << 10;

/// Devices of a request: an answer should not take long.
const AT_ONCE: usize = 1000;

/// Announces devices: they are let in as soon as they come.
///
/// # Errors
/// If the server cannot be reached or does not allow it; how many were announced before is said.
pub async fn announce_all(client: &mut Client, devices: &[Preauthorized]) -> Result<Imported> {
    let (mut all, mut begun) = (Imported::default(), 0_usize);
    while begun < devices.len() {
        let rest = devices.get(begun..).unwrap_or_default();
        let mut bytes = 0_usize;
        let fits = |device: &&Preauthorized| {
            bytes = bytes.saturating_add(serde_json::to_vec(device).map_or(0, |text| text.len()));
            bytes <= REQUEST
        };
        let count = rest.iter().take(AT_ONCE).take_while(fits).count().max(1);
        let some = rest.get(..count).unwrap_or(rest);
        let path = format!("{PATH}/import");
        let answer: Result<Imported> = client.send_for_json(Method::POST, &path, &some).await;
        let answer = answer.with_context(|| {
            format!("{} of {} devices are imported", all.imported, devices.len())
        })?;
        all.imported = all.imported.saturating_add(answer.imported);
        all.problems
            .extend(answer.problems.into_iter().map(|problem| ImportProblem {
                index: problem.index.saturating_add(begun),
                error: problem.error,
            }));
        begun = begun.saturating_add(count);
    }
    Ok(all)
}

async fn accept(
    client: &mut Client,
    output: Output,
    devices: Vec<Device>,
    key: Option<&str>,
) -> Result<()> {
    let mut accepted = Vec::new();
    for device in devices {
        let waiting: Vec<&AuthSet> = device
            .auth_sets
            .iter()
            .filter(|set| match key {
                Some(key) => set.id == key || fingerprint(&set.pubkey).starts_with(key),
                None => set.status == AuthSetStatus::Pending,
            })
            .collect();
        // Without a key that waits, one that was rejected may be meant.
        let rejected: Vec<&AuthSet> = device
            .auth_sets
            .iter()
            .filter(|set| set.status == AuthSetStatus::Rejected)
            .collect();
        let set = match (waiting.as_slice(), rejected.as_slice()) {
            ([one], _) => one,
            ([], [one]) if key.is_none() && device.status == DeviceStatus::Rejected => one,
            ([], _) if key.is_none() && device.status == DeviceStatus::Accepted => {
                accepted.push(device.id);
                continue;
            }
            ([], _) => bail!(
                "device {} has no such key that waits: see `device show`",
                device.id
            ),
            _ => bail!(
                "device {} came with several keys: choose one with --key (see `device show`)",
                device.id
            ),
        };
        decide(client, &device, set, AuthSetStatus::Accepted).await?;
        accepted.push(device.id);
    }
    let sentence = if accepted.is_empty() {
        "nobody waits to be accepted".to_owned()
    } else {
        format!("accepted {}", accepted.join(", "))
    };
    output.done(&json!({"accepted": accepted}), &sentence)
}

async fn decide(
    client: &mut Client,
    device: &Device,
    set: &AuthSet,
    status: AuthSetStatus,
) -> Result<()> {
    let path = format!("{PATH}/{}/auth/{}/status", device.id, set.id);
    client
        .send_json(Method::PUT, &path, &NewAuthSetStatus { status })
        .await?;
    Ok(())
}

fn list(devices: &[Device]) -> String {
    let mut table = Table::new(&["ID", "STATUS", "IDENTITY", "LAST HEARD FROM"]);
    for device in devices {
        let heard = device
            .check_in_time
            .map_or("never".to_owned(), |time| time.to_string());
        table.row([
            device.id.clone(),
            device.status.to_string(),
            identity(&device.identity_data),
            heard,
        ]);
    }
    table.render()
}

async fn show(client: &mut Client, output: Output, wanted: &str) -> Result<()> {
    let id = find(client, wanted).await?.id;
    let device: Device = client.get(&format!("{PATH}/{id}")).await?;
    let inventory: InventoryDevice = client
        .get(&format!("/api/management/v1/inventory/devices/{id}"))
        .await?;
    let path = format!("/api/management/v1/deployments/deployments/devices/{id}");
    let history: Vec<DeviceHistory> = client.get(&path).await?;
    let path = format!("/api/management/v1/deployments/devices/{id}");
    let waiting: Vec<WaitingDeployment> = client.get(&format!("{path}/waiting")).await?;
    let pin: Value = client.get(&format!("{path}/pin")).await?;
    let pinned = pin.get("release").cloned().unwrap_or_default();
    let all = json!({
        "device": device, "inventory": inventory, "deployments": history, "waiting": waiting, "pinned": pinned,
    });
    if output == Output::Json {
        return output.show(&all, |_| String::new());
    }
    let mut text = format!(
        "device    {}\nstatus    {}\nidentity  {}\n",
        device.id,
        device.status,
        inert(&identity(&device.identity_data))
    );
    if let Some(release) = pinned.as_str() {
        text.push_str(&format!("pinned    {}\n", inert(release)));
    }
    let mut keys = Table::new(&["KEY", "STATUS", "SINCE", "SHA-256 OF THE KEY"]);
    for set in &device.auth_sets {
        let print = fingerprint(&set.pubkey);
        keys.row([
            set.id.clone(),
            set.status.to_string(),
            set.ts.to_string(),
            print,
        ]);
    }
    text.push_str(&format!("\n{}", keys.render()));
    let mut attributes = Table::new(&["SCOPE", "ATTRIBUTE", "VALUE"]);
    for attribute in &inventory.attributes {
        let scope = attribute.scope.clone().unwrap_or_default();
        attributes.row([scope, attribute.name.clone(), value(&attribute.value)]);
    }
    text.push_str(&format!("\n{}", attributes.render()));
    if !history.is_empty() {
        let mut table = Table::new(&["DEPLOYMENT", "ARTIFACT", "STATUS", "SINCE", "WHAT"]);
        for one in &history {
            table.row([
                one.deployment.id.clone(),
                one.deployment.artifact_name.clone(),
                one.device.status.to_string(),
                one.device.created.to_string(),
                one.device.substate.clone().unwrap_or_default(),
            ]);
        }
        text.push_str(&format!("\n{}", table.render()));
    }
    if !waiting.is_empty() {
        let mut table = Table::new(&["STILL TO COME", "ARTIFACT", "WHY NOT YET"]);
        for one in waiting {
            table.row([one.deployment_id, one.artifact_name, one.reason]);
        }
        text.push_str(&format!("\n{}", table.render()));
    }
    print(&text)
}

async fn find_all(client: &mut Client, wanted: &[String]) -> Result<Vec<Device>> {
    let mut found = Vec::new();
    for one in wanted {
        found.push(find(client, one).await?);
    }
    Ok(found)
}

/// The device with this identifier or this part of its identity.
///
/// # Errors
/// If there is none, or several.
pub async fn find(client: &mut Client, wanted: &str) -> Result<Device> {
    let missing = || {
        anyhow!(Because(
            Exit::Missing,
            format!("there is no device {wanted:?}")
        ))
    };
    let id = match wanted.split_once('=') {
        None => wanted.to_owned(),
        Some((name, value)) => {
            let search = json!({
                "page": 1, "per_page": 2,
                "filters": [{"scope": "identity", "attribute": name, "type": "$eq", "value": value}],
            });
            let path = "/api/management/v2/inventory/filters/search";
            let found: Vec<InventoryDevice> =
                client.send_for_json(Method::POST, path, &search).await?;
            match found.as_slice() {
                [] => return Err(missing()),
                [one] => one.id.clone(),
                _ => bail!("several devices have {wanted}: name one by its identifier"),
            }
        }
    };
    let found: Vec<Device> = client.get(&format!("{PATH}?id={}", escape(&id))).await?;
    found.into_iter().next().ok_or_else(missing)
}

fn identity_object(pairs: &[String]) -> Result<Map<String, Value>> {
    let mut object = Map::new();
    for pair in pairs {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(anyhow!(Because(
                Exit::Usage,
                format!("{pair:?} is not KEY=VALUE")
            )));
        };
        // A key that comes twice is a list, as devices send it.
        match object.get_mut(key) {
            None => drop(object.insert(key.to_owned(), value.into())),
            Some(Value::Array(list)) => list.push(value.into()),
            Some(one) => *one = Value::Array(vec![one.take(), value.into()]),
        }
    }
    Ok(object)
}

/// An identity on one line.
#[must_use]
pub fn identity(object: &Map<String, Value>) -> String {
    let plain = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), ToOwned::to_owned)
    };
    let pairs: Vec<String> = object
        .iter()
        .map(|(key, value)| format!("{key}={}", plain(value)))
        .collect();
    pairs.join(" ")
}

fn value(value: &AttributeValue) -> String {
    match value {
        AttributeValue::Text(text) => text.clone(),
        AttributeValue::Number(number) => number.to_string(),
        AttributeValue::Texts(texts) => texts.join(", "),
        AttributeValue::Numbers(numbers) => numbers
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    }
}
