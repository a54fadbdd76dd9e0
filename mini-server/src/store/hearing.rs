//! Several processes on one PostgreSQL database: each hears what the others changed, and one of them is the keeper.
//!
//! ```text
//! writer of a process: works -> pg_notify in the same transaction -> commit
//! every other process:  LISTEN -> its Watcher, as for its own changes
//!                       connection broken -> Change::Unheard: nothing in memory counts until it hears again
//! ```
//!
//! The same connection holds the lock of the keeper, who does what only one may do: throwing away what is too old, and
//! telling webhooks. It goes with the connection, so another process has it a second after the keeper is gone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use log::{debug, info, warn};
use sqlx::Row as _;
use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::database::Postgres;
use super::sql::{self, Connection};
use super::{Change, Id, Topic, Watcher};
use crate::secret::new_id;

/// Where processes tell each other.
const CHANNEL: &str = "tandem";

/// Bytes of one message; PostgreSQL takes fewer than 8000.
const MESSAGE: usize = 7000;

/// Changes that are told one by one; more are told as everything.
const CHANGES: usize = 2000;

/// How often it is looked whether the connection is still good, and whether the keeper is gone.
const TICK: Duration = Duration::from_secs(1);

/// How long an answer may take before the connection counts as broken. A process that the database cannot be heard by
/// believes its memory for no longer than this and a tick.
const ANSWER: Duration = Duration::from_secs(4);

/// Everything may be different.
const ALL: &str = "*";

/// A process among others.
#[derive(Clone)]
pub(super) struct Process {
    /// Tells its own messages from those of others.
    id: Id,
    keeper: Arc<AtomicBool>,
}

impl Process {
    /// One among others: it is the keeper when no other is.
    pub(super) fn among_others() -> Self {
        Self {
            id: new_id(),
            keeper: Arc::new(AtomicBool::new(false)),
        }
    }

