//! Under which key an artifact provides the version of its software, and which keys it clears, when the builder does
//! not say: the conventions of mender-artifact, which devices and servers rely on.

use std::io::{Read, Seek};

use crate::content::Content;
use crate::draft::Draft;
use crate::name::PayloadType;
use crate::provides::{ARTIFACT_GROUP, Provides};

/// The key of the checksum of a root file system.
pub const ROOTFS_CHECKSUM: &str = "rootfs-image.checksum";

/// The same in artifacts for old clients.
pub const ROOTFS_CHECKSUM_LEGACY: &str = "rootfs_image_checksum";

/// What a builder says about the software in a payload; `None` is the convention.
#[derive(Debug, Clone, Copy, Default)]
pub struct Software<'a> {
    /// Instead of `rootfs-image`.
    pub filesystem: Option<&'a str>,
    /// Instead of nothing (rootfs-image) or the payload type.
    pub name: Option<&'a str>,
    /// Instead of the name of the artifact.
    pub version: Option<&'a str>,
    /// Without the conventions: only what is said.
    pub no_default: bool,
}

impl Software<'_> {
    /// What the artifact `artifact` provides: `FILESYSTEM[.NAME].version`. The `default_name` of an update module's
    /// software is the type of the payload, a root file system has none.
    #[must_use]
    pub fn provides(&self, default_name: Option<&str>, artifact: &str) -> Option<(String, String)> {
        let (default_name, default_version) = if self.no_default {
            (None, None)
        } else {
            (default_name, Some(artifact))
        };
        let version = said(self.version).or(default_version)?;
        let filesystem = said(self.filesystem).unwrap_or(PayloadType::ROOTFS_IMAGE);
        let key = match said(self.name).or(default_name) {
            Some(name) => format!("{filesystem}.{name}.version"),
            None => format!("{filesystem}.version"),
        };
        Some((key, version.to_owned()))
    }

    /// The patterns that are cleared beside those in `clears`: `FILESYSTEM[.NAME].*`. Nothing with
    /// [`no_default`](Self::no_default).
    #[must_use]
    pub fn clears(&self, default_name: Option<&str>, clears: &[String]) -> Vec<String> {
        if self.no_default {
            return Vec::new();
        }
        let filesystem = self.filesystem.unwrap_or(PayloadType::ROOTFS_IMAGE);
        let name = said(self.name).or(default_name);
        let mut patterns = Vec::new();
        if name.is_none() && filesystem == PayloadType::ROOTFS_IMAGE {
            // A root file system without a group ends the group; the other is the checksum's old name.
            patterns.extend([ARTIFACT_GROUP, ROOTFS_CHECKSUM_LEGACY].map(ToOwned::to_owned));
        }
        let own = match name {
            Some(name) => format!("{filesystem}.{name}.*"),
            None => format!("{filesystem}.*"),
        };
        if !clears.contains(&own) {
            patterns.push(own);
        }
        patterns
    }
}

impl Draft {
    /// The usual artifact for a root file system, as `mender-artifact write rootfs-image` makes it.
    #[must_use]
    pub fn rootfs_image<R: Read + Seek>(
        name: &str,
        device_types: Vec<String>,
        image: &Content<R>,
    ) -> Self {
        let software = Software::default();
        let mut provides =
            Provides::from([(ROOTFS_CHECKSUM.to_owned(), image.sha256().to_string())]);
        provides.extend(software.provides(None, name));
        Self {
            name: name.to_owned(),
            device_types,
            payload_type: Some(PayloadType::ROOTFS_IMAGE.to_owned()),
            provides,
            clears_provides: software.clears(None, &[]),
            ..Self::default()
        }
    }
}

/// An empty value says nothing.
fn said(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        software: Software<'_>,
        default_name: Option<&str>,
        provides: Option<&str>,
        clears: &[&str],
    ) {
        let found = software
            .provides(default_name, "r1")
            .map(|(key, value)| format!("{key}:{value}"));
        assert_eq!(found.as_deref(), provides);
        assert_eq!(software.clears(default_name, &["x.*".to_owned()]), clears);
    }

    #[test]
    fn the_conventions_are_those_of_mender_artifact() {
        let plain = Software::default();
        check(
            plain,
            None,
            Some("rootfs-image.version:r1"),
            &["artifact_group", "rootfs_image_checksum", "rootfs-image.*"],
        );
        check(
            plain,
            Some("mod"),
            Some("rootfs-image.mod.version:r1"),
            &["rootfs-image.mod.*"],
        );
        let named = Software {
            filesystem: Some("data"),
            name: Some("app"),
            version: Some("2"),
            ..plain
        };
        check(named, None, Some("data.app.version:2"), &["data.app.*"]);
        check(
            named,
            Some("mod"),
            Some("data.app.version:2"),
            &["data.app.*"],
        );
        let elsewhere = Software {
            filesystem: Some("data"),
            ..plain
        };
        check(elsewhere, None, Some("data.version:r1"), &["data.*"]);
        check(
            elsewhere,
            Some("mod"),
            Some("data.mod.version:r1"),
            &["data.mod.*"],
        );
        check(
            Software {
                filesystem: Some("x"),
                ..plain
            },
            None,
            Some("x.version:r1"),
            &[],
        );
        check(
            Software {
                no_default: true,
                ..plain
            },
            None,
            None,
            &[],
        );
        check(
            Software {
                no_default: true,
                ..plain
            },
            Some("mod"),
            None,
            &[],
        );
        check(
            Software {
                no_default: true,
                ..named
            },
            Some("mod"),
            Some("data.app.version:2"),
            &[],
        );
        check(
            Software {
                no_default: true,
                version: Some("2"),
                ..plain
            },
            Some("mod"),
            Some("rootfs-image.version:2"),
            &[],
        );
    }
}
