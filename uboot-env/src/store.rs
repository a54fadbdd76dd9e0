//! The stored environment: finding the copy that counts, and changing it so that no power cut can
//! lose it.
//!
//! A write, step by step, with what a power cut after it leaves:
//!
//! | step | two copies | one copy |
//! |---|---|---|
//! | the copy that does not count is written, once | old (its checksum is wrong) | **nothing** |
//! | it is made durable, the result is checked | new, or still old | new |
//! | it is read back and compared | new | new |
//! | NOR only: the flags byte of the old copy is cleared | new | - |
//!
//! The current copy is never written, with the exception of that flags byte. A single copy that is
//! all of a regular file is replaced by rename instead, which a power cut leaves old or new.

use std::io;
use std::path::Path;

use nix::fcntl::FlockArg;

use crate::medium::{Access, Devices, Kind, Medium};
use crate::newest::{Scheme, newest, next_flags};
use crate::placement::{Placement, check_pair};
use crate::{
    Config, Damage, Env, Error, Guard, Health, Place, ReadGuard, Snapshot, Warning, access, image,
    lock,
};

/// The environment that a [`Config`] describes.
///
/// Nothing stays open between two calls: a file that another program replaces is seen.
pub struct Store {
    config: Config,
    open: Box<Open>,
}

type Open = dyn Fn(&Path, Access) -> io::Result<Box<dyn Medium>> + Send + Sync;

/// What a call did to the stored environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The copy that was written; `None` when there was nothing to change.
    pub copy: Option<usize>,
    /// What a person should know.
    pub warnings: Vec<Warning>,
}

impl Store {
    /// The environment at the places of `config`. Nothing is opened yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let devices = Devices::default();
        Self::on(config, move |path, access| devices.open(path, access))
    }

    /// The same on other media than those of the kernel: how tests record what is done to them.
    pub fn on(
        config: Config,
        open: impl Fn(&Path, Access) -> io::Result<Box<dyn Medium>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            config,
            open: Box::new(open),
        }
    }

    /// Where the environment lies.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Keeps every other program out until the guard is dropped.
    ///
    /// # Errors
    /// [`Error::Locked`] when another program does not let go in time.
    pub fn lock(&self) -> Result<Guard, Error> {
        self.acquire(FlockArg::LockExclusiveNonblock).map(Guard)
    }

    /// Keeps programs that write out until the guard is dropped. Reading without it is safe with
    /// two copies; a single one may be met half written.
    ///
    /// # Errors
    /// [`Error::Locked`] when another program does not let go in time.
    pub fn lock_for_reading(&self) -> Result<ReadGuard, Error> {
        self.acquire(FlockArg::LockSharedNonblock).map(ReadGuard)
    }

    fn acquire(&self, kind: FlockArg) -> Result<lock::Held, Error> {
        let lock = self.config.lock();
        lock::acquire(&lock.path, kind, lock.patience)
    }

    /// Looks at the copies. A damaged one is no error, not even when no good one is left.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Unsuitable`], [`Error::Overlap`]: the configuration does not fit
    /// the devices.
    pub fn read(&self) -> Result<Snapshot, Error> {
        self.survey().map(|survey| survey.snapshot)
    }

    /// Makes `env` the environment, in one write. It may be called with no good copy left, and then
    /// needs to be complete: U-Boot takes nothing from its built-in environment any more.
    ///
    /// # Errors
    /// Those of [`Store::read`]; [`Error::ReadOnly`], [`Error::NotInWritelist`], [`Error::TooBig`]:
    /// nothing was written; [`Error::Write`], [`Error::Verify`], [`Error::Obsolete`].
    pub fn write(&self, guard: &Guard, env: &Env) -> Result<Written, Error> {
        self.commit(guard, self.survey()?, env)
    }

    /// Changes the environment in one write. There is none when nothing changes, unless a copy is
    /// damaged: then it is written, which repairs it.
    ///
    /// # Errors
    /// Those of [`Store::write`], [`Error::NoGoodCopy`], and what `change` returns.
    pub fn update(
        &self,
        guard: &Guard,
        change: impl FnOnce(&mut Env) -> Result<(), Error>,
    ) -> Result<Written, Error> {
        let survey = self.survey()?;
        let Some(before) = &survey.snapshot.env else {
            return Err(survey.no_good_copy());
        };
        let mut env = before.clone();
        change(&mut env)?;
        if env == *before && !survey.snapshot.damaged() {
            return Ok(Written {
                copy: None,
                warnings: survey.snapshot.warnings,
            });
        }
        self.commit(guard, survey, &env)
    }

    /// Sets (`Some`) and removes (`None`) variables, all of them in one write.
    ///
    /// # Errors
    /// As [`Store::update`].
    pub fn set_many<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        guard: &Guard,
        changes: &[(N, Option<V>)],
    ) -> Result<Written, Error> {
        self.update(guard, |env| {
            changes
                .iter()
                .try_for_each(|(name, value)| env.change(name, value.as_ref()))
        })
    }

    /// Looks at the copies and remembers where they were found.
    pub(crate) fn survey(&self) -> Result<Survey, Error> {
        let mut copies: Vec<Found> = Vec::new();
        let mut opened: Option<(&Path, Box<dyn Medium>)> = None;
        for place in self.config.places() {
            // Most often both copies lie on one device: open it once.
            let medium = match opened.take() {
                Some((path, medium)) if path == place.path => medium,
                _ => self.open(place, Access::Read)?,
            };
            let (_, medium) = opened.insert((&place.path, medium));
            let placement = Placement::new(place, self.config.size(), medium.geometry())?;
            copies.push(Found::read(
                placement,
                medium.as_mut(),
                self.config.redundant(),
            ));
        }
        if let [first, second] = copies.as_slice() {
            check_pair(&first.placement, &second.placement)?;
        }
        Ok(Survey::new(copies))
    }

    /// Writes the copy that does not count, and with that makes it the one that does.
    pub(crate) fn commit(
        &self,
        _guard: &Guard,
        survey: Survey,
        env: &Env,
    ) -> Result<Written, Error> {
        let Survey {
            snapshot,
            scheme,
            placements,
        } = survey;
        if let Some(before) = &snapshot.env {
            access::check(before, env, self.config.writelist())?;
        }
        let redundant = self.config.redundant();
        let target = usize::from(redundant && snapshot.current != Some(1));
        let image = image::build(
            env,
            self.config.size(),
            redundant.then_some(snapshot.next_flags),
        )?;
        let mut written = Written {
            copy: Some(target),
            warnings: snapshot.warnings,
        };
        let nameless = env.get("").is_some();
        written
            .warnings
            .retain(|warning| nameless || *warning != Warning::EmptyName);

        if let Some(placement) = placements.get(target) {
            let replaceable = !redundant && placement.fills_file();
            let access = if replaceable {
                Access::Replace
            } else {
                Access::Write
            };
            let place = &placement.place;
            let mut medium = self.open(place, access)?;
            let ((), warning) = placement
                .unprotected(medium.as_mut(), |medium| placement.write(medium, &image))
                .map_err(|source| Error::Write {
                    place: place.clone(),
                    source,
                })?;
            // Only a copy that reads back may make the other one obsolete.
            if !placement
                .read(medium.as_mut())
                .is_ok_and(|back| back == image)
            {
                return Err(Error::Verify {
                    place: place.clone(),
                });
            }
            written.warnings.extend(warning);
            written
                .warnings
                .iter_mut()
                .for_each(|warning| warning.repaired(place));
        }
        let old = snapshot.current.filter(|&current| current != target);
        if let (Scheme::Boolean, Some(old)) = (scheme, old.and_then(|old| placements.get(old))) {
            let mut medium = self.open(&old.place, Access::Write)?;
            let ((), warning) = old
                .unprotected(medium.as_mut(), |medium| old.obsolete(medium))
                .map_err(|source| Error::Obsolete {
                    place: old.place.clone(),
                    source,
                })?;
            written.warnings.extend(warning);
        }
        Ok(written)
    }

    fn open(&self, place: &Place, access: Access) -> Result<Box<dyn Medium>, Error> {
        (self.open)(&place.path, access).map_err(|source| Error::Open {
            path: place.path.clone(),
            source,
        })
    }
}

