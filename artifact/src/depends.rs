//! What a device must be, or must have installed, before an artifact may be installed on it.

use std::collections::BTreeMap;
use std::fmt;

use crate::provides::Provides;

/// Keys with the values of which one is required each. `device_type` is always among them; no list is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depends(BTreeMap<String, Vec<String>>);

impl Depends {
    /// The key that is about the device itself and not about what is installed.
    pub const DEVICE_TYPE: &str = "device_type";

    pub(crate) fn new(depends: BTreeMap<String, Vec<String>>) -> Self {
        Self(depends)
    }

    /// The types of device that are meant.
    #[must_use]
    pub fn device_types(&self) -> &[String] {
        self.0
            .get(Self::DEVICE_TYPE)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// All keys with their values.
    #[must_use]
    pub fn as_map(&self) -> &BTreeMap<String, Vec<String>> {
        &self.0
    }

    /// What a device of type `device_type` that provides `provides` does not fulfil; it may install the artifact if
    /// that is nothing.
    #[must_use]
    pub fn mismatches(&self, device_type: &str, provides: &Provides) -> Vec<Mismatch> {
        let has = |key: &str| match key {
            Self::DEVICE_TYPE => Some(device_type),
            _ => provides.get(key).map(String::as_str),
        };
        let fulfilled = |key: &str, wanted: &[String]| {
            has(key).is_some_and(|has| wanted.iter().any(|one| one == has))
        };
        self.0
            .iter()
            .filter(|(key, wanted)| !fulfilled(key, wanted))
            .map(|(key, wanted)| Mismatch {
                key: key.clone(),
                wanted: wanted.clone(),
                found: has(key).map(ToOwned::to_owned),
            })
            .collect()
    }
}

/// A dependency that a device does not fulfil.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The key, `device_type` or one of the provides.
    pub key: String,
    /// The values of which one would do.
    pub wanted: Vec<String>,
    /// What the device has.
    pub found: Option<String>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the artifact depends on {} ", self.key)?;
        for (n, value) in self.wanted.iter().enumerate() {
            let separator = if n == 0 { "" } else { " or " };
            write!(f, "{separator}{value:?}")?;
        }
        match &self.found {
            Some(found) => write!(f, ", the device has {found:?}"),
            None => write!(f, ", the device has none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(depends: &[(&str, &[&str])], expected: &[&str]) {
        let depends = depends
            .iter()
            .map(|(key, values)| {
                (
                    key.to_string(),
                    values.iter().map(ToString::to_string).collect(),
                )
            })
            .collect();
        let provides = [
            ("artifact_name", "r1"),
            ("rootfs-image.version", "z"),
            ("device_type", "fake"),
            ("empty", ""),
        ];
        let provides = provides
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let found = Depends::new(depends).mismatches("qemu", &provides);
        assert_eq!(
            found.iter().map(ToString::to_string).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn every_key_must_have_one_of_its_values() {
        check(&[("device_type", &["qemu"])], &[]);
        check(
            &[
                ("device_type", &["pi", "qemu"]),
                ("artifact_name", &["r0", "r1"]),
            ],
            &[],
        );
        check(&[("device_type", &["qemu"]), ("empty", &[""])], &[]);
        check(
            &[
                ("device_type", &["qemu"]),
                ("rootfs-image.version", &["x", "y"]),
            ],
            &[r#"the artifact depends on rootfs-image.version "x" or "y", the device has "z""#],
        );
        check(
            &[("device_type", &["qemu"]), ("artifact_group", &["g"])],
            &[r#"the artifact depends on artifact_group "g", the device has none"#],
        );
    }

    #[test]
    fn the_device_type_comes_from_the_device_and_not_from_what_is_installed() {
        check(
            &[("device_type", &["fake"])],
            &[r#"the artifact depends on device_type "fake", the device has "qemu""#],
        );
    }

    #[test]
    fn every_mismatch_is_reported() {
        check(
            &[("device_type", &["pi"]), ("artifact_name", &["R1"])],
            &[
                r#"the artifact depends on artifact_name "R1", the device has "r1""#,
                r#"the artifact depends on device_type "pi", the device has "qemu""#,
            ],
        );
    }
}
