//! `tandem-server token`

use anyhow::{Result, anyhow};
use clap::Subcommand;
use http::Method;
use serde_json::json;
use tandem_api::management::{NewToken, Role, Token};

use super::client::Client;
use super::output::{Output, Table};
use super::users;
use crate::exit::{Because, Exit};

const PATH: &str = "/api/management/v1/useradm/settings/tokens";

/// What to do with personal access tokens.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a token and print it; it is not shown again
    Create {
        /// What to call it
        name: String,
        /// Days that it is good; for ever without this
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=365))]
        days: Option<u32>,
        /// What it is good for at most: viewer, operator or admin; all that its owner may do without this
        #[arg(long)]
        role: Option<Role>,
        /// Whose: e-mail address or identifier. Needed with --data if there are several users
        #[arg(long)]
        user: Option<String>,
    },
    /// List the tokens of a user
    List {
        /// Whose, as above
        #[arg(long)]
        user: Option<String>,
    },
    /// Make a token useless at once
    Revoke {
        /// Name or identifier
        token: String,
        /// Whose, as above
        #[arg(long)]
        user: Option<String>,
    },
}

/// Does it.
///
/// # Errors
/// If it cannot be done.
pub async fn run(verb: Verb, client: &mut Client, output: Output) -> Result<()> {
    match verb {
        Verb::Create {
            name,
            days,
            role,
            user,
        } => {
            let query = owner(client, user).await?;
            let new = NewToken {
                name,
                expires_in: days.map(|days| days.saturating_mul(24 * 60 * 60)),
                role,
            };
            let token = client
                .send_for_text(Method::POST, &format!("{PATH}{query}"), &new)
                .await?;
            output.done(&json!({"name": new.name, "token": token}), &token)
        }
        Verb::List { user } => {
            let query = owner(client, user).await?;
            let tokens: Vec<Token> = client.get(&format!("{PATH}{query}")).await?;
            output.show(&tokens, |tokens| {
                let mut table =
                    Table::new(&["ID", "NAME", "ROLE", "SINCE", "LAST USED", "GOOD UNTIL"]);
                for token in tokens {
                    let used = token
                        .last_used
                        .map_or("never".to_owned(), |time| time.to_string());
                    let end = token
                        .expiration_date
                        .map_or("revoked".to_owned(), |time| time.to_string());
                    table.row([
                        token.id.clone(),
                        token.name.clone(),
                        token
                            .role
                            .map_or("owner's".to_owned(), |role| role.to_string()),
                        token.created_ts.to_string(),
                        used,
                        end,
                    ]);
                }
                table.render()
            })
        }
        Verb::Revoke { token, user } => {
            let query = owner(client, user).await?;
            let tokens: Vec<Token> = client.get(&format!("{PATH}{query}")).await?;
            let found = tokens
                .into_iter()
                .find(|one| one.id == token || one.name == token)
                .ok_or_else(|| {
                    anyhow!(Because(
                        Exit::Missing,
                        format!("there is no token {token:?}")
                    ))
                })?;
            client
                .delete(&format!("{PATH}/{}{query}", found.id))
                .await?;
            output.done(
                &json!({"revoked": found.id}),
                &format!("revoked {}", found.name),
            )
        }
    }
}

/// Whose tokens: with a token one's own; through the data directory those of the user named, or of the only one.
async fn owner(client: &mut Client, user: Option<String>) -> Result<String> {
    if !client.is_local() {
        return Ok(String::new());
    }
    let id = match user {
        Some(user) => users::find(client, &user).await?.id,
        None => {
            let all: Vec<tandem_api::management::User> =
                client.get("/api/management/v1/useradm/users").await?;
            match all.as_slice() {
                [only] => only.id.clone(),
                _ => {
                    return Err(anyhow!(Because(
                        Exit::Usage,
                        "there are several users: name one with --user".to_owned()
                    )));
                }
            }
        }
    };
    Ok(format!("?user={id}"))
}
