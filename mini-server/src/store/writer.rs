//! The one task that writes.
//!
//! Each commit waits for the disk. Works that arrive meanwhile go into the next transaction together, so a thousand
//! enrolments a second cost a few dozen flushes. A work that fails is undone alone (it runs in a savepoint).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use log::{Level, debug, info, log, warn};
use tokio::sync::{mpsc, oneshot};

use super::database::Database;
use super::dialect::Dialect;
use super::hearing::Process;
use super::sql;
use super::{Connection, Error, Id, Store};
use crate::audit::{self, Cause};

/// What a transaction changed, as far as something in memory depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Who a device is, whether it is let in, or that it is to be offered something again.
    Device(Id),
    /// There is a new deployment, or something may be given to devices that could not be before.
    Deployments,
    /// Users or their tokens.
    Users,
    /// Only what people are shown.
    Shown(Topic),
    /// What other processes change is not heard of from now on: nothing in memory can be relied on.
    Unheard,
    /// It is heard of from now on; what was in memory before may be wrong.
    Heard,
}

/// What people are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Devices, and what is known about them.
    Devices,
    /// Deployments, and how they go.
    Deployments,
    /// Artifacts.
    Releases,
}

/// Hears of what changed: after it is durable, before anybody is answered.
pub type Watcher = Arc<dyn Fn(&[Change]) + Send + Sync>;

/// The connection of a work, and what it changed so far.
pub struct Tx {
    connection: Connection,
    changes: Vec<Change>,
    /// Who wants the work at hand.
    cause: Option<Arc<Cause>>,
    /// Whether the work has said in the audit log what it does.
    audited: bool,
}

impl Tx {
    /// The connection.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Notes that something in memory is no longer right.
    pub fn changed(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Who wants this.
    pub(super) fn cause(&self) -> Option<Arc<Cause>> {
        self.cause.clone()
    }

    /// Notes that the audit log has a line about the work.
    pub(super) fn set_audited(&mut self) {
        self.audited = true;
    }
}

impl Store {
    /// Has `work` done in a transaction of the writer, and waits until that is durable. If `work` fails nothing of it
    /// was done.
    ///
    /// # Errors
    /// Those of `work`, and of the commit.
    pub(super) async fn write<T, W>(&self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, Error>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Pending {
            cause: audit::cause(),
            work: Some(work),
            result: None,
            reply,
        });
        self.writer.send(job).await?;
        answer.await.map_err(|_| Error::Stopped)?
    }
}

/// Works in one transaction.
const BATCH: usize = 256;

/// How long works are added to a transaction before it is committed.
const BATCH_TIME: Duration = Duration::from_millis(50);

/// How long a database server may say nothing; it ends our statements itself a little earlier.
const STUCK: Duration = Duration::from_secs(65);

/// Works that wait for the writer; who comes then waits with the request.
const QUEUE: usize = 1024;

/// The way to the writing task.
pub(super) struct Writer {
    jobs: mpsc::Sender<Message>,
}

enum Message {
    Work(Box<dyn Job>),
    Stop(oneshot::Sender<()>),
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        database: Database,
        process: Process,
        watcher: Watcher,
    ) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let tx = Tx {
            connection,
            changes: Vec::new(),
            cause: None,
            audited: false,
        };
        let line = Line {
            tx,
            database,
            process,
            broken: false,
            known: false,
        };
        tokio::spawn(run(line, queue, watcher));
        Self { jobs }
    }

    async fn send(&self, job: Box<dyn Job>) -> Result<(), Error> {
        self.jobs
            .send(Message::Work(job))
            .await
            .map_err(|_| Error::Stopped)
    }

    /// Waits for all works handed in so far, and ends the task.
    pub(super) async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.jobs.send(Message::Stop(done)).await.is_ok() {
            // If the sender is gone so is the task.
            let _ = stopped.await;
        }
    }
}

/// The writer's line to the database.
struct Line {
    tx: Tx,
    /// For another one when it is broken.
    database: Database,
    /// Tells other processes what is changed.
    process: Process,
    broken: bool,
    /// The log has a line that it is broken.
    known: bool,
}

async fn run(mut line: Line, mut queue: mpsc::Receiver<Message>, watcher: Watcher) {
    let mut stop = None;
    while stop.is_none() {
        match queue.recv().await {
            Some(Message::Work(first)) => {
                stop = batch(&mut line, first, &mut queue, &watcher).await;
            }
            Some(Message::Stop(done)) => stop = Some(done),
            None => break,
        }
    }
    if let Err(err) = line.tx.connection.close().await {
        warn!("cannot close the database: {err}");
    }
    if let Some(done) = stop {
        // Whoever asked may have given up waiting.
        let _ = done.send(());
    }
}

