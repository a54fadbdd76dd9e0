//! `fw_env.config`: where the copies of the environment lie.
//!
//! The file has one of two forms; a file that is not the second is read as the first:
//!
//! - lines ([`mod@line`]): `device offset size [sector-size [sectors [disable-lock]]]`, one or two of them;
//! - YAML ([`yaml`], libubootenv 0.3.4 and later): namespaces, each with a size and its devices.

mod line;
mod scan;
mod yaml;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::access::Rule;
use crate::{Error, image, lock};

/// Where one copy of the environment lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// A file, block device, MTD character device or UBI volume (`/dev/ubi0_1`, `/dev/ubi0:name`,
    /// `/dev/mtd3:name`).
    pub path: PathBuf,
    /// Bytes from its start; negative ones count from the end of a block device.
    pub offset: i64,
    /// Bytes that are erased together; `None` asks the device.
    pub sector_size: Option<u64>,
    /// On NAND, how many sectors the copy may use, bad ones included; `None` is as many as it needs.
    pub sectors: Option<u64>,
    /// Do not unlock and lock the flash around a write.
    pub keep_locks: bool,
}

impl Place {
    /// A copy at an offset of a file or device, with nothing else said.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, offset: i64) -> Self {
        Self {
            path: path.into(),
            offset,
            sector_size: None,
            sectors: None,
            keep_locks: false,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.offset < 0 { "-" } else { "" };
        write!(
            out,
            "{} at {sign}{:#x}",
            self.path.display(),
            self.offset.unsigned_abs()
        )
    }
}

/// The lock that keeps other programs out, and how long to wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The file that is locked.
    pub path: PathBuf,
    /// After this time without the lock we give up.
    pub patience: Duration,
}

impl Default for Lock {
    fn default() -> Self {
        Self {
            path: PathBuf::from(LOCK_FILE),
            patience: lock::PATIENCE,
        }
    }
}

/// Where the environment lies: one or two copies of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    size: usize,
    first: Place,
    second: Option<Place>,
    lock: Lock,
    writelist: Option<Vec<Rule>>,
}

impl Config {
    /// Reads a configuration file, usually [`Config::DEFAULT_PATH`].
    ///
    /// Of several namespaces it takes the one that the boot loader names in the device tree, or
    /// else the first.
    ///
    /// # Errors
    /// [`Error::ReadConfig`], [`Error::Config`], [`Error::Namespace`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        match Found::load(path)? {
            Found::Lines(config) => Ok(config),
            namespaces @ Found::Namespaces(_) => {
                Self::choose(namespaces, namespace_of_boot_loader().as_deref())
            }
        }
    }

    /// Reads one namespace of a configuration file.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_namespace(path: &Path, namespace: &str) -> Result<Self, Error> {
        match Found::load(path)? {
            Found::Lines(_) => Err(Error::Namespace {
                name: namespace.to_owned(),
                known: Vec::new(),
            }),
            namespaces @ Found::Namespaces(_) => Self::choose(namespaces, Some(namespace)),
        }
    }

    /// A configuration of one copy or two of `size` bytes each.
    ///
    /// # Errors
    /// The reason why there cannot be a copy of this size.
    pub fn new(size: u64, first: Place, second: Option<Place>) -> Result<Self, &'static str> {
        let smallest = image::header_size(second.is_some());
        match usize::try_from(size) {
            Ok(0) => Err("the environment size is 0"),
            Ok(size) if size <= smallest => Err("the environment size leaves no room for data"),
            Ok(size) if size <= Self::SIZE_LIMIT => Ok(Self {
                size,
                first,
                second,
                lock: Lock::default(),
                writelist: None,
            }),
            Ok(_) | Err(_) => Err("the environment size is larger than 4 MiB"),
        }
    }

    /// The same with another lock.
    #[must_use]
    pub fn with_lock(self, lock: Lock) -> Self {
        Self { lock, ..self }
    }

    fn with_writelist(self, writelist: Option<Vec<Rule>>) -> Self {
        Self { writelist, ..self }
    }

    /// Bytes of one copy, header included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The copies: one, or two.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        [Some(&self.first), self.second.as_ref()]
            .into_iter()
            .flatten()
    }

    /// Whether there are two copies.
    #[must_use]
    pub fn redundant(&self) -> bool {
        self.second.is_some()
    }

    /// The lock.
    #[must_use]
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// The variables that may be changed; `None` is all.
    pub(crate) fn writelist(&self) -> Option<&[Rule]> {
        self.writelist.as_deref()
    }

    fn choose(found: Found, namespace: Option<&str>) -> Result<Self, Error> {
        let namespaces = match found {
            Found::Lines(config) => return Ok(config),
            Found::Namespaces(namespaces) => namespaces,
        };
        let known = namespaces.iter().map(|(name, _)| name.clone()).collect();
        let mut candidates = namespaces.into_iter();
        let chosen = match namespace {
            Some(wanted) => candidates.find(|(name, _)| name == wanted),
            None => candidates.next(),
        };
        chosen
            .map(|(_, config)| config)
            .ok_or_else(|| Error::Namespace {
                name: namespace.unwrap_or_default().to_owned(),
                known,
            })
    }

    /// Where the configuration is looked for when nothing else is said.
    pub const DEFAULT_PATH: &str = "/etc/fw_env.config";

    /// The largest copy that we touch, in bytes. Real ones have 8 KiB to 512 KiB; the limit keeps a
    /// mistyped size from taking the device's memory.
    pub const SIZE_LIMIT: usize = 4 << 20;
}

