//! What an artifact says about itself: header-info, type-info, meta-data and state scripts (spec `artifact-format` §5).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::depends::Depends;
use crate::error::Error;
use crate::json::{self, Object};
use crate::name::{PayloadType, ScriptName, text_fault};
use crate::provides::{ARTIFACT_GROUP, ARTIFACT_NAME, Provides};

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
    name: String,
    group: Option<String>,
    payload_type: Option<PayloadType>,
    depends: Depends,
    provides: Option<Provides>,
    clears_provides: Option<Vec<String>>,
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
        let info: HeaderInfo = json::parse("header-info", &parts.header_info)?;
        let type_info: TypeInfo = json::parse("type-info", &parts.type_info)?;
        let payload_type = payload_type(&info, &type_info)?;
        check_meta_data(payload_type.as_ref(), parts.meta_data.as_deref())?;

        let Object(HeaderProvides {
            artifact_name: name,
            artifact_group: group,
        }) = info.artifact_provides;
        check_name("header-info", "artifact_provides.artifact_name", &name)?;
        let group = group.filter(|group| !group.is_empty());
        if let Some(group) = &group {
            check_name("header-info", "artifact_provides.artifact_group", group)?;
        }
        let depends = Depends::new(depends(
            info.artifact_depends.0,
            type_info.artifact_depends,
        )?);

        for (key, value) in type_info.artifact_provides.iter().flatten() {
            check_line("artifact_provides", key)?;
            check_line("artifact_provides", value)?;
            if key == ARTIFACT_NAME || (key == ARTIFACT_GROUP && group.is_some()) {
                return Err(Error::malformed(
                    "type-info",
                    format!("provides {key:?}, which header-info provides too"),
                ));
            }
        }
        for pattern in type_info.clears_artifact_provides.iter().flatten() {
            check_line("clears_artifact_provides", pattern)?;
        }
        Ok(Self {
            name,
            group,
            payload_type,
            depends,
            provides: type_info.artifact_provides,
            clears_provides: type_info.clears_artifact_provides,
            parts,
        })
    }

    /// The name of the artifact: 1 to 256 bytes, no control characters.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The group that the device belongs to with this artifact.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// The type of the payload; `None` if there is no payload (bootstrap artifact): installing it only changes what the
    /// device provides.
    #[must_use]
    pub fn payload_type(&self) -> Option<&PayloadType> {
        self.payload_type.as_ref()
    }

    /// The types of device that it is made for; never empty.
    #[must_use]
    pub fn device_types(&self) -> &[String] {
        self.depends.device_types()
    }

    /// All that it depends on, from header-info and type-info.
    #[must_use]
    pub fn depends(&self) -> &Depends {
        &self.depends
    }

    /// What it provides beside name and group. Absent is not the same as empty: see [`Change`](crate::Change).
    #[must_use]
    pub fn provides(&self) -> Option<&Provides> {
        self.provides.as_ref()
    }

    /// The patterns of the keys that it removes. Absent is not the same as empty: see [`Change`](crate::Change).
    #[must_use]
    pub fn clears_provides(&self) -> Option<&[String]> {
        self.clears_provides.as_deref()
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

#[derive(Deserialize)]
struct HeaderInfo {
    payloads: Vec<Object<Payload>>,
    artifact_provides: Object<HeaderProvides>,
    artifact_depends: Object<HeaderDepends>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "type", deserialize_with = "json::nullable")]
    name: Option<String>,
}

#[derive(Deserialize)]
struct HeaderProvides {
    artifact_name: String,
    #[serde(default, deserialize_with = "json::present")]
    artifact_group: Option<String>,
}

