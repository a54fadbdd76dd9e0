//! What an artifact says about itself, as the server keeps it.

use std::collections::BTreeMap;
use std::io::Read;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tandem_api::Timestamp;
use tandem_api::management::{
    Artifact, ArtifactFile, ArtifactFormat, ArtifactUpdate, LegacyMetaData, TypeInfo,
};
use tandem_artifact::{
    ARTIFACT_GROUP, ARTIFACT_NAME, Depends, Header, PayloadFileInfo, SignatureStatus, Verification,
};

use crate::store::StoredArtifact;

/// What the header and the manifest of an artifact say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// All that it depends on; `device_type` is among it.
    pub depends: BTreeMap<String, Vec<String>>,
    /// What a device provides with it; `artifact_name` is among it.
    pub provides: BTreeMap<String, String>,
    /// What it removes of what a device provides.
    pub clears: Option<Vec<String>>,
    /// Whether there is a signature.
    pub signed: bool,
    /// The type of its payload.
    pub payload_type: Option<String>,
    /// The files of its payload.
    pub files: Vec<File>,
    /// What it says to its update module.
    pub meta_data: Option<Map<String, Value>>,
}

/// A file of a payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

/// An artifact that is whole and as its manifest says.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// What it says about itself.
    pub content: Content,
}

/// Combinations of what an artifact depends on; real ones have a handful.
const COMBINATIONS: usize = 1000;

impl Checked {
    /// Reads an artifact to its end.
    ///
    /// # Errors
    /// Everything that makes an artifact unusable.
    pub fn read(
        source: impl Read,
        verification: &Verification,
    ) -> Result<Self, tandem_artifact::Error> {
        let artifact = tandem_artifact::Artifact::open(source, verification)?;
        let header = artifact.header().clone();
        let signed = match artifact.signature() {
            SignatureStatus::Unsigned => false,
            SignatureStatus::NotChecked | SignatureStatus::Verified { .. } => true,
        };
        let summary = artifact.finish()?;
        Ok(Self {
            name: header.name().to_owned(),
            size: summary.size,
            content: Content::new(&header, signed, &summary.files),
        })
    }
}

impl Content {
    fn new(header: &Header, signed: bool, files: &[PayloadFileInfo]) -> Self {
        let mut provides = header.provides().cloned().unwrap_or_default();
        provides.insert(ARTIFACT_NAME.to_owned(), header.name().to_owned());
        if let Some(group) = header.group() {
            provides.insert(ARTIFACT_GROUP.to_owned(), group.to_owned());
        }
        Self {
            depends: header.depends().as_map().clone(),
            provides,
            clears: header.clears_provides().map(<[String]>::to_vec),
            signed,
            payload_type: header.payload_type().map(|name| name.as_str().to_owned()),
            files: files
                .iter()
                .map(|file| File {
                    name: file.name.to_string(),
                    size: file.size,
                    sha256: file.sha256.to_string(),
                })
                .collect(),
            // The reader has seen that it is a JSON object.
            meta_data: header
                .meta_data()
                .and_then(|bytes| serde_json::from_slice(bytes).ok()),
        }
    }

    /// The types of device that it is made for.
    #[must_use]
    pub fn device_types(&self) -> &[String] {
        self.depends
            .get(Depends::DEVICE_TYPE)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// What it depends on, one text for each combination of values. Two artifacts of one name that have a text in
    /// common would be ambiguous. `None` if there are far too many.
    #[must_use]
    pub fn combinations(&self) -> Option<Vec<String>> {
        let mut all = vec![BTreeMap::new()];
        for (key, values) in &self.depends {
            if all.len().checked_mul(values.len())? > COMBINATIONS {
                return None;
            }
            all = all
                .iter()
                .flat_map(|one: &BTreeMap<&str, &str>| {
                    values.iter().map(move |value| {
                        let mut one = one.clone();
                        one.insert(key, value);
                        one
                    })
                })
                .collect();
        }
        let mut texts = all
            .iter()
            .map(serde_json::to_string)
            .collect::<Result<Vec<_>, _>>()
            .ok()?;
        texts.sort();
        texts.dedup();
        Some(texts)
    }
}

impl From<StoredArtifact> for Artifact {
    fn from(stored: StoredArtifact) -> Self {
        let StoredArtifact {
            id,
            name,
            description,
            size,
            sha256: _,
            modified,
            content,
        } = stored;
        let meta_data = content.meta_data.filter(|data| !data.is_empty());
        Self {
            id: id.to_string(),
            description,
            name,
            device_types_compatible: content
                .depends
                .get(Depends::DEVICE_TYPE)
                .cloned()
                .unwrap_or_default(),
            info: Some(ArtifactFormat {
                format: "mender".to_owned(),
                version: 3,
            }),
            signed: content.signed,
            updates: vec![ArtifactUpdate {
                type_info: TypeInfo {
                    name: content.payload_type,
                },
                files: content
                    .files
                    .into_iter()
                    .map(|file| ArtifactFile {
                        name: file.name,
                        checksum: Some(file.sha256),
                        size: file.size,
                        date: None,
                    })
                    .collect(),
                meta_data: meta_data.clone().map(|data| {
                    data.into_iter()
                        .map(|(key, value)| LegacyMetaData { key, value })
                        .collect()
                }),
                metadata: meta_data,
            }],
            artifact_provides: content.provides,
            artifact_depends: content
                .depends
                .into_iter()
                .map(|(key, values)| (key, values.into()))
                .collect(),
            clears_artifact_provides: content.clears,
            size,
            modified: Timestamp::from_millis(modified),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(depends: &[(&str, &[&str])]) -> Content {
        Content {
            depends: depends
                .iter()
                .map(|(key, values)| {
                    (
                        key.to_string(),
                        values.iter().map(ToString::to_string).collect(),
                    )
                })
                .collect(),
            provides: BTreeMap::new(),
            clears: None,
            signed: false,
            payload_type: None,
            files: Vec::new(),
            meta_data: None,
        }
    }

    #[test]
    fn each_combination_of_depends_is_listed_once() {
        let one = content(&[("device_type", &["a", "b", "a"])]);
        assert_eq!(
            one.combinations().unwrap(),
            [r#"{"device_type":"a"}"#, r#"{"device_type":"b"}"#]
        );
        let two = content(&[("device_type", &["a", "b"]), ("v", &["1", "2"])]);
        assert_eq!(two.combinations().unwrap().len(), 4);
        assert!(
            two.combinations()
                .unwrap()
                .contains(&r#"{"device_type":"b","v":"1"}"#.to_owned())
        );
    }

    #[test]
    fn far_too_many_combinations_are_not_listed() {
        let values: Vec<String> = (0..40).map(|n| n.to_string()).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        assert!(
            content(&[("device_type", &values), ("b", &values[..25])])
                .combinations()
                .is_some()
        );
        assert!(
            content(&[("device_type", &values), ("b", &values)])
                .combinations()
                .is_none()
        );
    }
}
