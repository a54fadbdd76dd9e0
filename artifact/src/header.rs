//! What an artifact says about itself: header-info, type-info, meta-data and state scripts (spec `artifact-format` §5).

use crate::depends::Depends;
use crate::error::Error;
use crate::header_facts::Facts;
use crate::name::{PayloadType, ScriptName};
use crate::provides::Provides;

/// The members of `header.tar`, as bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// `header-info`
    pub header_info: Vec<u8>,
    /// `scripts/*`, in any order.
    pub scripts: Vec<Script>,
    /// `headers/0000/type-info`
    pub type_info: Vec<u8>,
    /// `headers/0000/meta-data`, if it is there. Empty in a rootfs-image of mender-artifact.
    pub meta_data: Option<Vec<u8>>,
}

/// A state script that comes with an artifact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Script {
    /// Its checked name.
    pub name: ScriptName,
    /// Its content.
    pub content: Vec<u8>,
}

/// A checked header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    facts: Facts,
    parts: Parts,
}

impl Header {
    /// Checks every rule on the header that does not depend on the rest of the artifact.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn new(mut parts: Parts) -> Result<Self, Error> {
        parts.scripts.sort();
        if let Some(name) = twice(parts.scripts.iter().map(|script| &script.name)) {
            return Err(Error::malformed(
                "header.tar",
                format!("has state script {:?} twice", name.as_str()),
            ));
        }
        let facts = Facts::read(&parts)?;
        Ok(Self { facts, parts })
    }

    /// The name of the artifact: 1 to 256 bytes, no control characters.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.facts.name
    }

    /// The group that the device belongs to with this artifact.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.facts.group.as_deref()
    }

    /// The type of the payload; `None` if there is no payload (bootstrap artifact): installing it only changes what the
    /// device provides.
    #[must_use]
    pub fn payload_type(&self) -> Option<&PayloadType> {
        self.facts.payload_type.as_ref()
    }

    /// The types of device that it is made for; never empty.
    #[must_use]
    pub fn device_types(&self) -> &[String] {
        self.facts.depends.device_types()
    }

    /// All that it depends on, from header-info and type-info.
    #[must_use]
    pub fn depends(&self) -> &Depends {
        &self.facts.depends
    }

    /// What it provides beside name and group. Absent is not the same as empty: see [`Change`](crate::Change).
    #[must_use]
    pub fn provides(&self) -> Option<&Provides> {
        self.facts.provides.as_ref()
    }

    /// The patterns of the keys that it removes. Absent is not the same as empty: see [`Change`](crate::Change).
    #[must_use]
    pub fn clears_provides(&self) -> Option<&[String]> {
        self.facts.clears_provides.as_deref()
    }

    /// The state scripts, sorted by name, which is the order to run them in.
    #[must_use]
    pub fn scripts(&self) -> &[Script] {
        &self.parts.scripts
    }

    /// `header-info`, byte for byte.
    #[must_use]
    pub fn header_info(&self) -> &[u8] {
        &self.parts.header_info
    }

    /// `type-info`, byte for byte.
    #[must_use]
    pub fn type_info(&self) -> &[u8] {
        &self.parts.type_info
    }

    /// `meta-data`, byte for byte: a JSON object, or nothing at all.
    #[must_use]
    pub fn meta_data(&self) -> Option<&[u8]> {
        self.parts
            .meta_data
            .as_deref()
            .filter(|bytes| !bytes.is_empty())
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }
}

/// The first of sorted items that stands there twice.
fn twice<T: PartialEq>(sorted: impl Iterator<Item = T> + Clone) -> Option<T> {
    sorted
        .clone()
        .zip(sorted.skip(1))
        .find_map(|(first, second)| (first == second).then_some(second))
}
