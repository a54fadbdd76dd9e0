//! `tandem-server webhook`

use anyhow::{Result, anyhow};
use clap::Subcommand;
use http::Method;
use serde_json::json;
use tandem_api::management::{MadeWebhook, NewWebhook, Webhook, WebhookTest};

use super::client::Client;
use super::output::{Output, Table};
use crate::exit::{Because, Exit};

const PATH: &str = "/api/management/v1/webhooks";

/// What to do with webhooks.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Send events to an address from now on; prints the secret that bodies are signed with, once
    #[command(
        visible_alias = "create",
        after_help = "\
Events: device.pending, device.accepted, device.rejected, device.preauthorized, device.noauth,
device.decommissioned, device.failed, deployment.created, deployment.stopped (by failures),
deployment.finished, deployment.aborted.

Each is a POST with a JSON body. The header X-Tandem-Signature-256 is 'sha256=' and the HMAC-SHA256 of the body with
the secret, in hexadecimal. What is not answered with 2xx is repeated, for up to three days."
    )]
    Add {
        /// Where to, an address with https
        url: String,
        /// Only these events, separated by commas
        #[arg(long, value_delimiter = ',')]
        events: Vec<String>,
        /// Also http://, where anybody on the way can read what is sent
        #[arg(long)]
        allow_http: bool,
    },
    /// List webhooks, and how they do
    List,
    /// Send the event `test` at once, and say what came of it
    Test {
        /// Address or identifier
        webhook: String,
    },
    /// Send nothing more to an address
    Delete {
        /// Address or identifier
        webhook: String,
    },
}

/// Does it.
///
/// # Errors
/// If it cannot be done.
pub async fn run(verb: Verb, client: &mut Client, output: Output) -> Result<()> {
    match verb {
        Verb::Add {
            url,
            events,
            allow_http,
        } => {
            let new = NewWebhook {
                url,
                events,
                secret: None,
                allow_http,
            };
            let made: MadeWebhook = client.send_for_json(Method::POST, PATH, &new).await?;
            output.done(
                &json!({"id": made.id, "secret": made.secret}),
                &format!("added {}, secret {}", made.id, made.secret),
            )
        }
        Verb::List => {
            let hooks: Vec<Webhook> = client.get(PATH).await?;
            output.show(&hooks, |hooks| {
                let columns = ["ID", "URL", "EVENTS", "WAITING", "FAILURES", "LAST"];
                let mut table = Table::new(&columns);
                for hook in hooks {
                    table.row([
                        hook.id.clone(),
                        hook.url.clone(),
                        hook.events.join(","),
                        hook.waiting.to_string(),
                        hook.failures.to_string(),
                        hook.last_outcome.clone().unwrap_or_default(),
                    ]);
                }
                table.render()
            })
        }
        Verb::Test { webhook } => {
            let hook = find(client, &webhook).await?;
            let path = format!("{PATH}/{}/test", hook.id);
            let test: WebhookTest = client
                .send_for_json(Method::POST, &path, &json!({}))
                .await?;
            if !test.taken {
                let reason = format!("{} did not take it: {}", hook.url, test.outcome);
                return Err(anyhow!(Because(Exit::Failure, reason)));
            }
            output.done(
                &json!({"taken": test.taken, "outcome": test.outcome}),
                &format!("{} took it: {}", hook.url, test.outcome),
            )
        }
        Verb::Delete { webhook } => {
            let hook = find(client, &webhook).await?;
            client.delete(&format!("{PATH}/{}", hook.id)).await?;
            output.done(
                &json!({"deleted": hook.id}),
                &format!("removed {}", hook.url),
            )
        }
    }
}

async fn find(client: &mut Client, wanted: &str) -> Result<Webhook> {
    let hooks: Vec<Webhook> = client.get(PATH).await?;
    hooks
        .into_iter()
        .find(|hook| hook.id == wanted || hook.url == wanted)
        .ok_or_else(|| {
            let reason = format!("there is no webhook {wanted:?}");
            anyhow!(Because(Exit::Missing, reason))
        })
}
