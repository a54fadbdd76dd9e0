//! Who is let in at this moment, in memory: what a request would otherwise have to read from the database.
//!
//! The store tells of every change after it is durable and before anybody is answered ([`Sessions::apply`]); from then
//! on nothing older is used. Whoever read the database meanwhile notices by the epoch and does not keep what it read.
//! Other processes on the same database tell of their changes in the same way; while they are not heard nothing is kept.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::{Change, Error, Id, OperatorSession, Store};
use crate::throttle::Due;

/// The memory.
pub struct Sessions {
    shards: [Mutex<Shard>; SHARDS],
    /// Whether all changes are heard of.
    heard_of: AtomicBool,
    /// Counts new deployments.
    deployments: AtomicU64,
    /// Devices that were heard from since that was written down.
    heard: Mutex<Vec<Arc<DeviceSession>>>,
    operators: Mutex<Operators>,
    /// When personal access tokens were used since that was written down, ms.
    used: Mutex<HashMap<Id, i64>>,
}

/// A device that is let in.
pub struct DeviceSession {
    /// Which device.
    pub device: Id,
    /// The key with which it is let in.
    pub auth_set: Id,
    /// How often it has asked.
    pub due: Due,
    generation: i64,
    /// The count of deployments at which there was nothing for it to do, and until when, ms.
    idle_at: AtomicU64,
    idle_until: AtomicI64,
    last_heard: AtomicI64,
    noted: AtomicBool,
    over: AtomicBool,
}

const SHARDS: usize = 16;

/// Devices of one shard; more are read from the database again.
const LIMIT: usize = 1 << 16;

/// Tokens of people.
const OPERATORS: usize = 1000;

#[derive(Default)]
struct Shard {
    epoch: u64,
    devices: HashMap<Id, Arc<DeviceSession>>,
}

#[derive(Default)]
struct Operators {
    epoch: u64,
    tokens: HashMap<Id, OperatorSession>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            heard_of: AtomicBool::new(true),
            // Zero stands for a device of which nothing is known.
            deployments: AtomicU64::new(1),
            heard: Mutex::default(),
            operators: Mutex::default(),
            used: Mutex::default(),
        }
    }
}

impl Sessions {
    /// The device with this token, if the token is still good.
    ///
    /// # Errors
    /// Of the database.
    pub async fn device(
        &self,
        store: &Store,
        device: Id,
        auth_set: Id,
        generation: i64,
    ) -> Result<Option<Arc<DeviceSession>>, Error> {
        let session = self.current(store, device, auth_set).await?;
        Ok(session.filter(|session| session.generation == generation))
    }

    /// The device, if it is let in with this key.
    ///
    /// # Errors
    /// Of the database.
    pub async fn current(
        &self,
        store: &Store,
        device: Id,
        auth_set: Id,
    ) -> Result<Option<Arc<DeviceSession>>, Error> {
        let of_key = |session: &Arc<DeviceSession>| {
            Some(Arc::clone(session)).filter(|session| session.auth_set == auth_set)
        };
        let epoch = {
            let shard = self.shard(device);
            // A device is let in with one key at most: whoever has another one is not.
            if let Some(session) = shard.devices.get(&device) {
                return Ok(of_key(session));
            }
            shard.epoch
        };
        let Some(found) = store.session(auth_set).await? else {
            return Ok(None);
        };
        if !found.accepted || found.device != device {
            return Ok(None);
        }
        let session = Arc::new(DeviceSession {
            device,
            auth_set,
            due: Due::default(),
            generation: found.generation,
            idle_at: AtomicU64::new(0),
            idle_until: AtomicI64::new(0),
            last_heard: AtomicI64::new(0),
            noted: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let mut shard = self.shard(device);
        if shard.epoch != epoch || !self.is_told() {
            return Ok(Some(session));
        }
        if shard.devices.len() >= LIMIT {
            shard.devices.clear();
        }
        // Two requests of one device may come here: the first one's session stays.
        Ok(of_key(shard.devices.entry(device).or_insert(session)))
    }

    /// The person with this token, if the token is still good.
    ///
    /// # Errors
    /// Of the database.
    pub async fn operator(
        &self,
        store: &Store,
        user: Id,
        token: Id,
    ) -> Result<Option<OperatorSession>, Error> {
        let of_user =
            |session: OperatorSession| Some(session).filter(|session| session.user == user);
        let epoch = {
            let operators = lock(&self.operators);
            if let Some(session) = operators.tokens.get(&token) {
                return Ok(of_user(*session));
            }
            operators.epoch
        };
        let Some(session) = store.operator(token).await? else {
            return Ok(None);
        };
        let mut operators = lock(&self.operators);
        if operators.epoch == epoch && self.is_told() {
            if operators.tokens.len() >= OPERATORS {
                operators.tokens.clear();
            }
            operators.tokens.insert(token, session);
        }
        Ok(of_user(session))
    }

    /// The database has changed.
    pub fn apply(&self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Device(id) => {
                    let mut shard = self.shard(*id);
                    shard.epoch = shard.epoch.wrapping_add(1);
                    if let Some(session) = shard.devices.remove(id) {
                        session.over.store(true, Ordering::Release);
                    }
                }
                Change::Deployments => {
                    self.deployments.fetch_add(1, Ordering::AcqRel);
                }
                Change::Users => self.forget_operators(),
                Change::Shown(_) => {}
                Change::Unheard => {
                    // First this: who keeps something after what follows sees it.
                    self.heard_of.store(false, Ordering::Release);
                    self.forget();
                }
                Change::Heard => {
                    self.forget();
                    self.heard_of.store(true, Ordering::Release);
                }
            }
        }
    }

