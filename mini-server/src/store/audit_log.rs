//! The audit log: lines are added in the transaction of what they tell of, and only removed when they are too old.

use std::fmt::Display;
use std::sync::Arc;

use super::devices::unsigned;
use super::dialect::LIKE;
use super::sql::{self, QueryBuilder, Row};
use super::writer::Tx;
use super::{Error, Id, Store};
use crate::audit::{Action, Asked, Cause, Kind, Who};
use crate::clock::now;
use crate::paging::Window;

/// A line of the audit log.
#[derive(Debug, Clone)]
pub struct AuditRow {
    /// Its number; later lines have higher ones.
    pub number: i64,
    /// When, ms.
    pub at: i64,
    /// What kind of somebody: user, device, cli, server; unknown for who could not sign in.
    pub actor_type: String,
    /// Who, if it is a user.
    pub actor_id: Option<String>,
    /// The e-mail address of the user at that time.
    pub actor_name: String,
    /// The name of the personal access token that was used, if one was.
    pub actor_token: Option<String>,
    /// From which address; empty for the machine itself.
    pub address: String,
    /// What was done.
    pub action: String,
    /// With what.
    pub object_type: String,
    /// With which one.
    pub object_id: String,
    /// What that was called at that time.
    pub object_name: String,
    /// What is different now.
    pub change: String,
    /// `done`, or why not.
    pub outcome: String,
}

/// Which lines.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// By this user or device, by identifier.
    pub actor_id: Option<String>,
    /// By whoever has this in the e-mail address, or is this kind of somebody.
    pub actor: Option<String>,
    /// What was done.
    pub action: Option<String>,
    /// About this kind of thing.
    pub object_type: Option<String>,
    /// About the thing with this identifier.
    pub object_id: Option<String>,
    /// About things with this in their names.
    pub object: Option<String>,
    /// Not before, ms.
    pub after: Option<i64>,
    /// Not after, ms.
    pub before: Option<i64>,
    /// The oldest first.
    pub ascending: bool,
}

/// Outcome of what was done.
const DONE: &str = "done";

/// Characters of a name or of a change that are kept.
const TEXT: usize = 500;

impl Tx {
    /// Adds a line about what the transaction does with a thing, if it has a cause. To be called while the thing is
    /// there: before it is removed, after it is made.
    pub(super) async fn audit(
        &mut self,
        action: Action,
        kind: Kind,
        id: impl Display,
        change: impl Into<String>,
    ) -> Result<(), Error> {
        let Some(cause) = self.cause() else {
            return Ok(());
        };
        self.set_audited();
        let line = Line {
            action,
            kind,
            id: id.to_string(),
            change: change.into(),
            outcome: DONE.to_owned(),
        };
        line.insert(self, &cause).await
    }

    /// Adds a line about a work that has said nothing of itself: by its request.
    pub(super) async fn audit_request(&mut self, asked: &Asked) -> Result<(), Error> {
        let id = match (&asked.id, asked.kind) {
            (Some(id), _) => id.clone(),
            // The one that was made in this transaction.
            (None, Kind::Deployment) => {
                sql::query("SELECT id FROM deployments ORDER BY sequence DESC LIMIT 1")
                    .fetch_optional(self.connection())
                    .await?
                    .map_or(Ok(String::new()), |row| row.try_get(0))?
            }
            (None, _) => String::new(),
        };
        self.audit(asked.action, asked.kind, id, &asked.route).await
    }
}

struct Line {
    action: Action,
    kind: Kind,
    id: String,
    change: String,
    outcome: String,
}

impl Line {
    /// One statement: a fleet that is switched on for the first time is a thousand of these a second.
    async fn insert(self, tx: &mut Tx, cause: &Cause) -> Result<(), Error> {
        let (actor_type, actor_id, token) = match cause.who {
            Who::User { user, token } => ("user", Some(user.to_string()), Some(token.to_string())),
            Who::Device => ("device", Some(self.id.clone()), None),
            Who::CommandLine => ("cli", None, None),
            Who::Server => ("server", None, None),
            Who::Stranger => ("unknown", None, None),
        };
        let address = cause.address.map(|address| address.to_string());
        let mut query = QueryBuilder::new(
            "INSERT INTO audit_log (at, actor_type, action, object_type, object_id, change, outcome, address,
                                    actor_id, actor_name, actor_token, object_name) VALUES (",
        );
        let mut values = query.separated(", ");
        values
            .push_bind(now().millis())
            .push_bind(actor_type)
            .push_bind(self.action.as_str())
            .push_bind(self.kind.as_str())
            .push_bind(cut(&self.id))
            .push_bind(cut(&self.change))
            .push_bind(cut(&self.outcome))
            .push_bind(address.unwrap_or_default())
            .push_bind(actor_id.clone())
            .push("COALESCE((SELECT email FROM users WHERE id = ")
            .push_bind_unseparated(actor_id)
            .push_unseparated("), '')")
            .push("(SELECT name FROM tokens WHERE id = ")
            .push_bind_unseparated(token)
            .push_unseparated(")");
        match name_by_id(self.kind) {
            Some(name) => values
                .push("SUBSTR(COALESCE((")
                .push_unseparated(name)
                .push_bind_unseparated(self.id)
                .push_unseparated("), ''), 1, 500)"),
            None => values.push_bind(cut(&self.id)),
        };
        query.push(")");
        query.build().execute(tx.connection()).await?;
        Ok(())
    }
}

