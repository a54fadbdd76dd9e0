//! Artifacts and releases.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::timestamp::Timestamp;

/// An artifact on the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// Identifies the artifact.
    pub id: String,
    /// What the operator wrote about it.
    #[serde(default)]
    pub description: String,
    /// Its name.
    pub name: String,
    /// The types of device that it is made for.
    #[serde(default)]
    pub device_types_compatible: Vec<String>,
    /// Its format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<ArtifactFormat>,
    /// Whether it is signed.
    #[serde(default)]
    pub signed: bool,
    /// Its payloads.
    #[serde(default)]
    pub updates: Vec<ArtifactUpdate>,
    /// What a device provides that has it.
    #[serde(default)]
    pub artifact_provides: BTreeMap<String, String>,
    /// What a device must provide; strings or lists of strings.
    #[serde(default)]
    pub artifact_depends: BTreeMap<String, Value>,
    /// What it removes of what a device provides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clears_artifact_provides: Option<Vec<String>>,
    /// Bytes.
    pub size: u64,
    /// When it was uploaded or its description changed.
    pub modified: Timestamp,
}

/// The format of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactFormat {
    /// `mender`
    pub format: String,
    /// 3
    pub version: u32,
}

/// A payload of an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtifactUpdate {
    /// What kind of payload it is.
    pub type_info: TypeInfo,
    /// The files in it.
    #[serde(default)]
    pub files: Vec<ArtifactFile>,
    /// What it says to its update module. Left out if empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// The same for older programs: mender-cli 1.9 ends with an error if this is anything but a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta_data: Option<Vec<LegacyMetaData>>,
}

/// The kind of a payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeInfo {
    /// `rootfs-image` or the name of an update module; nothing in an artifact without payload.
    #[serde(rename = "type")]
    pub name: Option<String>,
}

/// One entry of a payload's meta-data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LegacyMetaData {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Value,
}

/// A file of a payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactFile {
    /// Its name.
    pub name: String,
    /// Its SHA-256, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Bytes.
    pub size: u64,
    /// When it was changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Timestamp>,
}

/// Where to download something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactLink {
    /// The address; no token is needed.
    pub uri: String,
    /// Until when.
    pub expire: Timestamp,
}

/// All artifacts of one name, as the first version of the API writes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseV1 {
    /// The name.
    #[serde(rename = "Name")]
    pub name: String,
    /// When one of them changed last.
    #[serde(rename = "Modified")]
    pub modified: Timestamp,
    /// The artifacts.
    #[serde(rename = "Artifacts")]
    pub artifacts: Vec<Artifact>,
    /// How many.
    #[serde(rename = "ArtifactsCount")]
    pub artifacts_count: u64,
    /// For finding it again.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What the operator wrote about it.
    #[serde(default)]
    pub notes: String,
}

/// All artifacts of one name, as the second version of the API writes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// The name.
    pub name: String,
    /// When one of them changed last.
    pub modified: Timestamp,
    /// For finding it again.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What the operator wrote about it.
    #[serde(default)]
    pub notes: String,
    /// The artifacts.
    pub artifacts: Vec<Artifact>,
    /// How many.
    pub artifacts_count: u64,
}

impl From<Release> for ReleaseV1 {
    fn from(release: Release) -> Self {
        let Release {
            name,
            modified,
            tags,
            notes,
            artifacts,
            artifacts_count,
        } = release;
        Self {
            name,
            modified,
            artifacts,
            artifacts_count,
            tags,
            notes,
        }
    }
}