    /// The only one.
    pub(super) fn alone() -> Self {
        Self {
            id: new_id(),
            keeper: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Whether it does what only one may do.
    pub(super) fn is_keeper(&self) -> bool {
        self.keeper.load(Ordering::Acquire)
    }

    /// Tells the others, when the transaction is committed.
    pub(super) async fn tell(
        &self,
        connection: &mut Connection,
        changes: &[Change],
    ) -> Result<(), sqlx::Error> {
        for message in messages(self.id, changes) {
            sql::query("SELECT pg_notify($1, $2)")
                .bind(CHANNEL)
                .bind(message)
                .fetch_one(&mut *connection)
                .await?;
        }
        Ok(())
    }

    /// Hears what others tell, until the store is closed.
    pub(super) async fn hear(
        self,
        postgres: Postgres,
        watcher: Watcher,
        mut stopping: watch::Receiver<bool>,
    ) {
        loop {
            let outcome = tokio::select! {
                outcome = self.listen(&postgres, &watcher) => outcome,
                _ = stopping.changed() => break,
            };
            self.keeper.store(false, Ordering::Release);
            watcher(&[Change::Unheard]);
            if let Err(err) = outcome {
                warn!("nothing is remembered until the database is heard again: {err}");
            }
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                _ = stopping.changed() => break,
            }
        }
        self.keeper.store(false, Ordering::Release);
    }

    /// Hears what others tell, until the connection breaks.
    async fn listen(&self, postgres: &Postgres, watcher: &Watcher) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect_with(&postgres.one()).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        watcher(&[Change::Heard]);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                heard = listener.try_recv() => match heard? {
                    Some(message) => self.take(message.payload(), watcher),
                    None => return Ok(()),
                },
                _ = tick.tick() => {
                    let answered = timeout(ANSWER, self.keep(&mut listener)).await;
                    answered.map_err(|_| sqlx::Error::PoolTimedOut)??;
                }
            }
        }
    }

    /// Sees that the connection is good, and becomes the keeper if there is none.
    async fn keep(&self, listener: &mut PgListener) -> Result<(), sqlx::Error> {
        if self.is_keeper() {
            sqlx::query("SELECT 1").execute(listener).await?;
            return Ok(());
        }
        // The number is "tandem" in ASCII and 2.
        let row = sqlx::query("SELECT pg_try_advisory_lock(32758224057101570)")
            .fetch_one(listener)
            .await?;
        if row.try_get(0)? {
            info!("this process looks after webhooks and what is too old");
            self.keeper.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn take(&self, message: &str, watcher: &Watcher) {
        let Some((from, changes)) = parse(message) else {
            // A newer version of this program may have other words.
            debug!("a message that is not understood: everything may be different");
            watcher(&[Change::Heard]);
            return;
        };
        if from != self.id {
            watcher(&changes);
        }
    }
}

/// What others are told of changes.
fn messages(from: Id, changes: &[Change]) -> Vec<String> {
    let words: BTreeSet<String> = changes.iter().copied().map(word).collect();
    if words.is_empty() {
        return Vec::new();
    }
    let mut message = from.to_string();
    if words.len() > CHANGES {
        message.push_str(&format!(" {ALL}"));
        return vec![message];
    }
    let mut messages = Vec::new();
    for word in words {
        if message.len().saturating_add(word.len()) >= MESSAGE {
            messages.push(std::mem::replace(&mut message, from.to_string()));
        }
        message.push(' ');
        message.push_str(&word);
    }
    messages.push(message);
    messages
}

/// From whom a message is, and what has changed.
fn parse(message: &str) -> Option<(Id, Vec<Change>)> {
    let mut words = message.split(' ');
    let from = words.next()?.parse().ok()?;
    let changes = words.map(change).collect::<Option<_>>()?;
    Some((from, changes))
}

fn word(change: Change) -> String {
    match change {
        Change::Device(id) => id.to_string(),
        Change::Deployments => "deployments".to_owned(),
        Change::Users => "users".to_owned(),
        Change::Shown(Topic::Devices) => "shown-devices".to_owned(),
        Change::Shown(Topic::Deployments) => "shown-deployments".to_owned(),
        Change::Shown(Topic::Releases) => "shown-releases".to_owned(),
        Change::Heard | Change::Unheard => ALL.to_owned(),
    }
}

fn change(word: &str) -> Option<Change> {
    Some(match word {
        "deployments" => Change::Deployments,
        "users" => Change::Users,
        "shown-devices" => Change::Shown(Topic::Devices),
        "shown-deployments" => Change::Shown(Topic::Deployments),
        "shown-releases" => Change::Shown(Topic::Releases),
        ALL => Change::Heard,
        id => Change::Device(id.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_is_heard() {
        let (from, device) = (new_id(), new_id());
        let told = [
            Change::Device(device),
            Change::Deployments,
            Change::Users,
            Change::Shown(Topic::Devices),
            Change::Shown(Topic::Deployments),
            Change::Shown(Topic::Releases),
        ];
        let twice = [told, told].concat();
        let messages = messages(from, &twice);
        let (sender, heard) = parse(&messages[0]).unwrap();
        assert_eq!((messages.len(), sender, heard.len()), (1, from, told.len()));
        assert!(told.iter().all(|change| heard.contains(change)));
        assert_eq!(super::messages(from, &[]), Vec::<String>::new());
    }

    #[test]
    fn many_changes_are_several_messages_and_very_many_are_everything() {
        let from = new_id();
        let changes = |count| {
            (0..count)
                .map(|_| Change::Device(new_id()))
                .collect::<Vec<_>>()
        };
        let some = messages(from, &changes(CHANGES));
        assert!(some.iter().all(|message| message.len() < 8000));
        let heard: usize = some
            .iter()
            .map(|message| parse(message).unwrap().1.len())
            .sum();
        assert_eq!(heard, CHANGES);
        let all = messages(from, &changes(CHANGES + 1));
        assert_eq!(parse(&all[0]), Some((from, vec![Change::Heard])));
    }

    #[test]
    fn what_is_not_understood_is_not_half_understood() {
        for wrong in ["", "x", &format!("{} users nonsense", new_id())] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
