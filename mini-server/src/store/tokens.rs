//! Sessions and personal access tokens: the ones that are good.

use tandem_api::management::Role;

use super::devices::{parsed, parsed_or_null};
use super::sql;
use super::writer::Change;
use super::{Error, Id, Store};
use crate::audit::{Action, Kind};

/// A personal access token.
#[derive(Debug, Clone)]
pub struct TokenRow {
    /// Identifies it.
    pub id: Id,
    /// What its owner calls it.
    pub name: String,
    /// When it was made, ms.
    pub created: i64,
    /// Until when it is good, ms.
    pub expires: i64,
    /// When it was used last, ms.
    pub last_used: Option<i64>,
    /// What it may be used for, if that is less than what its owner may do.
    pub role: Option<Role>,
}

/// Who has a token that is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatorSession {
    /// The person.
    pub user: Id,
    /// What the person may do with this token.
    pub role: Role,
    /// Whether it is a personal access token, of which the last use is noted.
    pub personal: bool,
}

/// What became of a new personal access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenOutcome {
    /// It is good from now on.
    Done,
    /// The user has one of this name.
    NameTaken,
    /// The user has too many.
    TooMany,
    /// There is no such user.
    Missing,
}

/// Sessions and, counted apart, personal access tokens of one user.
const TOKENS_PER_USER: i64 = 10;

