//! `tandem-server order`

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;
use tandem_api::management::{NewStandingOrder, StandingOrder};

use super::client::{Client, escape};
use super::filters;
use super::output::{Output, Table};
use super::rollout_args::RolloutArgs;

const PATH: &str = "/api/management/v1/deployments/standing_orders";

/// What to do with standing orders: devices always get the newest release with a tag
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Have devices always get the newest release with a tag
    Create {
        /// The tag, such as `stable`; releases get theirs on their page
        tag: String,
        /// To whom
        #[command(flatten)]
        targets: Targets,
        /// How each release goes through them
        #[command(flatten)]
        rollout: Box<RolloutArgs>,
    },
    /// List standing orders
    List,
    /// Take a standing order back; devices that have begun go on
    Delete {
        /// Which one
        order: String,
    },
}

/// To whom: to all accepted devices without these.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct Targets {
    /// To the devices of this group
    #[arg(long)]
    group: Option<String>,
    /// To the devices of this saved filter (name or identifier)
    #[arg(long)]
    filter: Option<String>,
}

/// Does it.
///
/// # Errors
/// If it cannot be done.
pub async fn run(verb: Verb, client: &mut Client, output: Output) -> Result<()> {
    match verb {
        Verb::Create {
            tag,
            targets,
            rollout,
        } => {
            let filter_id = match &targets.filter {
                Some(filter) => Some(filters::find(client, filter).await?),
                None => None,
            };
            let new = NewStandingOrder {
                tag,
                group: targets.group,
                filter_id,
                rollout: rollout.to_wire()?,
            };
            let id = client.make(PATH, &new).await?;
            output.done(&json!({"id": id}), &format!("made {id}"))
        }
        Verb::List => {
            let orders: Vec<StandingOrder> = client.get(PATH).await?;
            output.show(&orders, |orders| list(orders))
        }
        Verb::Delete { order } => {
            client.delete(&format!("{PATH}/{}", escape(&order))).await?;
            output.done(
                &json!({"deleted": order}),
                &format!("{order} is taken back"),
            )
        }
    }
}

fn list(orders: &[StandingOrder]) -> String {
    let mut table = Table::new(&["ID", "TAG", "DEVICES", "RELEASE", "DEPLOYMENT"]);
    for order in orders {
        table.row([
            order.id.clone(),
            order.tag.clone(),
            filters::in_words(&order.filter.name, &order.filter.terms),
            order.release.clone().unwrap_or_default(),
            order.deployment.clone().unwrap_or_default(),
        ]);
    }
    table.render()
}
