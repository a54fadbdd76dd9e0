//! The rules on what header-info, type-info and meta-data say.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::depends::Depends;
use crate::error::Error;
use crate::header::Parts;
use crate::json::{self, Object};
use crate::name::{PayloadType, text_fault};
use crate::provides::{ARTIFACT_GROUP, ARTIFACT_NAME, Provides};

/// What an artifact says about itself, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) name: String,
    pub(crate) group: Option<String>,
    pub(crate) payload_type: Option<PayloadType>,
    pub(crate) depends: Depends,
    pub(crate) provides: Option<Provides>,
    pub(crate) clears_provides: Option<Vec<String>>,
}

impl Facts {
    pub(crate) fn read(parts: &Parts) -> Result<Self, Error> {
        let info: HeaderInfo = json::parse("header-info", &parts.header_info)?;
        let type_info: TypeInfo = json::parse("type-info", &parts.type_info)?;
        let payload_type = payload_type(&info, &type_info)?;
        check_meta_data(payload_type.as_ref(), parts.meta_data.as_deref())?;

        let Object(HeaderProvides {
            artifact_name: name,
            artifact_group,
        }) = info.artifact_provides;
        check_name("header-info", "artifact_provides.artifact_name", &name)?;
        let group = artifact_group.filter(|group| !group.is_empty());
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
        })
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
