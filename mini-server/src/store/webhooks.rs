//! Whom the server tells of what happens, and what they are still to be told. The events themselves are written by
//! triggers (migration 6), in the transactions of what they tell of.

use super::devices::{parsed, unsigned};
use super::sql::{self, Row};
use super::{Error, Id, Store};
use crate::audit::{Action, Kind};

/// Somebody who is told.
#[derive(Debug, Clone)]
pub struct WebhookRow {
    /// Identifies it.
    pub id: Id,
    /// Where.
    pub url: String,
    /// Of which events.
    pub events: Vec<String>,
    /// Since when, ms.
    pub created: i64,
    /// How often in a row it did not take anything.
    pub failures: u64,
    /// What came of the last attempt.
    pub outcome: Option<String>,
    /// When that was, ms.
    pub tried: Option<i64>,
    /// How much it is still to be told.
    pub waiting: u64,
}

/// A webhook that may be told something now.
#[derive(Clone)]
pub struct DueWebhook {
    /// Which one.
    pub id: Id,
    /// Where.
    pub url: String,
    /// What bodies are signed with.
    pub secret: String,
    /// How often in a row it did not take anything.
    pub failures: u64,
}

/// Something that it is to be told.
#[derive(Debug, Clone)]
pub struct WaitingEvent {
    /// Its number.
    pub number: i64,
    /// What has happened.
    pub event: String,
    /// When, ms.
    pub at: i64,
    /// More about it: a JSON object.
    pub data: String,
    /// How often it was tried.
    pub attempts: u64,
}

/// What became of a new webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookAdded {
    /// It is told from now on.
    Done,
    /// There are too many.
    TooMany,
}

/// Webhooks of a server.
const LIMIT: i64 = 20;

