//! What processes that share a database have in common beside it: the key for tokens, and the authority that devices
//! trust. They are in the database; each process keeps a copy in its own directory, where everything else finds them.
//!
//! Whoever can read the database can therefore let devices and people in, as whoever can read a data directory can.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::data_dir::{DataDir, Lock};
use crate::durable::{self, Readers};
use crate::store::Store;
use crate::tls;

/// Names of the secrets.
const TOKENS: &str = "token.key";
const AUTHORITY: &str = "tls/ca";

/// Where the certificate begins behind its key.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// Puts what `dir` has into the database if there is none yet, else what the database has into `dir`.
///
/// # Errors
/// If both have one and they differ, or the database of `dir` has none: then they belong to different servers.
pub async fn share(dir: &DataDir, lock: &Lock, store: &Store) -> Result<()> {
    let path = dir.path().join("token.key");
    let had = path.exists();
    let local = STANDARD.encode(token_key(dir, lock)?);
    let shared = agree(store, TOKENS, &local, had, dir).await?;
    if shared != local {
        let secret = STANDARD
            .decode(&shared)
            .context("the key for tokens in the database is damaged")?;
        replace(&path, &secret, Readers::Owner)?;
    }

    let (key, certificate) = (dir.tls().join("ca.key"), dir.tls().join("ca.crt"));
    let had = key.exists();
    let local = authority(dir)?;
    let shared = agree(store, AUTHORITY, &local, had, dir).await?;
    if shared != local {
        let Some(at) = shared.find(CERTIFICATE) else {
            bail!("the authority in the database is damaged: it has no certificate");
        };
        let (new_key, new_certificate) = shared.split_at(at);
        // What was made by the other authority is of no use.
        durable::remove(&dir.tls().join("server.names"))
            .context("cannot remove the record of names")?;
        replace(&certificate, new_certificate.as_bytes(), Readers::Everybody)?;
        replace(&key, new_key.as_bytes(), Readers::Owner)?;
    }
    Ok(())
}

/// The secrets of the server in `dir`; the authority if it has one.
///
/// # Errors
/// Any failure of the file system.
pub fn secrets(dir: &DataDir, lock: &Lock) -> Result<Vec<(&'static str, String)>> {
    let mut secrets = vec![(TOKENS, STANDARD.encode(token_key(dir, lock)?))];
    if dir.tls().join("ca.key").exists() {
        secrets.push((AUTHORITY, authority(dir)?));
    }
    Ok(secrets)
}

/// The key for tokens, made if it is not there.
fn token_key(dir: &DataDir, lock: &Lock) -> Result<Vec<u8>> {
    dir.token_key(lock)?;
    let path = dir.path().join("token.key");
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The key of the authority and its certificate behind it, made if they are not there.
fn authority(dir: &DataDir) -> Result<String> {
    tls::make_authority(dir)?;
    let (key, certificate) = (dir.tls().join("ca.key"), dir.tls().join("ca.crt"));
    Ok(format!("{}{}", read(&key)?, read(&certificate)?))
}

/// What all processes have from now on.
async fn agree(
    store: &Store,
    name: &'static str,
    local: &str,
    had: bool,
    dir: &DataDir,
) -> Result<String> {
    let shared = match store.shared_secret(name, None).await? {
        Some(shared) => shared,
        None if had && dir.is_elsewhere() => bail!(
            "the database has no {name}: it is not the one that {} belongs to",
            dir.path().display()
        ),
        None => store
            .shared_secret(name, Some(local.to_owned()))
            .await?
            .unwrap_or_default(),
    };
    if had && shared != local {
        bail!(
            "{} in {} is not the one in the database: they belong to different servers. Start with an empty data \
             directory, or give the database that belongs to this one",
            name,
            dir.path().display()
        );
    }
    Ok(shared)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn replace(path: &Path, content: &[u8], readers: Readers) -> Result<()> {
    let done: io::Result<()> = durable::replace(path, content, readers);
    done.with_context(|| format!("cannot write {}", path.display()))
}
