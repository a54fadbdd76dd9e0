//! What a configuration file says: every key optional, values of the right kind, nothing more.

use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use log::warn;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::duration::Seconds;
use super::names;
use crate::priority::Priority;

/// How a configuration file is written; that decides how strictly it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// TOML. What it says must be understood.
    Toml,
    /// The JSON of Mender's client, and its habits: unknown keys and values of the wrong kind do
    /// not count, and without a verification key artifacts are not checked.
    MenderConf,
}

/// The keys of a configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct File {
    pub(super) allow_unsigned: Option<bool>,
    pub(super) artifact_verify_key: Option<PathBuf>,
    pub(super) artifact_verify_keys: Option<Vec<PathBuf>>,
    pub(super) boot_loader: Option<String>,
    pub(super) daemon_log_level: Option<String>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) device_type_file: Option<PathBuf>,
    pub(super) download_rate_limit: Option<NonZeroU64>,
    pub(super) grub_env_dir: Option<PathBuf>,
    pub(super) https_client: HttpsClient,
    pub(super) identity_script: Option<PathBuf>,
    pub(super) install_priority: Option<Priority>,
    #[serde(deserialize_with = "one_or_many")]
    pub(super) inventory_dir: Option<Vec<PathBuf>>,
    pub(super) inventory_poll_interval_seconds: Option<Seconds>,
    pub(super) module_timeout_seconds: Option<Seconds>,
    #[serde(deserialize_with = "one_or_many")]
    pub(super) modules_dir: Option<Vec<PathBuf>>,
    #[serde(deserialize_with = "one_or_many")]
    pub(super) reboot_command: Option<Vec<String>>,
    pub(super) retry_download_count: Option<u32>,
    pub(super) retry_poll_count: Option<u32>,
    pub(super) retry_poll_interval_seconds: Option<Seconds>,
    pub(super) root_device: Option<PathBuf>,
    pub(super) rootfs_part_a: Option<PathBuf>,
    pub(super) rootfs_part_b: Option<PathBuf>,
    pub(super) scripts_dir: Option<PathBuf>,
    pub(super) security: Security,
    pub(super) server_certificate: Option<PathBuf>,
    pub(super) server_url: Option<String>,
    pub(super) servers: Option<Vec<Server>>,
    pub(super) stall_timeout_seconds: Option<Seconds>,
    pub(super) state_script_retry_interval_seconds: Option<Seconds>,
    pub(super) state_script_retry_timeout_seconds: Option<Seconds>,
    pub(super) state_script_timeout_seconds: Option<Seconds>,
    pub(super) tenant_token: Option<String>,
    pub(super) uboot_env_config: Option<PathBuf>,
    pub(super) update_log_path: Option<PathBuf>,
    pub(super) update_poll_interval_seconds: Option<Seconds>,
    pub(super) whole_artifact_fallback: Option<bool>,
}

/// `security`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Security {
    pub(super) auth_private_key: Option<PathBuf>,
}

/// One of `servers`
#[derive(Debug, Deserialize)]
pub(super) struct Server {
    pub(super) server_url: String,
}

/// `https_client`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct HttpsClient {
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

/// What one file says, by canonical key.
pub(super) type Said = Map<String, Value>;

impl File {
    /// The content of files that have been read and merged.
    ///
    /// # Errors
    /// None in practice: [`read`] has tried each value.
    pub(super) fn from(said: Said) -> Result<File> {
        serde_json::from_value(Value::Object(said)).context("cannot understand the configuration")
    }
}

/// Reads one file, TOML or JSON: a JSON document begins with a brace, which TOML cannot.
///
/// # Errors
/// When it cannot be read or understood; the message names the file and the key or line.
pub(super) fn read(path: &Path) -> Result<(Said, Format)> {
    let attempt = || format!("cannot read the configuration {}", path.display());
    let text = fs::read_to_string(path).with_context(attempt)?;
    let (format, written) = match text.trim_start().starts_with('{') {
        true => (
            Format::MenderConf,
            serde_json::from_str(&text).map_err(anyhow::Error::new),
        ),
        false => (
            Format::Toml,
            toml::from_str(&text).map_err(anyhow::Error::new),
        ),
    };
    let said = written
        .and_then(|written| understood(written, format))
        .with_context(attempt)?;
    Ok((said, format))
}

/// The keys of a file by their canonical names, with values that have been tried.
fn understood(written: Said, format: Format) -> Result<Said> {
    let mut said = Said::new();
    for (word, value) in written {
        let Some(key) = names::canonical(&word, names::KEYS) else {
            match format {
                Format::Toml => return Err(unknown(&word, "", names::KEYS)),
                Format::MenderConf => continue,
            }
        };
        let value = nested(key, value, format)?;
        let alone = Said::from_iter([(key.to_owned(), value.clone())]);
        match (serde_json::from_value::<File>(Value::Object(alone)), format) {
            (Ok(_), _) => {}
            (Err(err), Format::Toml) => bail!("{word}: {err}"),
            (Err(err), Format::MenderConf) => {
                warn!("{word} does not count: {err}");
                continue;
            }
        }
        if said.insert(key.to_owned(), value).is_some() {
            bail!("{key} is there twice, in different spellings");
        }
    }
    Ok(said)
}

/// The value of `key`, with the keys inside it by their canonical names.
fn nested(key: &str, value: Value, format: Format) -> Result<Value> {
    let Some((_, keys)) = names::NESTED.iter().find(|(name, _)| *name == key) else {
        return Ok(value);
    };
    if let Value::Array(items) = value {
        let items = items.into_iter().map(|item| nested(key, item, format));
        return Ok(Value::Array(items.collect::<Result<_>>()?));
    }
    let Value::Object(written) = value else {
        return Ok(value);
    };
    let mut said = Said::new();
    for (word, value) in written {
        match (names::canonical(&word, keys), format) {
            (Some(inner), _) => {
                said.insert(inner.to_owned(), value);
            }
            (None, Format::Toml) => return Err(unknown(&word, key, keys)),
            (None, Format::MenderConf) => {}
        }
    }
    Ok(Value::Object(said))
}

/// The complaint about a key that does not exist.
fn unknown(word: &str, inside: &str, keys: &[&'static str]) -> anyhow::Error {
    let place = match inside {
        "" => String::new(),
        inside => format!(" in {inside}"),
    };
    match names::nearest(word, keys) {
        Some(key) => anyhow!("there is no key {word:?}{place}; did you mean {key:?}?"),
        None => anyhow!("there is no key {word:?}{place}"),
    }
}

/// A list, or a single value that stands for a list of one.
fn one_or_many<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written<T> {
        One(T),
        Many(Vec<T>),
    }
    Ok(match Option::deserialize(deserializer)? {
        None => None,
        Some(Written::One(one)) => Some(vec![one]),
        Some(Written::Many(many)) => Some(many),
    })
}
