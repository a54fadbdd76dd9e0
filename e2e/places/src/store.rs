//! An S3-compatible store that checks signatures, of requests and of links, and their time: nanio, which keeps each
//! bucket as a directory. `e2e/s3.sh` installs it.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{Running, free_address, there};

/// A store that runs, with an empty bucket. Dropping it ends it.
#[derive(Debug)]
pub struct ObjectStore {
    dir: PathBuf,
    address: SocketAddr,
    running: Option<Running>,
}

/// The bucket that it has.
const BUCKET: &str = "fleet";

/// Who may use it.
const KEY: &str = "tandem";
const SECRET: &str = "a secret that only tests have";

impl ObjectStore {
    /// Whether it can be started here.
    ///
    /// # Errors
    /// When it cannot, and must.
    pub fn installed() -> Result<bool> {
        there(program().is_some(), "the S3-compatible store (e2e/s3.sh)")
    }

    /// Starts one that keeps everything in `dir`, which is created.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(dir: &Path) -> Result<ObjectStore> {
        fs::create_dir_all(dir.join("data").join(BUCKET))?;
        let mut store = ObjectStore {
            dir: dir.to_owned(),
            address: free_address()?,
            running: None,
        };
        store.restart()?;
        Ok(store)
    }

    /// Starts it again after [`stop`](Self::stop), at the same address.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self) -> Result<()> {
        let program = program().context("the store is not installed: run e2e/s3.sh")?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--host", "127.0.0.1", "--log-level", "info"])
            .args(["--port", &self.address.port().to_string(), "--data-dir"])
            .arg(self.dir.join("data"))
            .env("NANIO_ACCESS_KEY", KEY)
            .env("NANIO_SECRET_KEY", SECRET);
        let log = self.dir.join("log");
        self.running = Some(Running::start(&mut command, &log, self.address)?);
        Ok(())
    }

    /// Ends it; what it has stays.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Where it listens, without TLS.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What stands for it on a command line, with `prefix` before all keys.
    #[must_use]
    pub fn place(&self, prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}")
    }

    /// The environment of who is to use it without TLS.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut all = self.environment_behind(&format!("http://{}", self.address));
        all.push(("AWS_ALLOW_HTTP".to_owned(), "true".to_owned()));
        all
    }

    /// The environment of who knows it by this address.
    #[must_use]
    pub fn environment_behind(&self, url: &str) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", url),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// The files of its objects under `prefix`.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn objects(&self, prefix: &str) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        walk(&self.dir.join("data").join(BUCKET).join(prefix), &mut found)?;
        found.sort();
        Ok(found)
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

/// What stands below `dir` and is no file of the store's own.
fn walk(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if !dir.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let own = entry.file_name().to_string_lossy().starts_with('.');
        match entry.file_type()? {
            kind if kind.is_dir() && !own => walk(&entry.path(), found)?,
            kind if kind.is_file() && !own => found.push(entry.path()),
            _ => {}
        }
    }
    Ok(())
}

/// Its program: in the directory for what is built, wherever the tests are in it.
fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("TANDEM_S3_SERVER") {
        return Some(named.into());
    }
    let own = std::env::current_exe().ok()?;
    let target = own
        .ancestors()
        .find(|dir| dir.file_name() == Some(OsStr::new("target")))?;
    Some(target.join("s3/bin/nanio")).filter(|path| path.exists())
}