/// A configuration file as it was found.
#[derive(Debug)]
enum Found {
    Lines(Config),
    /// Never empty.
    Namespaces(Vec<(String, Config)>),
}

impl Found {
    fn load(path: &Path) -> Result<Self, Error> {
        let text = read_limited(path, FILE_LIMIT).map_err(|source| Error::ReadConfig {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|reason| Error::Config {
            path: path.to_owned(),
            reason,
        })
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let not_yaml = match yaml::parse(text) {
            Ok(namespaces) => return Ok(Self::Namespaces(namespaces)),
            Err(reason) => reason,
        };
        match line::parse(text)? {
            Some(config) => Ok(Self::Lines(config)),
            None => Err(format!(
                "no line of it reads `device offset size`, and as YAML it fails: {not_yaml}"
            )),
        }
    }
}

/// The namespace that the boot loader puts into the device tree, if it does.
fn namespace_of_boot_loader() -> Option<String> {
    let property = read_limited(Path::new(NAMESPACE_PROPERTY), NAMESPACE_LIMIT).ok()?;
    let name = property.split(|&byte| byte == 0).next()?;
    String::from_utf8(name.to_vec())
        .ok()
        .filter(|name| !name.is_empty())
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read_limited(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    read_to_limit(&mut File::open(path)?, limit)
}

/// Reads all of a stream of at most `limit` bytes.
pub(crate) fn read_to_limit(stream: &mut dyn Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) => return Ok(text),
            Ok(count) => count,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            Err(err) => return Err(err),
        };
        text.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if text.len() > limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it is longer than {limit} bytes"),
            ));
        }
    }
}

/// libubootenv's lock file.
const LOCK_FILE: &str = "/var/lock/fw_printenv.lock";

/// Bytes. A real file has a few hundred.
const FILE_LIMIT: usize = 64 << 10;

const NAMESPACE_PROPERTY: &str = "/proc/device-tree/chosen/u-boot,env-config";

/// Bytes. libubootenv cuts the name at 63.
const NAMESPACE_LIMIT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn namespaces_are_chosen_by_name_or_the_first_is_taken() {
        let found = || {
            Found::parse(
                b"one:\n  size: 0x1000\n  devices:\n  - path: /a\ntwo:\n  size: 0x2000\n  \
                  devices:\n  - path: /b\n",
            )
            .unwrap()
        };
        assert_eq!(Config::choose(found(), None).unwrap().size(), 0x1000);
        assert_eq!(Config::choose(found(), Some("two")).unwrap().size(), 0x2000);
        assert!(matches!(
            Config::choose(found(), Some("three")),
            Err(Error::Namespace { known, .. }) if known == ["one", "two"]
        ));
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        let size = |size| Config::new(size, Place::new("/a", 0), Some(Place::new("/b", 0)));
        for wrong in [0, 1, 5, (4 << 20) + 1, u64::MAX] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        for right in [6, 0x2000, 4 << 20] {
            assert!(size(right).is_ok(), "{right}");
        }
    }

    #[test]
    fn a_file_in_neither_form_says_why_in_both() {
        let reason = Found::parse(b"uboot:\n  size: 0x1000\n  colour: red\n").unwrap_err();
        assert!(reason.contains("line 3"), "{reason}");
        assert!(reason.contains("device offset size"), "{reason}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_configuration_or_an_error(text: Vec<u8>) {
            let _ = Found::parse(&text);
        }

        #[test]
        fn nearly_yaml_is_a_configuration_or_an_error(
            text in "(([ -]{0,4}(size|devices|path|offset|lockfile|writelist|u|#|'|\"|\\[)? ?:? ?(0x[0-9]{1,20}|yes|/e|'|\"|-|a:sr)?)\n){0,12}"
        ) {
            let _ = Found::parse(text.as_bytes());
        }
    }
}