impl Store {
    /// Adds a line about a request that was refused, or a sign-in that failed.
    ///
    /// # Errors
    /// Of the database.
    pub async fn audit_refusal(
        &self,
        cause: Arc<Cause>,
        asked: Asked,
        outcome: String,
    ) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let line = Line {
                    action: asked.action,
                    kind: asked.kind,
                    id: asked.id.unwrap_or_default(),
                    change: asked.route,
                    outcome,
                };
                line.insert(tx, &cause).await?;
                tx.set_audited();
                Ok(())
            })
        })
        .await
    }

    /// Adds a line about something that is not in the database.
    ///
    /// # Errors
    /// Of the database.
    pub async fn audit_note(
        &self,
        action: Action,
        kind: Kind,
        change: String,
    ) -> Result<(), Error> {
        self.write(move |tx| Box::pin(async move { tx.audit(action, kind, "", change).await }))
            .await
    }

    /// Some of the lines that fit, and how many there are in all.
    ///
    /// # Errors
    /// Of the database.
    pub async fn audit_log(
        &self,
        filter: &AuditFilter,
        window: Window,
    ) -> Result<(Vec<AuditRow>, u64), Error> {
        let mut count = QueryBuilder::new("SELECT COUNT(*) FROM audit_log WHERE 1 = 1");
        filter.push(&mut count);
        let row = count.build().fetch_one(&self.readers).await?;
        let total = unsigned(row.try_get(0)?);
        let mut query = QueryBuilder::new("SELECT * FROM audit_log WHERE 1 = 1");
        filter.push(&mut query);
        query.push(if filter.ascending {
            " ORDER BY number LIMIT "
        } else {
            " ORDER BY number DESC LIMIT "
        });
        query.push_bind(window.limit);
        query.push(" OFFSET ");
        query.push_bind(window.offset);
        let rows = query.build().fetch_all(&self.readers).await?;
        let lines = rows.iter().map(line).collect::<Result<_, _>>()?;
        Ok((lines, total))
    }

    /// Removes the lines from before `time`, ms, and says so in the log; how many there were.
    ///
    /// # Errors
    /// Of the database.
    pub async fn prune_audit_log(&self, time: i64) -> Result<u64, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let done = sql::query("DELETE FROM audit_log WHERE at < $1")
                    .bind(time)
                    .execute(tx.connection())
                    .await?;
                let gone = done.rows_affected();
                if gone > 0 {
                    let change = format!("{gone} lines that were too old are removed");
                    tx.audit(Action::Prune, Kind::AuditLog, "", change).await?;
                }
                Ok(gone)
            })
        })
        .await
    }
}

impl AuditFilter {
    fn push(&self, query: &mut QueryBuilder) {
        for (column, wanted) in [
            ("actor_id", &self.actor_id),
            ("action", &self.action),
            ("object_type", &self.object_type),
            ("object_id", &self.object_id),
        ] {
            if let Some(wanted) = wanted {
                query.push(" AND ");
                query.push(column);
                query.push(" = ");
                query.push_bind(wanted.clone());
            }
        }
        if let Some(actor) = &self.actor {
            query.push(" AND (actor_type = ");
            query.push_bind(actor.clone());
            query.push(" OR actor_name").push_either(LIKE);
            query.push_bind(super::search::containing(actor));
            query.push(" ESCAPE '\\')");
        }
        if let Some(object) = &self.object {
            query.push(" AND (object_id = ");
            query.push_bind(object.clone());
            query.push(" OR object_name").push_either(LIKE);
            query.push_bind(super::search::containing(object));
            query.push(" ESCAPE '\\')");
        }
        for (comparison, time) in [(" >= ", self.after), (" <= ", self.before)] {
            if let Some(time) = time {
                query.push(" AND at");
                query.push(comparison);
                query.push_bind(time);
            }
        }
    }
}

/// What finds out what a thing is called, up to its identifier; `None` if that is its name.
fn name_by_id(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::User => "SELECT email FROM users WHERE id = ",
        Kind::Token => "SELECT name FROM tokens WHERE id = ",
        Kind::Device => "SELECT identity FROM devices WHERE id = ",
        Kind::Artifact => "SELECT name FROM artifacts WHERE id = ",
        Kind::Deployment => "SELECT name || ': ' || artifact_name FROM deployments WHERE id = ",
        Kind::Webhook => "SELECT host FROM webhooks WHERE id = ",
        Kind::Group | Kind::Release | Kind::Server | Kind::AuditLog => return None,
    })
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT).collect()
}

fn line(row: &Row) -> Result<AuditRow, Error> {
    Ok(AuditRow {
        number: row.try_get("number")?,
        at: row.try_get("at")?,
        actor_type: row.try_get("actor_type")?,
        actor_id: row.try_get("actor_id")?,
        actor_name: row.try_get("actor_name")?,
        actor_token: row.try_get("actor_token")?,
        address: row.try_get("address")?,
        action: row.try_get("action")?,
        object_type: row.try_get("object_type")?,
        object_id: row.try_get("object_id")?,
        object_name: row.try_get("object_name")?,
        change: row.try_get("change")?,
        outcome: row.try_get("outcome")?,
    })
}

/// A list of devices, for a line.
pub(super) fn devices(ids: &[Id]) -> String {
    let mut text = format!("{} devices:", ids.len());
    for id in ids.iter().take(10) {
        text.push_str(&format!(" {id}"));
    }
    if ids.len() > 10 {
        text.push_str(" …");
    }
    text
}