/// One transaction, with as many works as are waiting.
async fn batch(
    line: &mut Line,
    first: Box<dyn Job>,
    queue: &mut mpsc::Receiver<Message>,
    watcher: &Watcher,
) -> Option<oneshot::Sender<()>> {
    let mut stop = None;
    let mut jobs = Vec::new();
    let mut outcome = line.begin().await;
    let tx = &mut line.tx;
    // After the wait for others who write.
    let begun = Instant::now();
    let mut next = Some(first);
    while let Some(mut job) = next {
        next = None;
        if outcome.is_ok() {
            let remote = tx.connection.dialect() == Dialect::Postgres;
            outcome = bounded(remote, attempt(tx, job.as_mut())).await;
        }
        jobs.push(job);
        if outcome.is_ok() && jobs.len() < BATCH && begun.elapsed() < BATCH_TIME {
            match queue.try_recv() {
                Ok(Message::Work(job)) => next = Some(job),
                Ok(Message::Stop(done)) => stop = Some(done),
                Err(_) => {}
            }
        }
    }
    if outcome.is_ok() && matches!(line.database, Database::Postgres(_)) {
        outcome = line.process.tell(&mut tx.connection, &tx.changes).await;
    }
    if outcome.is_ok() {
        outcome = execute(tx, "RELEASE SAVEPOINT work; COMMIT").await;
    }
    // Also if it seems to have failed: when the line breaks in the midst of a commit nobody knows.
    watcher(&tx.changes);
    tx.changes.clear();
    let fate = match outcome {
        Ok(()) => Fate::Durable,
        Err(err) => {
            // Once, not for every transaction until it is back.
            let level = if line.broken && line.known {
                Level::Debug
            } else {
                Level::Error
            };
            log!(level, "cannot write to the database: {err}");
            if let Err(err) = execute(tx, "ROLLBACK").await {
                debug!("no transaction to roll back: {err}");
                line.broken = true;
            }
            line.known = line.broken;
            if matches!(Error::from(err), Error::Unavailable(_)) {
                Fate::Unknown
            } else {
                Fate::Undone
            }
        }
    };
    for job in jobs {
        job.reply(fate);
    }
    stop
}

/// What became of the works of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// What they did stands.
    Durable,
    /// The database refused.
    Undone,
    /// The database went away. They may be tried again.
    Unknown,
}

impl Line {
    /// Begins a transaction, over another connection if the last one is broken: nothing is lost by that, and a server
    /// that was started again need not be noticed by anybody.
    async fn begin(&mut self) -> Result<(), sqlx::Error> {
        let begin = self.tx.connection.dialect().begin();
        let Database::Postgres(postgres) = &self.database else {
            return execute(&mut self.tx, begin).await;
        };
        if !self.broken {
            match execute(&mut self.tx, begin).await {
                Ok(()) => return Ok(()),
                Err(err) => debug!("connecting to the database again: {err}"),
            }
        }
        self.broken = true;
        self.tx.connection = postgres.again().await?.into();
        execute(&mut self.tx, begin).await?;
        info!("connected to the database again");
        (self.broken, self.known) = (false, false);
        Ok(())
    }
}

/// Runs one work after a savepoint, and sets the next; a work that fails leaves nothing behind.
async fn attempt(tx: &mut Tx, job: &mut dyn Job) -> Result<(), sqlx::Error> {
    let changes = tx.changes.len();
    if job.run(tx).await {
        // Each trip to the connection costs as much as a small statement.
        return execute(tx, "RELEASE SAVEPOINT work; SAVEPOINT work").await;
    }
    tx.changes.truncate(changes);
    execute(tx, "ROLLBACK TO SAVEPOINT work").await
}

async fn execute(tx: &mut Tx, statements: &'static str) -> Result<(), sqlx::Error> {
    let remote = tx.connection.dialect() == Dialect::Postgres;
    bounded(remote, sql::run(&mut tx.connection, statements)).await
}

/// A line to a server can be cut without a sign; a file cannot.
async fn bounded<T>(
    remote: bool,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    if !remote {
        return work.await;
    }
    let done = tokio::time::timeout(STUCK, work).await;
    done.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// A work and the one who waits for it.
trait Job: Send {
    /// Runs it; whether it did what it was to do.
    fn run<'j>(&'j mut self, tx: &'j mut Tx) -> BoxFuture<'j, bool>;
    /// Hands out the result.
    fn reply(self: Box<Self>, fate: Fate);
}

struct Pending<T, W> {
    cause: Option<Arc<Cause>>,
    work: Option<W>,
    result: Option<Result<T, Error>>,
    reply: oneshot::Sender<Result<T, Error>>,
}

/// Does `work`. What somebody wants by a request, and what changes something without a word in the audit log, gets its
/// line there by the request.
async fn accountable<T, W>(tx: &mut Tx, work: W) -> Result<T, Error>
where
    W: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, Error>>,
{
    let cause = tx.cause();
    let Some(asked) = cause.as_ref().and_then(|cause| cause.request.as_ref()) else {
        return work(tx).await;
    };
    let before = tx.connection.changed();
    let result = work(tx).await?;
    if !tx.audited && tx.connection.changed() != before {
        tx.audit_request(asked).await?;
    }
    Ok(result)
}

impl<T, W> Job for Pending<T, W>
where
    T: Send + 'static,
    W: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, Error>> + Send,
{
    fn run<'j>(&'j mut self, tx: &'j mut Tx) -> BoxFuture<'j, bool> {
        async move {
            let Some(work) = self.work.take() else {
                return false;
            };
            tx.cause = self.cause.take();
            tx.audited = false;
            // One bad request must not end the task that writes for all others.
            let result = AssertUnwindSafe(accountable(tx, work))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| Err(Error::corrupt("a work of the writer panicked")));
            let done = result.is_ok();
            self.result = Some(result);
            done
        }
        .boxed()
    }

    fn reply(self: Box<Self>, fate: Fate) {
        let result = match (self.result, fate) {
            (Some(Err(err)), _) => Err(err),
            (Some(Ok(value)), Fate::Durable) => Ok(value),
            (Some(Ok(_)) | None, Fate::Unknown) => Err(Error::Unavailable(None)),
            (Some(Ok(_)) | None, Fate::Durable | Fate::Undone) => Err(Error::NotCommitted),
        };
        // The request may be gone; what was done stands.
        let _ = self.reply.send(result);
    }
}
