//! Which member comes when, and the members that are checked as a whole.

use serde::Deserialize;

use crate::compression::Compression;
use crate::digest::Digest;
use crate::error::Error;
use crate::json;
use crate::name::PayloadType;
use crate::tar_read::Member;

/// The next member must be `name`.
pub(crate) fn expect(member: Option<Member>, name: &str) -> Result<(), Error> {
    match member {
        Some(member) if member.name == name => Ok(()),
        other => Err(unexpected(other, name)),
    }
}

/// The next member must be `stem` and the suffix of a compression: its name, its compression.
pub(crate) fn expect_archive(
    member: Option<Member>,
    stem: &str,
) -> Result<(String, Compression), Error> {
    let compression = member
        .as_ref()
        .and_then(|member| Compression::of_member(&member.name, stem));
    match (member, compression) {
        (Some(member), Some(compression)) => Ok((member.name, compression)),
        (other, _) => Err(unexpected(other, &format!("{stem}[.gz|.xz|.zst]"))),
    }
}

fn unexpected(member: Option<Member>, expected: &str) -> Error {
    let found = match member {
        Some(member) if member.name == "manifest-augment" => return Error::Augmented,
        Some(member) if member.name.starts_with("header-augment.tar") => return Error::Augmented,
        Some(member) => format!("member {:?}", member.name),
        None => "the end of the artifact".to_owned(),
    };
    Error::Unexpected {
        found,
        expected: expected.to_owned(),
    }
}

/// The member `version` must be that of this format and of version 3.
pub(crate) fn check_version(bytes: &[u8]) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Version {
        format: String,
        version: serde_json::Number,
    }
    let Version { format, version } = json::parse("version", bytes)?;
    if format != "mender" {
        return Err(Error::malformed(
            "version",
            format!("says that the format is {format:?}, not \"mender\""),
        ));
    }
    match version.as_u64() {
        Some(3) => Ok(()),
        _ => Err(Error::Version {
            found: version.to_string(),
        }),
    }
}

/// Compares the content of a member with its sum in the manifest.
pub(crate) fn compare(member: &str, bytes: &[u8], expected: Digest) -> Result<(), Error> {
    let actual = Digest::of(bytes);
    if actual == expected {
        return Ok(());
    }
    Err(Error::Mismatch {
        name: member.to_owned(),
        expected,
        actual,
    })
}

/// A bootstrap artifact has no file, a rootfs-image one, an update module any number.
pub(crate) fn check_file_count(
    payload_type: Option<&PayloadType>,
    count: usize,
) -> Result<(), Error> {
    let required = match payload_type {
        None => 0,
        Some(payload_type) if payload_type.is_rootfs_image() => 1,
        Some(_) => return Ok(()),
    };
    if count == required {
        return Ok(());
    }
    let kind = payload_type.map_or("an artifact without payload", PayloadType::as_str);
    Err(Error::malformed(
        "manifest",
        format!("lists {count} payload files, but {kind} has {required}"),
    ))
}
