//! `tandem-server group`

use anyhow::Result;
use clap::Subcommand;
use http::Method;
use serde_json::json;
use tandem_api::management::{MaintenanceWindow, Updated};

use super::client::{Client, escape};
use super::devices::find;
use super::output::{Output, Table};
use crate::rollout::Window;

const PATH: &str = "/api/management/v1/inventory/groups";

/// What to do with groups. A device is in one group or none
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List all groups
    List,
    /// List the devices of a group
    Devices {
        /// Which group
        group: String,
    },
    /// Put devices into a group, out of the one they were in
    Add {
        /// Which group; it need not exist
        group: String,
        /// Which devices: identifier, or KEY=VALUE of the identity
        #[arg(required = true)]
        devices: Vec<String>,
    },
    /// Take devices out of a group
    Remove {
        /// Which group
        group: String,
        /// Which devices, as above
        #[arg(required = true)]
        devices: Vec<String>,
    },
    /// Say when devices of a group may be given something: "mon-fri 22:00 4h Europe/Berlin", or `always`
    Window {
        /// Which group
        group: String,
        /// When; without this it is shown
        when: Option<String>,
    },
    /// Take all devices out of a group, which then is no more
    Delete {
        /// Which group
        group: String,
    },
}

/// Does it.
///
/// # Errors
/// If it cannot be done.
pub async fn run(verb: Verb, client: &mut Client, output: Output) -> Result<()> {
    match verb {
        Verb::List => {
            let groups: Vec<String> = client.get(PATH).await?;
            output.show(&groups, |groups| lines("GROUP", groups))
        }
        Verb::Devices { group } => {
            let devices: Vec<String> = client
                .get_all(&format!("{PATH}/{}/devices", escape(&group)))
                .await?;
            output.show(&devices, |devices| lines("DEVICE", devices))
        }
        Verb::Add { group, devices } => {
            let ids = ids(client, &devices).await?;
            change(client, output, Method::PATCH, &group, &ids, "added to").await
        }
        Verb::Remove { group, devices } => {
            let ids = ids(client, &devices).await?;
            change(client, output, Method::DELETE, &group, &ids, "removed from").await
        }
        Verb::Window { group, when } => window(client, output, &group, when).await,
        Verb::Delete { group } => {
            client.delete(&format!("{PATH}/{}", escape(&group))).await?;
            output.done(&json!({"deleted": group}), &format!("{group} is no more"))
        }
    }
}

async fn window(
    client: &mut Client,
    output: Output,
    group: &str,
    when: Option<String>,
) -> Result<()> {
    let path = format!(
        "/api/management/v1/deployments/groups/{}/maintenance_window",
        escape(group)
    );
    match when.as_deref() {
        None => {
            let window: MaintenanceWindow = client.get(&path).await?;
            output.show(&window, |window| match Window::from_wire(window) {
                Ok(window) => format!("{window}\n"),
                Err(why) => format!("{why}\n"),
            })
        }
        Some("always") => {
            client.delete(&path).await?;
            output.done(
                &json!({"group": group}),
                &format!("{group} may be given something always"),
            )
        }
        Some(when) => {
            let window: Window = when.parse().map_err(anyhow::Error::msg)?;
            client
                .send_json(Method::PUT, &path, &window.to_wire())
                .await?;
            let sentence = format!("{group} is given something only {window}");
            output.done(
                &json!({"group": group, "window": window.to_wire()}),
                &sentence,
            )
        }
    }
}

async fn change(
    client: &mut Client,
    output: Output,
    method: Method,
    group: &str,
    ids: &[String],
    what: &str,
) -> Result<()> {
    let path = format!("{PATH}/{}/devices", escape(group));
    let updated: Updated = client.send_for_json(method, &path, &ids).await?;
    let sentence = format!("{} devices {what} {group}", updated.updated_count);
    output.done(&json!(updated), &sentence)
}

async fn ids(client: &mut Client, devices: &[String]) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for device in devices {
        ids.push(find(client, device).await?.id);
    }
    Ok(ids)
}

fn lines(head: &str, lines: &[String]) -> String {
    let mut table = Table::new(&[head]);
    for line in lines {
        table.row([line.clone()]);
    }
    table.render()
}