#[derive(Deserialize)]
struct HeaderDepends {
    device_type: Vec<String>,
    #[serde(default, deserialize_with = "json::present")]
    artifact_name: Option<Vec<String>>,
    #[serde(default, deserialize_with = "json::present")]
    artifact_group: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct TypeInfo {
    #[serde(rename = "type", deserialize_with = "json::nullable")]
    name: Option<String>,
    #[serde(default, deserialize_with = "json::present")]
    artifact_provides: Option<Provides>,
    #[serde(default)]
    artifact_depends: BTreeMap<String, Values>,
    #[serde(default, deserialize_with = "json::present")]
    clears_artifact_provides: Option<Vec<String>>,
}

/// One string, or several of which one must match.
struct Values(Vec<String>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a string or a list of strings")]
        enum Form {
            One(String),
            Many(Vec<String>),
        }
        Form::deserialize(deserializer).map(|form| match form {
            Form::One(value) => Self(vec![value]),
            Form::Many(values) => Self(values),
        })
    }
}

fn payload_type(info: &HeaderInfo, type_info: &TypeInfo) -> Result<Option<PayloadType>, Error> {
    let [Object(payload)] = info.payloads.as_slice() else {
        return Err(Error::malformed(
            "header-info",
            format!("has {} payloads, not one", info.payloads.len()),
        ));
    };
    let payload_type = payload
        .name
        .as_deref()
        .map(PayloadType::parse)
        .transpose()?;
    // mender-artifact before 4.3.1 leaves the type of a rootfs-image empty in type-info.
    let unnamed = type_info.name.as_deref() == Some("")
        && payload_type
            .as_ref()
            .is_some_and(PayloadType::is_rootfs_image);
    if type_info.name != payload.name && !unnamed {
        return Err(Error::malformed(
            "type-info",
            "has another payload type than header-info",
        ));
    }
    Ok(payload_type)
}

fn check_meta_data(
    payload_type: Option<&PayloadType>,
    meta_data: Option<&[u8]>,
) -> Result<(), Error> {
    match (payload_type, meta_data) {
        (_, None) => Ok(()),
        (None, Some(_)) => Err(Error::malformed(
            "meta-data",
            "is present although there is no payload",
        )),
        (Some(_), Some([])) => Ok(()),
        (Some(_), Some(bytes)) => json::check_object("meta-data", bytes),
    }
}

/// All dependencies as one map; `device_type` is always in it.
fn depends(
    info: HeaderDepends,
    type_depends: BTreeMap<String, Values>,
) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let mut depends = BTreeMap::from([(Depends::DEVICE_TYPE.to_owned(), info.device_type)]);
    depends.extend(
        info.artifact_name
            .map(|names| (ARTIFACT_NAME.to_owned(), names)),
    );
    depends.extend(
        info.artifact_group
            .map(|groups| (ARTIFACT_GROUP.to_owned(), groups)),
    );
    for (key, values) in &depends {
        for value in values {
            check_name("header-info", &format!("artifact_depends.{key}"), value)?;
        }
    }
    for (key, Values(values)) in type_depends {
        check_line("artifact_depends", &key)?;
        for value in &values {
            check_line("artifact_depends", value)?;
        }
        if depends.contains_key(&key) {
            return Err(Error::malformed(
                "type-info",
                format!("depends on {key:?}, as header-info does too"),
            ));
        }
        depends.insert(key, values);
    }
    match depends.iter().find(|(_, values)| values.is_empty()) {
        Some((key, _)) => Err(Error::malformed(
            "header.tar",
            format!("depends on {key:?} with an empty list, which nothing can satisfy"),
        )),
        None => Ok(depends),
    }
}

fn check_name(member: &str, key: &str, value: &str) -> Result<(), Error> {
    match text_fault(value) {
        Some(fault) => Err(Error::malformed(
            member,
            format!("has an unusable {key}: it {fault}"),
        )),
        None => Ok(()),
    }
}

/// Keys and values end up as lines `key=value` of other programs' input.
fn check_line(key: &str, text: &str) -> Result<(), Error> {
    if text.contains(char::is_control) {
        return Err(Error::malformed(
            "type-info",
            format!("has control characters in {key}: {text:?}"),
        ));
    }
    Ok(())
}

/// The first of sorted items that stands there twice.
fn twice<T: PartialEq>(sorted: impl Iterator<Item = T> + Clone) -> Option<T> {
    sorted
        .clone()
        .zip(sorted.skip(1))
        .find_map(|(first, second)| (first == second).then_some(second))
}
