//! The one directory in which everything is kept.
//!
//! ```text
//! DIR/                 0700
//!   lock               held by whoever works on the directory: the server, or a verb while there is none
//!   admin.sock         the running server listens here for the verbs
//!   tandem.db          users, devices, deployments, what is known about artifacts (and -wal, -shm beside it)
//!   postgres           instead of tandem.db: where that is kept, without a password
//!   token.key          32 random bytes: tokens and links are signed with it
//!   artifacts/ID       artifacts, unless they are kept elsewhere
//!   artifacts-at       where; not there if they are kept here
//!   uploads/ID         artifacts that are coming in; what is here at the start is of no use
//!   artifact-keys/     public keys of which one must have signed every artifact; empty: no signature is needed
//!   tls/ca.crt ca.key  our own certificate authority
//!   tls/server.*       the server's certificate and key, unless others are given
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::durable::{self, Readers};
use crate::secret::random;
use crate::store::Database;
use crate::token::TokenKey;

/// The directory.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

/// The right to work on the directory; others have to wait until it is dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the lock goes with the descriptor")] File);

impl DataDir {
    /// The directory `path`, made with all that belongs into it if it is not there.
    ///
    /// # Errors
    /// Any failure of the file system.
    pub fn create(path: &Path) -> Result<Self> {
        let dir = Self::create_without_database(path)?;
        let database = dir.database();
        if !database.exists() && !dir.elsewhere().exists() {
            // SQLite gives its other files the mode of this one.
            OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(&database)
                .with_context(|| format!("cannot make {}", database.display()))?;
        }
        Ok(dir)
    }

    /// Where the database is, of a server that is told `given`.
    ///
    /// # Errors
    /// If that is not what this directory belongs to.
    pub fn choose(&self, given: Option<Database>) -> Result<Database> {
        let (file, note) = (self.database(), self.elsewhere());
        match given {
            None if !note.exists() => Ok(Database::File(file)),
            None => bail!(
                "the database of {} is not in this directory: say with --database or TANDEM_DATABASE where it is, {} \
                 says which it was",
                self.0.display(),
                note.display()
            ),
            Some(given) if note.exists() || !file.exists() => Ok(given),
            Some(given) => bail!(
                "{} has a database of its own: `tandem-server migrate --data {} --to URL` moves it to {given}",
                self.0.display(),
                self.0.display()
            ),
        }
    }

    /// Notes that the database is elsewhere from now on.
    ///
    /// # Errors
    /// Any failure of the file system.
    pub fn note_elsewhere(&self, database: &Database) -> Result<()> {
        let note = self.elsewhere();
        let text = format!("{database}\n");
        durable::replace(&note, text.as_bytes(), Readers::Owner)
            .with_context(|| format!("cannot write {}", note.display()))
    }

    /// The same, but without a database it is not yet the directory of a server.
    ///
    /// # Errors
    /// Any failure of the file system.
    pub fn create_without_database(path: &Path) -> Result<Self> {
        let dir = Self(path.to_owned());
        for path in [
            dir.path().to_owned(),
            dir.artifacts(),
            dir.uploads(),
            dir.artifact_keys(),
            dir.tls(),
        ] {
            durable::private_dir(&path)
                .with_context(|| format!("cannot make directory {}", path.display()))?;
        }
        Ok(dir)
    }

    /// The directory `path`, which has to be one already.
    ///
    /// # Errors
    /// If it is not.
    pub fn existing(path: &Path) -> Result<Self> {
        let dir = Self(path.to_owned());
        if !dir.database().exists() && !dir.elsewhere().exists() {
            bail!(
                "{} is not the data directory of a server: `tandem-server serve --data {}` makes one",
                path.display(),
                path.display()
            );
        }
        Ok(dir)
    }

    /// The right to work on the directory, or `None` if somebody else has it.
    ///
    /// # Errors
    /// Any failure of the file system.
    pub fn try_lock(&self) -> Result<Option<Lock>> {
        let path = self.0.join("lock");
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(err)) => {
                Err(err).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    /// The key for tokens, made if it is not there.
    ///
    /// # Errors
    /// Any failure of the file system; a key of another length.
    pub fn token_key(&self, _lock: &Lock) -> Result<TokenKey> {
        let path = self.0.join("token.key");
        let secret = match std::fs::read(&path) {
            Ok(secret) => secret,
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                let secret = random::<32>().to_vec();
                durable::replace(&path, &secret, Readers::Owner)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                secret
            }
            Err(err) => return Err(err).with_context(|| format!("cannot read {}", path.display())),
        };
        match <&[u8; 32]>::try_from(secret.as_slice()) {
            Ok(secret) => Ok(TokenKey::new(secret)),
            Err(_) => bail!("{} is damaged: it must have 32 bytes", path.display()),
        }
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.0.join("tandem.db")
    }

    /// Whether the directory belongs to a database that is elsewhere.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        self.elsewhere().exists()
    }

    /// What says that the database is elsewhere.
    fn elsewhere(&self) -> PathBuf {
        self.0.join("postgres")
    }

    /// Artifacts.
    #[must_use]
    pub fn artifacts(&self) -> PathBuf {
        self.0.join("artifacts")
    }

    /// What says that artifacts are kept elsewhere.
    #[must_use]
    pub fn artifacts_at(&self) -> PathBuf {
        self.0.join("artifacts-at")
    }

    /// Artifacts that are coming in.
    #[must_use]
    pub fn uploads(&self) -> PathBuf {
        self.0.join("uploads")
    }

    /// Public keys of which one must have signed every artifact.
    #[must_use]
    pub fn artifact_keys(&self) -> PathBuf {
        self.0.join("artifact-keys")
    }

    /// Certificates and their keys.
    #[must_use]
    pub fn tls(&self) -> PathBuf {
        self.0.join("tls")
    }

    /// Where the running server listens for the verbs.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }
}