impl Store {
    /// All webhooks, the oldest first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn webhooks(&self) -> Result<Vec<WebhookRow>, Error> {
        let rows = sql::query(
            "SELECT id, url, events, created, failures, outcome, tried,
                    (SELECT COUNT(*) FROM webhook_events e WHERE e.webhook_id = w.id) AS waiting
             FROM webhooks w ORDER BY created, id",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                let events: &str = row.try_get("events")?;
                Ok(WebhookRow {
                    id: parsed(row, "id")?,
                    url: row.try_get("url")?,
                    events: events.split_whitespace().map(ToOwned::to_owned).collect(),
                    created: row.try_get("created")?,
                    failures: unsigned(row.try_get("failures")?),
                    outcome: row.try_get("outcome")?,
                    tried: row.try_get("tried")?,
                    waiting: unsigned(row.try_get("waiting")?),
                })
            })
            .collect()
    }

    /// Adds a webhook; `host` is that of its address.
    ///
    /// # Errors
    /// Of the database.
    pub async fn add_webhook(
        &self,
        hook: DueWebhook,
        host: String,
        events: Vec<String>,
        now: i64,
    ) -> Result<WebhookAdded, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let row = sql::query("SELECT COUNT(*) FROM webhooks")
                    .fetch_one(tx.connection())
                    .await?;
                if row.try_get::<i64, _>(0)? >= LIMIT {
                    return Ok(WebhookAdded::TooMany);
                }
                let events = events.join(" ");
                sql::query(
                    "INSERT INTO webhooks (id, url, host, secret, events, created)
                     VALUES ($1, $2, $3, $4, $5, $6)",
                )
                .bind(hook.id.to_string())
                .bind(hook.url)
                .bind(host)
                .bind(hook.secret)
                .bind(format!(" {events} "))
                .bind(now)
                .execute(tx.connection())
                .await?;
                tx.audit(Action::Create, Kind::Webhook, hook.id, events)
                    .await?;
                Ok(WebhookAdded::Done)
            })
        })
        .await
    }

    /// Forgets a webhook and what it was to be told; false if there was none.
    ///
    /// # Errors
    /// Of the database.
    pub async fn remove_webhook(&self, id: Id) -> Result<bool, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let known = sql::query("SELECT 1 FROM webhooks WHERE id = $1")
                    .bind(id.to_string())
                    .fetch_optional(tx.connection())
                    .await?;
                if known.is_none() {
                    return Ok(false);
                }
                tx.audit(Action::Delete, Kind::Webhook, id, "").await?;
                sql::query("DELETE FROM webhooks WHERE id = $1")
                    .bind(id.to_string())
                    .execute(tx.connection())
                    .await?;
                Ok(true)
            })
        })
        .await
    }

    /// One webhook, as it is needed to tell it something.
    ///
    /// # Errors
    /// Of the database.
    pub async fn webhook(&self, id: Id) -> Result<Option<DueWebhook>, Error> {
        let row = sql::query("SELECT id, url, secret, failures FROM webhooks WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| due(&row)).transpose()
    }

    /// The webhooks that are to be told something and may be at `now`, ms.
    ///
    /// # Errors
    /// Of the database.
    pub async fn webhooks_due(&self, now: i64) -> Result<Vec<DueWebhook>, Error> {
        let rows = sql::query(
            "SELECT id, url, secret, failures FROM webhooks w
             WHERE due <= $1 AND EXISTS (SELECT 1 FROM webhook_events e WHERE e.webhook_id = w.id)",
        )
        .bind(now)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(due).collect()
    }

    /// What a webhook is to be told next.
    ///
    /// # Errors
    /// Of the database.
    pub async fn next_event(&self, webhook: Id) -> Result<Option<WaitingEvent>, Error> {
        let row = sql::query(
            "SELECT number, event, at, data, attempts FROM webhook_events
             WHERE webhook_id = $1 ORDER BY number LIMIT 1",
        )
        .bind(webhook.to_string())
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| {
            Ok(WaitingEvent {
                number: row.try_get("number")?,
                event: row.try_get("event")?,
                at: row.try_get("at")?,
                data: row.try_get("data")?,
                attempts: unsigned(row.try_get("attempts")?),
            })
        })
        .transpose()
    }

    /// How many events all webhooks are still to be told.
    ///
    /// # Errors
    /// Of the database.
    pub async fn count_waiting_events(&self) -> Result<u64, Error> {
        let row = sql::query("SELECT COUNT(*) FROM webhook_events")
            .fetch_one(&self.readers)
            .await?;
        Ok(unsigned(row.try_get(0)?))
    }

    /// Notes what came of telling a webhook an event. `settled`: it is not to be told that again; `due`: when it may be
    /// told something again, ms, if it did not take this.
    ///
    /// # Errors
    /// Of the database.
    pub async fn note_attempt(
        &self,
        webhook: Id,
        number: i64,
        settled: bool,
        due: Option<i64>,
        outcome: String,
        now: i64,
    ) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let event = if settled {
                    "DELETE FROM webhook_events WHERE number = $1"
                } else {
                    "UPDATE webhook_events SET attempts = attempts + 1 WHERE number = $1"
                };
                sql::query(event)
                    .bind(number)
                    .execute(tx.connection())
                    .await?;
                sql::query(
                    "UPDATE webhooks SET failures = CASE WHEN $2 IS NULL THEN 0 ELSE failures + 1 END,
                                         due = COALESCE($2, 0), outcome = $3, tried = $4
                     WHERE id = $1",
                )
                .bind(webhook.to_string())
                .bind(due)
                .bind(outcome)
                .bind(now)
                .execute(tx.connection())
                .await?;
                Ok(())
            })
        })
        .await
    }
}

fn due(row: &Row) -> Result<DueWebhook, Error> {
    Ok(DueWebhook {
        id: parsed(row, "id")?,
        url: row.try_get("url")?,
        secret: row.try_get("secret")?,
        failures: unsigned(row.try_get("failures")?),
    })
}
