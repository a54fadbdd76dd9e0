//! People who may sign in.

use tandem_api::management::Role;

use super::devices::parsed;
use super::sql::{self, Row};
use super::writer::{Change, Tx};
use super::{Error, Id, Store};
use crate::audit::{Action, Kind};

/// A person.
#[derive(Debug, Clone)]
pub struct UserRow {
    /// Identifies the person.
    pub id: Id,
    /// The name to sign in with, lower case.
    pub email: String,
    /// What the person may do.
    pub role: Role,
    /// Since when, ms.
    pub created: i64,
    /// When e-mail address or password changed last, ms.
    pub updated: i64,
    /// When somebody signed in last, ms.
    pub login: Option<i64>,
}

/// What is needed to check a password.
#[derive(Clone)]
pub struct Credentials {
    /// Whose.
    pub id: Id,
    /// The hash of the password.
    pub password: String,
}

/// What is to change about a user.
#[derive(Clone, Default)]
pub struct UserChange {
    /// The new name to sign in with.
    pub email: Option<String>,
    /// The hash of the new password. All sessions end.
    pub password: Option<String>,
    /// Except this one.
    pub keep_session: Option<Id>,
    /// What the person may do from now on.
    pub role: Option<Role>,
}

/// What became of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserOutcome {
    /// It is so now.
    Done(Id),
    /// There is no such user.
    Missing,
    /// There is another user with this e-mail address.
    EmailTaken,
    /// The last admin cannot go: nobody could manage users any more.
    Last,
}

impl Store {
    /// All users, the oldest first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn users(&self) -> Result<Vec<UserRow>, Error> {
        let rows = sql::query(
            "SELECT id, email, role, created, updated, login FROM users ORDER BY created, id",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(user).collect()
    }

    /// One user.
    ///
    /// # Errors
    /// Of the database.
    pub async fn user(&self, id: Id) -> Result<Option<UserRow>, Error> {
        let row =
            sql::query("SELECT id, email, role, created, updated, login FROM users WHERE id = $1")
                .bind(id.to_string())
                .fetch_optional(&self.readers)
                .await?;
        row.map(|row| user(&row)).transpose()
    }

    /// What is needed to check the password of the user who signs in as `email`.
    ///
    /// # Errors
    /// Of the database.
    pub async fn credentials(&self, email: &str) -> Result<Option<Credentials>, Error> {
        let row = sql::query("SELECT id, password FROM users WHERE email = $1")
            .bind(email)
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| {
            Ok(Credentials {
                id: parsed(&row, "id")?,
                password: row.try_get("password")?,
            })
        })
        .transpose()
    }

    /// Adds a user.
    ///
    /// # Errors
    /// Of the database.
    pub async fn add_user(
        &self,
        id: Id,
        email: String,
        password: String,
        role: Role,
        now: i64,
    ) -> Result<UserOutcome, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let done = sql::query(
                    "INSERT INTO users (id, email, password, role, created, updated)
                     VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (email) DO NOTHING",
                )
                .bind(id.to_string())
                .bind(email)
                .bind(password)
                .bind(role.as_str())
                .bind(now)
                .execute(tx.connection())
                .await?;
                if done.rows_affected() == 0 {
                    return Ok(UserOutcome::EmailTaken);
                }
                tx.audit(Action::Create, Kind::User, id, format!("role: {role}"))
                    .await?;
                tx.changed(Change::Users);
                Ok(UserOutcome::Done(id))
            })
        })
        .await
    }

    /// Changes a user.
    ///
    /// # Errors
    /// Of the database.
    pub async fn change_user(
        &self,
        id: Id,
        change: UserChange,
        now: i64,
    ) -> Result<UserOutcome, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                if let Some(email) = &change.email {
                    let taken = sql::query("SELECT 1 FROM users WHERE email = $1 AND id <> $2")
                        .bind(email)
                        .bind(id.to_string())
                        .fetch_optional(tx.connection())
                        .await?;
                    if taken.is_some() {
                        return Ok(UserOutcome::EmailTaken);
                    }
                }
                if change.role.is_some_and(|role| role < Role::Admin) && is_last_admin(tx, id).await? {
                    return Ok(UserOutcome::Last);
                }
                let text = change.text();
                let done = sql::query(
                    "UPDATE users SET email = COALESCE($2, email), password = COALESCE($3, password),
                                      role = COALESCE($4, role), updated = $5
                     WHERE id = $1",
                )
                .bind(id.to_string())
                .bind(change.email)
                .bind(&change.password)
                .bind(change.role.map(Role::as_str))
                .bind(now)
                .execute(tx.connection())
                .await?;
                if done.rows_affected() == 0 {
                    return Ok(UserOutcome::Missing);
                }
                tx.audit(Action::Update, Kind::User, id, text).await?;
                if change.password.is_some() {
                    // Whoever had the old password is out.
                    sql::query("DELETE FROM tokens WHERE user_id = $1 AND name IS NULL AND id <> $2")
                        .bind(id.to_string())
                        .bind(change.keep_session.unwrap_or_default().to_string())
                        .execute(tx.connection())
                        .await?;
                }
                tx.changed(Change::Users);
                Ok(UserOutcome::Done(id))
            })
        })
        .await
    }

    /// Removes a user with all tokens, but not the last admin.
    ///
    /// # Errors
    /// Of the database.
    pub async fn remove_user(&self, id: Id) -> Result<UserOutcome, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                if is_last_admin(tx, id).await? {
                    return Ok(UserOutcome::Last);
                }
                let known = sql::query("SELECT 1 FROM users WHERE id = $1")
                    .bind(id.to_string())
                    .fetch_optional(tx.connection())
                    .await?;
                if known.is_none() {
                    return Ok(UserOutcome::Missing);
                }
                tx.audit(Action::Delete, Kind::User, id, "").await?;
                sql::query("DELETE FROM users WHERE id = $1")
                    .bind(id.to_string())
                    .execute(tx.connection())
                    .await?;
                tx.changed(Change::Users);
                Ok(UserOutcome::Done(id))
            })
        })
        .await
    }
}

impl UserChange {
    /// What it changes, without anything secret.
    fn text(&self) -> String {
        let mut parts = Vec::new();
        if let Some(email) = &self.email {
            parts.push(format!("e-mail: {email}"));
        }
        if self.password.is_some() {
            parts.push("a new password".to_owned());
        }
        if let Some(role) = self.role {
            parts.push(format!("role: {role}"));
        }
        parts.join(", ")
    }
}

/// Whether nobody would be an admin without this user.
async fn is_last_admin(tx: &mut Tx, id: Id) -> Result<bool, Error> {
    let row = sql::query(
        "SELECT COUNT(CASE WHEN id = $1 THEN 1 END), COUNT(CASE WHEN id <> $1 THEN 1 END) FROM users WHERE role = $2",
    )
    .bind(id.to_string())
    .bind(Role::Admin.as_str())
    .fetch_one(tx.connection())
    .await?;
    let (this, another): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(this != 0 && another == 0)
}

fn user(row: &Row) -> Result<UserRow, Error> {
    Ok(UserRow {
        id: parsed(row, "id")?,
        email: row.try_get("email")?,
        role: parsed(row, "role")?,
        created: row.try_get("created")?,
        updated: row.try_get("updated")?,
        login: row.try_get("login")?,
    })
}