impl Store {
    /// Begins a session; the oldest of too many ends.
    ///
    /// # Errors
    /// Of the database.
    pub async fn begin_session(
        &self,
        id: Id,
        user: Id,
        now: i64,
        expires: i64,
    ) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                sql::query("DELETE FROM tokens WHERE expires < $1")
                    .bind(now)
                    .execute(tx.connection())
                    .await?;
                let gone = sql::query(
                    "DELETE FROM tokens WHERE id IN
                     (SELECT id FROM tokens WHERE user_id = $1 AND name IS NULL
                      ORDER BY created DESC, id LIMIT 1000 OFFSET $2)",
                )
                .bind(user.to_string())
                .bind(TOKENS_PER_USER.saturating_sub(1))
                .execute(tx.connection())
                .await?;
                if gone.rows_affected() > 0 {
                    tx.changed(Change::Users);
                }
                sql::query(
                    "INSERT INTO tokens (id, user_id, created, expires) VALUES ($1, $2, $3, $4)",
                )
                .bind(id.to_string())
                .bind(user.to_string())
                .bind(now)
                .bind(expires)
                .execute(tx.connection())
                .await?;
                sql::query("UPDATE users SET login = $2 WHERE id = $1")
                    .bind(user.to_string())
                    .bind(now)
                    .execute(tx.connection())
                    .await?;
                tx.audit(Action::SignIn, Kind::User, user, "").await?;
                Ok(())
            })
        })
        .await
    }

    /// Makes a personal access token good.
    ///
    /// # Errors
    /// Of the database.
    pub async fn add_token(&self, user: Id, token: TokenRow) -> Result<TokenOutcome, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let known = sql::query("SELECT 1 FROM users WHERE id = $1")
                    .bind(user.to_string())
                    .fetch_optional(tx.connection())
                    .await?;
                if known.is_none() {
                    return Ok(TokenOutcome::Missing);
                }
                sql::query("DELETE FROM tokens WHERE user_id = $1 AND expires < $2")
                    .bind(user.to_string())
                    .bind(token.created)
                    .execute(tx.connection())
                    .await?;
                let row = sql::query(
                    "SELECT COUNT(*) FROM tokens WHERE user_id = $1 AND name IS NOT NULL",
                )
                .bind(user.to_string())
                .fetch_one(tx.connection())
                .await?;
                if row.try_get::<i64, _>(0)? >= TOKENS_PER_USER {
                    return Ok(TokenOutcome::TooMany);
                }
                let done = sql::query(
                    "INSERT INTO tokens (id, user_id, name, created, expires, role)
                     VALUES ($1, $2, $3, $4, $5, $6)
                     ON CONFLICT (user_id, name) DO NOTHING",
                )
                .bind(token.id.to_string())
                .bind(user.to_string())
                .bind(token.name)
                .bind(token.created)
                .bind(token.expires)
                .bind(token.role.map(Role::as_str))
                .execute(tx.connection())
                .await?;
                if done.rows_affected() == 0 {
                    return Ok(TokenOutcome::NameTaken);
                }
                let role = token.role.map_or("the owner's", Role::as_str);
                tx.audit(
                    Action::Create,
                    Kind::Token,
                    token.id,
                    format!("role: {role}"),
                )
                .await?;
                Ok(TokenOutcome::Done)
            })
        })
        .await
    }

    /// The personal access tokens of a user, the oldest first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn tokens(&self, user: Id) -> Result<Vec<TokenRow>, Error> {
        let rows = sql::query(
            "SELECT id, name, created, expires, last_used, role FROM tokens
             WHERE user_id = $1 AND name IS NOT NULL ORDER BY created, id",
        )
        .bind(user.to_string())
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(TokenRow {
                    id: parsed(row, "id")?,
                    name: row.try_get("name")?,
                    created: row.try_get("created")?,
                    expires: row.try_get("expires")?,
                    last_used: row.try_get("last_used")?,
                    role: parsed_or_null(row, "role")?,
                })
            })
            .collect()
    }

    /// Who has the token `id`, if it is good.
    ///
    /// # Errors
    /// Of the database.
    pub async fn operator(&self, id: Id) -> Result<Option<OperatorSession>, Error> {
        let row = sql::query(
            "SELECT u.id, u.role, t.role AS narrowed, t.name IS NOT NULL AS personal
             FROM tokens t JOIN users u ON u.id = t.user_id WHERE t.id = $1",
        )
        .bind(id.to_string())
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| {
            let own: Role = parsed(&row, "role")?;
            let narrowed: Option<Role> = parsed_or_null(&row, "narrowed")?;
            Ok(OperatorSession {
                user: parsed(&row, "id")?,
                // The owner may have become less since the token was made.
                role: narrowed.map_or(own, |role| role.min(own)),
                personal: row.try_get("personal")?,
            })
        })
        .transpose()
    }

    /// Makes a token of a user no longer good; false if there was none.
    ///
    /// # Errors
    /// Of the database.
    pub async fn remove_token(&self, user: Id, id: Id) -> Result<bool, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let row = sql::query("SELECT name FROM tokens WHERE id = $1 AND user_id = $2")
                    .bind(id.to_string())
                    .bind(user.to_string())
                    .fetch_optional(tx.connection())
                    .await?;
                let Some(row) = row else { return Ok(false) };
                if row.try_get::<Option<&str>, _>("name")?.is_some() {
                    tx.audit(Action::Revoke, Kind::Token, id, "").await?;
                } else {
                    tx.audit(Action::SignOut, Kind::User, user, "").await?;
                }
                sql::query("DELETE FROM tokens WHERE id = $1")
                    .bind(id.to_string())
                    .execute(tx.connection())
                    .await?;
                tx.changed(Change::Users);
                Ok(true)
            })
        })
        .await
    }

    /// Notes when tokens were used, ms.
    ///
    /// # Errors
    /// Of the database.
    pub async fn record_token_use(&self, used: Vec<(Id, i64)>) -> Result<(), Error> {
        if used.is_empty() {
            return Ok(());
        }
        self.write(move |tx| {
            Box::pin(async move {
                for (id, at) in used {
                    sql::query("UPDATE tokens SET last_used = $2 WHERE id = $1")
                        .bind(id.to_string())
                        .bind(at)
                        .execute(tx.connection())
                        .await?;
                }
                Ok(())
            })
        })
        .await
    }
}
