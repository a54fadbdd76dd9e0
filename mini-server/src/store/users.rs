//! People who may sign in.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::devices::parsed;
use super::writer::Change;
use super::{Error, Id, Store};
use crate::access::Role;

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
    /// The last user cannot go: nobody could sign in any more.
    Last,
}

impl Store {
    /// All users, the oldest first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn users(&self) -> Result<Vec<UserRow>, Error> {
        let rows = sqlx::query(
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
            sqlx::query("SELECT id, email, role, created, updated, login FROM users WHERE id = $1")
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
        let row = sqlx::query("SELECT id, password FROM users WHERE email = $1")
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
                let done = sqlx::query(
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
                    let taken = sqlx::query("SELECT 1 FROM users WHERE email = $1 AND id <> $2")
                        .bind(email)
                        .bind(id.to_string())
                        .fetch_optional(tx.connection())
                        .await?;
                    if taken.is_some() {
                        return Ok(UserOutcome::EmailTaken);
                    }
                }
                let done = sqlx::query(
                    "UPDATE users SET email = COALESCE($2, email), password = COALESCE($3, password), updated = $4
                     WHERE id = $1",
                )
                .bind(id.to_string())
                .bind(change.email)
                .bind(&change.password)
                .bind(now)
                .execute(tx.connection())
                .await?;
                if done.rows_affected() == 0 {
                    return Ok(UserOutcome::Missing);
                }
                if change.password.is_some() {
                    // Whoever had the old password is out.
                    sqlx::query("DELETE FROM tokens WHERE user_id = $1 AND name IS NULL AND id <> $2")
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

    /// Removes a user with all tokens, but not the last one.
    ///
    /// # Errors
    /// Of the database.
    pub async fn remove_user(&self, id: Id) -> Result<UserOutcome, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let row = sqlx::query("SELECT COUNT(*) FROM users WHERE id <> $1")
                    .bind(id.to_string())
                    .fetch_one(tx.connection())
                    .await?;
                let others: i64 = row.try_get(0)?;
                let done = sqlx::query("DELETE FROM users WHERE id = $1 AND $2 > 0")
                    .bind(id.to_string())
                    .bind(others)
                    .execute(tx.connection())
                    .await?;
                if done.rows_affected() > 0 {
                    tx.changed(Change::Users);
                    return Ok(UserOutcome::Done(id));
                }
                Ok(if others > 0 {
                    UserOutcome::Missing
                } else {
                    UserOutcome::Last
                })
            })
        })
        .await
    }
}

fn user(row: &SqliteRow) -> Result<UserRow, Error> {
    Ok(UserRow {
        id: parsed(row, "id")?,
        email: row.try_get("email")?,
        role: parsed(row, "role")?,
        created: row.try_get("created")?,
        updated: row.try_get("updated")?,
        login: row.try_get("login")?,
    })
}
