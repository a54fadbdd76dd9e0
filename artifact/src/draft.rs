//! The description of an artifact to be written, and the header made from it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::Error;
use crate::header::{Header, Parts, Script};
use crate::json;
use crate::name::PayloadType;
use crate::provides::Provides;

/// What an artifact to be written says about itself. Empty lists and maps are left out of the artifact.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// Its name: 1 to 256 bytes, no white space.
    pub name: String,
    /// The group that a device belongs to with it.
    pub group: Option<String>,
    /// The types of device that it is made for; at least one.
    pub device_types: Vec<String>,
    /// The artifacts of which one must be installed before.
    pub depends_on_names: Vec<String>,
    /// The groups of which the device must belong to one.
    pub depends_on_groups: Vec<String>,
    /// The type of the payload; `None` for an artifact without payload.
    pub payload_type: Option<String>,
    /// What else it depends on.
    pub depends: BTreeMap<String, Vec<String>>,
    /// What it provides beside name and group.
    pub provides: Provides,
    /// The patterns of the keys that it removes.
    pub clears_provides: Vec<String>,
    /// A JSON object for the update module, taken over byte for byte.
    pub meta_data: Option<Vec<u8>>,
    /// State scripts.
    pub scripts: Vec<Script>,
}

impl Draft {
    /// The header of this artifact. Header-info and type-info are those that mender-artifact makes of the same facts,
    /// byte for byte.
    ///
    /// DIFFERS: type-info always names the type of a rootfs-image, which mender-artifact before 4.3.1 leaves empty;
    /// meta-data is not decoded and encoded again, which would change large numbers.
    ///
    /// # Errors
    /// [`Error::Description`] with the rule that is broken.
    pub fn header(&self) -> Result<Header, Error> {
        if self.name.contains(char::is_whitespace) {
            return Err(Error::Description {
                rule: "the artifact name contains white space".to_owned(),
            });
        }
        let rootfs_image = self.payload_type.as_deref() == Some(PayloadType::ROOTFS_IMAGE);
        let parts = Parts {
            header_info: json::to_bytes(&HeaderInfo::new(self))?,
            scripts: self.scripts.clone(),
            type_info: json::to_bytes(&TypeInfo::new(self))?,
            // Mender's reader of a rootfs-image wants the member to be there.
            meta_data: self
                .meta_data
                .clone()
                .or_else(|| rootfs_image.then(Vec::new)),
        };
        Header::new(parts).map_err(Error::into_description)
    }
}

#[derive(Serialize)]
struct HeaderInfo<'a> {
    payloads: [Payload<'a>; 1],
    artifact_provides: HeaderProvides<'a>,
    artifact_depends: HeaderDepends<'a>,
}

#[derive(Serialize)]
struct Payload<'a> {
    r#type: Option<&'a str>,
}

#[derive(Serialize)]
struct HeaderProvides<'a> {
    artifact_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    artifact_group: &'a str,
}

#[derive(Serialize)]
struct HeaderDepends<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    artifact_name: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    device_type: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    artifact_group: &'a [String],
}

impl<'a> HeaderInfo<'a> {
    fn new(draft: &'a Draft) -> Self {
        Self {
            payloads: [Payload {
                r#type: draft.payload_type.as_deref(),
            }],
            artifact_provides: HeaderProvides {
                artifact_name: &draft.name,
                artifact_group: draft.group.as_deref().unwrap_or_default(),
            },
            artifact_depends: HeaderDepends {
                artifact_name: &draft.depends_on_names,
                device_type: &draft.device_types,
                artifact_group: &draft.depends_on_groups,
            },
        }
    }
}

#[derive(Serialize)]
struct TypeInfo<'a> {
    r#type: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    artifact_depends: BTreeMap<&'a str, Values<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    artifact_provides: &'a Provides,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    clears_artifact_provides: &'a [String],
}

/// A single value is written as such: Mender's C++ client reads no list here.
#[derive(Serialize)]
#[serde(untagged)]
enum Values<'a> {
    One(&'a str),
    Many(&'a [String]),
}

impl<'a> TypeInfo<'a> {
    fn new(draft: &'a Draft) -> Self {
        let values = |values: &'a Vec<String>| match values.as_slice() {
            [one] => Values::One(one),
            many => Values::Many(many),
        };
        Self {
            r#type: draft.payload_type.as_deref(),
            artifact_depends: draft
                .depends
                .iter()
                .map(|(key, list)| (key.as_str(), values(list)))
                .collect(),
            artifact_provides: &draft.provides,
            clears_artifact_provides: &draft.clears_provides,
        }
    }
}