    /// Whether all changes are heard of.
    fn is_told(&self) -> bool {
        self.heard_of.load(Ordering::Acquire)
    }

    /// Forgets everything.
    fn forget(&self) {
        self.deployments.fetch_add(1, Ordering::AcqRel);
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.epoch = shard.epoch.wrapping_add(1);
            // What is being downloaded goes on: a database that is started again does not break it off.
            shard.devices.clear();
        }
        self.forget_operators();
    }

    fn forget_operators(&self) {
        let mut operators = lock(&self.operators);
        operators.epoch = operators.epoch.wrapping_add(1);
        operators.tokens.clear();
    }

    /// The count of deployments, to be read before what [`DeviceSession::set_idle`] says is looked up.
    pub fn deployments(&self) -> u64 {
        self.deployments.load(Ordering::Acquire)
    }

    /// Whether it is known that there is nothing for the device to do at `now`, ms.
    pub fn is_idle(&self, session: &DeviceSession, now: i64) -> bool {
        self.is_told()
            && session.idle_at.load(Ordering::Acquire) == self.deployments()
            && now < session.idle_until.load(Ordering::Acquire)
    }

    /// The device was heard from, ms.
    pub fn heard(&self, session: &Arc<DeviceSession>, now: i64) {
        session.last_heard.store(now, Ordering::Relaxed);
        if !session.noted.swap(true, Ordering::AcqRel) {
            lock(&self.heard).push(Arc::clone(session));
        }
    }

    /// A personal access token was used, ms.
    pub fn used(&self, token: Id, now: i64) {
        lock(&self.used).insert(token, now);
    }

    /// Writes down who was heard from since the last time.
    ///
    /// # Errors
    /// Of the database; the times are then lost until the devices are heard from again.
    pub async fn flush(&self, store: &Store) -> Result<(), Error> {
        let heard = std::mem::take(&mut *lock(&self.heard));
        let times = heard
            .iter()
            .map(|session| {
                session.noted.store(false, Ordering::Release);
                (session.device, session.last_heard.load(Ordering::Relaxed))
            })
            .collect();
        store.record_check_ins(times).await?;
        let used = std::mem::take(&mut *lock(&self.used));
        store.record_token_use(used.into_iter().collect()).await
    }

    fn shard(&self, device: Id) -> MutexGuard<'_, Shard> {
        let [first, ..] = *device.as_bytes();
        #[expect(
            clippy::indexing_slicing,
            reason = "the remainder is smaller than the number of shards"
        )]
        lock(&self.shards[usize::from(first) % SHARDS])
    }
}

impl DeviceSession {
    /// When there were so many deployments there was nothing for the device to do before `until`, ms.
    pub fn set_idle(&self, deployments: u64, until: i64) {
        // Whoever reads between the two finds a count that is not the one of now, or asks in vain once.
        self.idle_until.store(until, Ordering::Release);
        self.idle_at.store(deployments, Ordering::Release);
    }

    /// Whether the device is no longer let in, or not known to be.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

/// What is behind a lock is whole at every instant, also if a thread panicked with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
