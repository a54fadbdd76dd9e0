//! `tandem-server user`

use anyhow::{Context, Result, anyhow, bail};
use clap::Subcommand;
use http::Method;
use serde_json::json;
use tandem_api::management::{NewUser, Role, UpdatedUser, User};

use super::client::Client;
use super::output::{Output, Table};
use crate::exit::{Because, Exit};
use crate::secret;

const PATH: &str = "/api/management/v1/useradm/users";

const ROLES: &str = "\
Roles:
  viewer    looks at devices, releases and deployments
  operator  also lets devices in, groups and tags them, uploads and deploys
  admin     also users, their roles, the audit log and the settings of the server";

/// What to do with users.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Add a user; prints the password unless one is given
    #[command(visible_alias = "create", after_help = ROLES)]
    Add {
        /// The e-mail address to sign in with
        email: String,
        /// What the person may do: viewer, operator or admin
        #[arg(long, default_value_t = Role::default())]
        role: Role,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// List all users
    List,
    /// Remove a user; sessions and tokens end at once
    Delete {
        /// E-mail address or identifier
        user: String,
    },
    /// Change what a user may do; it counts from the next request on
    #[command(after_help = ROLES)]
    Role {
        /// E-mail address or identifier
        user: String,
        /// viewer, operator or admin
        role: Role,
    },
    /// Change a password; prints the new one unless one is given. Sessions end
    Passwd {
        /// E-mail address or identifier
        user: String,
        /// Read the new password from standard input
        #[arg(long)]
        password_stdin: bool,
        /// Read the password so far from the line before; needed with --server
        #[arg(long, requires = "password_stdin")]
        current_password_stdin: bool,
    },
}

/// Does it.
///
/// # Errors
/// If it cannot be done.
pub async fn run(verb: Verb, client: &mut Client, output: Output) -> Result<()> {
    match verb {
        Verb::List => {
            let users: Vec<User> = client.get(PATH).await?;
            output.show(&users, |users| {
                let mut table = Table::new(&["ID", "E-MAIL", "ROLE", "SINCE", "LAST SIGN-IN"]);
                for user in users {
                    let login = user
                        .login_ts
                        .map(|time| time.to_string())
                        .unwrap_or_default();
                    table.row([
                        user.id.clone(),
                        user.email.clone(),
                        user.role.to_string(),
                        user.created_ts.to_string(),
                        login,
                    ]);
                }
                table.render()
            })
        }
        Verb::Add {
            email,
            role,
            password_stdin,
        } => {
            let (password, made_up) = new_password(password_stdin)?;
            let new = NewUser {
                email: email.clone(),
                password: password.clone(),
                role,
            };
            client.send_json(Method::POST, PATH, &new).await?;
            tell(
                output,
                &format!("added {email} as {role}"),
                &email,
                &password,
                made_up,
            )
        }
        Verb::Delete { user } => {
            let user = find(client, &user).await?;
            client.delete(&format!("{PATH}/{}", user.id)).await?;
            output.done(
                &json!({"deleted": user.id}),
                &format!("removed {}", user.email),
            )
        }
        Verb::Role { user, role } => {
            let user = find(client, &user).await?;
            let update = UpdatedUser {
                role: Some(role),
                ..UpdatedUser::default()
            };
            client
                .send_json(Method::PUT, &format!("{PATH}/{}", user.id), &update)
                .await?;
            output.done(
                &json!({"email": user.email, "role": role}),
                &format!("{} is {role} now", user.email),
            )
        }
        Verb::Passwd {
            user,
            password_stdin,
            current_password_stdin,
        } => {
            let current_password = current_password_stdin.then(line).transpose()?;
            let (password, made_up) = new_password(password_stdin)?;
            let user = find(client, &user).await?;
            let update = UpdatedUser {
                password: Some(password.clone()),
                current_password,
                ..UpdatedUser::default()
            };
            client
                .send_json(Method::PUT, &format!("{PATH}/{}", user.id), &update)
                .await?;
            tell(
                output,
                &format!("changed the password of {}", user.email),
                &user.email,
                &password,
                made_up,
            )
        }
    }
}

/// The user with this e-mail address or identifier.
///
/// # Errors
/// If there is none.
pub async fn find(client: &mut Client, wanted: &str) -> Result<User> {
    let users: Vec<User> = client.get(PATH).await?;
    let email = wanted.to_lowercase();
    users
        .into_iter()
        .find(|user| user.id == wanted || user.email == email)
        .ok_or_else(|| {
            anyhow!(Because(
                Exit::Missing,
                format!("there is no user {wanted:?}")
            ))
        })
}

fn tell(output: Output, sentence: &str, email: &str, password: &str, made_up: bool) -> Result<()> {
    if made_up {
        let sentence = format!("{sentence}, password {password}");
        return output.done(&json!({"email": email, "password": password}), &sentence);
    }
    output.done(&json!({"email": email}), sentence)
}

/// From standard input or made up; which of both.
fn new_password(stdin: bool) -> Result<(String, bool)> {
    if stdin {
        Ok((line()?, false))
    } else {
        Ok((secret::password(), true))
    }
}

fn line() -> Result<String> {
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .context("cannot read the password")?;
    let line = line.trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        bail!("there is no password on standard input");
    }
    Ok(line.to_owned())
}
