//! `tandem-server audit`

use std::io::Write;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use http::Method;
use http_body_util::BodyExt;
use tandem_api::management::AuditEntry;

use super::client::Client;
use super::output::{Output, Table};

const PATH: &str = "/api/management/v1/auditlogs/logs";

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show the newest lines
    List {
        /// How many at most
        #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        /// Which
        #[command(flatten)]
        filter: Filter,
    },
    /// Print up to 20,000 of the newest lines as comma-separated values
    Export {
        /// Which
        #[command(flatten)]
        filter: Filter,
    },
}

/// Which lines.
#[derive(Debug, Args)]
pub struct Filter {
    /// By whom: a part of an e-mail address, or cli, device, server, unknown
    #[arg(long)]
    actor: Option<String>,
    /// What was done: create, update, delete, accept, sign_in, ...
    #[arg(long)]
    action: Option<String>,
    /// With what kind of thing: device, deployment, artifact, release, group, user, token, webhook, server
    #[arg(long)]
    kind: Option<String>,
    /// With the thing of this identifier, or with this in its name
    #[arg(long)]
    object: Option<String>,
    /// Not before: seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    after: Option<i64>,
    /// Not after: seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    before: Option<i64>,
}

impl Filter {
    fn query(&self) -> form_urlencoded::Serializer<'static, String> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let number = |number: Option<i64>| number.map(|number| number.to_string());
        for (name, value) in [
            ("actor_email", self.actor.clone()),
            ("action", self.action.clone()),
            ("object_type", self.kind.clone()),
            ("object_name", self.object.clone()),
            ("created_after", number(self.after)),
            ("created_before", number(self.before)),
        ] {
            query.extend_pairs(value.map(|value| (name, value)));
        }
        query
    }
}

/// Does it.
///
/// # Errors
/// If it cannot be done.
pub async fn run(verb: Verb, client: &mut Client, output: Output) -> Result<()> {
    match verb {
        Verb::List { limit, filter } => {
            let mut query = filter.query();
            query.append_pair("per_page", &limit.to_string());
            let path = format!("{PATH}?{}", query.finish());
            let lines: Vec<AuditEntry> = client.get(&path).await?;
            output.show(&lines, |lines| {
                let mut table = Table::new(&[
                    "TIME", "WHO", "FROM", "ACTION", "KIND", "WITH", "CHANGE", "OUTCOME",
                ]);
                for line in lines {
                    let actor = match &line.actor.token {
                        _ if line.actor.email.is_empty() => line.actor.kind.clone(),
                        Some(token) => format!("{} ({token})", line.actor.email),
                        None => line.actor.email.clone(),
                    };
                    let object = match line.object.name.as_str() {
                        "" => line.object.id.clone(),
                        name => name.to_owned(),
                    };
                    table.row([
                        line.time.to_string(),
                        actor,
                        line.actor.address.clone(),
                        line.action.clone(),
                        line.object.kind.clone(),
                        object,
                        line.change.clone(),
                        line.outcome.clone(),
                    ]);
                }
                table.render()
            })
        }
        Verb::Export { filter } => {
            let path = format!("{PATH}/export?{}", filter.query().finish());
            let answer = client
                .send(Method::GET, &path, None, axum::body::Body::empty())
                .await?;
            let text = answer.into_body().collect().await;
            let text = text.context("the answer breaks off")?.to_bytes();
            std::io::stdout()
                .lock()
                .write_all(&text)
                .context("cannot print")
        }
    }
}