/// A [`Snapshot`] and where its copies were found.
pub(crate) struct Survey {
    pub(crate) snapshot: Snapshot,
    scheme: Scheme,
    placements: Vec<Placement>,
}

impl Survey {
    fn new(copies: Vec<Found>) -> Self {
        let nor = |copy: &Found| matches!(copy.placement.geometry.kind, Kind::Nor { .. });
        let scheme = if copies.iter().any(nor) {
            Scheme::Boolean
        } else {
            Scheme::Incremental
        };
        let flags_if_good = |copy: usize| {
            copies
                .get(copy)
                .filter(|copy| copy.data.is_ok())
                .map(|copy| copy.flags)
        };
        let current = newest(scheme, flags_if_good(0), flags_if_good(1));
        let counting = copies.get(current.unwrap_or(0));
        let env = counting
            .and_then(|copy| copy.data.as_deref().ok())
            .map(Env::parse);
        let next_flags = next_flags(scheme, counting.map_or(0, |copy| copy.flags));

        let mut warnings: Vec<Warning> = copies
            .iter()
            .flat_map(|copy| copy.placement.warnings())
            .collect();
        if let [only] = copies.as_slice() {
            warnings.push(Warning::SingleCopy(only.placement.place.clone()));
        }
        if env.as_ref().is_some_and(|env| env.get("").is_some()) {
            warnings.push(Warning::EmptyName);
        }
        let mut health = Vec::new();
        let mut placements = Vec::new();
        for Found {
            placement, data, ..
        } in copies
        {
            health.push(match data {
                Ok(_) => Health::Good,
                Err(health) => {
                    warnings.push(Warning::Unusable(placement.place.clone(), health.clone()));
                    health
                }
            });
            placements.push(placement);
        }
        let snapshot = Snapshot {
            env,
            current,
            copies: health,
            warnings,
            next_flags,
        };
        Self {
            snapshot,
            scheme,
            placements,
        }
    }

    /// Why nothing can be changed when no copy counts.
    pub(crate) fn no_good_copy(&self) -> Error {
        let places = self
            .placements
            .iter()
            .map(|placement| placement.place.clone());
        Error::NoGoodCopy {
            copies: places.zip(self.snapshot.copies.iter().cloned()).collect(),
        }
    }
}

/// A copy as it was found.
struct Found {
    placement: Placement,
    /// As it lies there, even in a damaged copy; 0 when there is none.
    flags: u8,
    /// What the checksum vouches for.
    data: Result<Vec<u8>, Health>,
}

impl Found {
    fn read(placement: Placement, medium: &mut dyn Medium, redundant: bool) -> Self {
        let (flags, data) = match placement.read(medium) {
            Ok(image) => {
                let data = image::data(&image, redundant).map(<[u8]>::to_vec);
                (image::flags(&image), data.map_err(Health::Damaged))
            }
            Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => (0, Err(Health::Missing)),
            Err(err) => (0, Err(Health::Damaged(Damage::Unreadable(err.to_string())))),
        };
        Self {
            placement,
            flags,
            data,
        }
    }
}
