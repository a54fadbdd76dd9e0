//! The one error type, and what a caller may conclude from it.

use std::fmt;
use std::io;

use crate::digest::Digest;

/// Why an artifact was refused, or could not be read, written or signed.
///
/// `Display` says what is wrong, with which member, and for things that a user can change, how; it never repeats
/// its [`source`](std::error::Error::source).
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The bytes of the artifact could not be had: network, disk.
    Source(io::Error),
    /// The bytes end before the artifact does.
    Truncated {
        /// What was being read.
        within: String,
    },
    /// A rule of the format is broken.
    Malformed {
        /// The member, or the place in it.
        member: String,
        /// The rule, as a predicate: `is not ...`, `lists ... twice`.
        rule: String,
    },
    /// A member that may not stand at this place.
    Unexpected {
        /// The member found, or `the end of ...`.
        found: String,
        /// What had to come.
        expected: String,
    },
    /// A payload file that the manifest does not list: nobody vouches for it.
    Unlisted {
        /// The payload file.
        file: String,
    },
    /// A payload file that the manifest lists and that did not come.
    Missing {
        /// The payload file.
        file: String,
    },
    /// Content that is not what the manifest promises.
    Mismatch {
        /// The member or the payload file.
        name: String,
        /// The sum in the manifest.
        expected: Digest,
        /// The sum of what came.
        actual: Digest,
    },
    /// A member that is not the JSON it has to be.
    Json {
        /// The member.
        member: String,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// A compressed member that does not decompress.
    Decompress {
        /// The member.
        member: String,
        /// What the decompressor says.
        source: io::Error,
    },
    /// Something is larger than a limit; see [`Limits`](crate::Limits).
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit, with its unit.
        limit: String,
    },
    /// A version of the format other than 3.
    Version {
        /// The version found.
        found: String,
    },
    /// An artifact with augmented sections, which no signature covers.
    Augmented,
    /// A compression that this program was built without.
    Compression {
        /// The member.
        member: String,
    },
    /// Keys are configured and the artifact carries no signature.
    Unsigned,
    /// The signature is not one that any known signer writes.
    SignatureForm {
        /// What is wrong with it.
        reason: String,
    },
    /// No configured key made this signature.
    SignatureMismatch {
        /// The names of the keys that were tried.
        keys: Vec<String>,
    },
    /// A key that cannot be used.
    Key {
        /// The name of the key, usually its path.
        name: String,
        /// Why not, and what can be.
        reason: String,
    },
    /// A file's check was detached and its result was not handed back. An error of the calling program.
    Unproven {
        /// The payload file.
        file: String,
    },
    /// Use after an error, or out of order. An error of the calling program.
    Misuse {
        /// What was done wrong.
        what: &'static str,
    },
    /// The description of an artifact to be written breaks a rule.
    Description {
        /// The rule.
        rule: String,
    },
    /// A payload file to be written could not be read.
    Content {
        /// The payload file.
        file: String,
        /// Why not.
        source: io::Error,
    },
    /// A payload file changed between being hashed and being written.
    Changed {
        /// The payload file.
        file: String,
    },
    /// The artifact to be signed is signed already.
    AlreadySigned,
    /// The output could not be written.
    Sink(io::Error),
}

/// What kind of error it is: what a caller does next depends on this, never on the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The bytes of the artifact, or of a payload file for it, could not be had. Trying again may help.
    Source,
    /// The artifact is broken or hostile: truncated, malformed, or not what its manifest says.
    Invalid,
    /// The artifact is not signed by a trusted key.
    Untrusted,
    /// A well-formed artifact of a kind that is not supported here.
    Unsupported,
    /// Over a limit of this reader.
    Limit,
    /// What the caller gave (key, description, order of calls) is wrong; the artifact is not judged.
    Input,
    /// The output could not be written.
    Sink,
}

impl Error {
    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Source(_) | Self::Content { .. } | Self::Changed { .. } => Kind::Source,
            Self::Truncated { .. }
            | Self::Malformed { .. }
            | Self::Unexpected { .. }
            | Self::Unlisted { .. }
            | Self::Missing { .. }
            | Self::Mismatch { .. }
            | Self::Json { .. }
            | Self::Decompress { .. } => Kind::Invalid,
            Self::Unsigned | Self::SignatureForm { .. } | Self::SignatureMismatch { .. } => {
                Kind::Untrusted
            }
            Self::Version { .. } | Self::Augmented | Self::Compression { .. } => Kind::Unsupported,
            Self::TooLarge { .. } => Kind::Limit,
            Self::Key { .. }
            | Self::Unproven { .. }
            | Self::Misuse { .. }
            | Self::Description { .. }
            | Self::AlreadySigned => Kind::Input,
            Self::Sink(_) => Kind::Sink,
        }
    }

    /// The error inside an [`io::Error`] that a reader of this crate returned; any other is the source's own.
    #[must_use]
    pub fn from_read(err: io::Error) -> Self {
        match err.downcast::<Self>() {
            Ok(inner) => inner,
            Err(err) => Self::Source(err),
        }
    }

    /// The same error about something that is yet to be written.
    pub(crate) fn into_description(self) -> Self {
        let source = std::error::Error::source(&self)
            .map(|source| format!(": {source}"))
            .unwrap_or_default();
        Self::Description {
            rule: format!("{self}{source}"),
        }
    }

    pub(crate) fn malformed(member: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::Malformed {
            member: member.into(),
            rule: rule.into(),
        }
    }

    pub(crate) fn too_large(what: impl Into<String>, limit: u64) -> Self {
        Self::TooLarge {
            what: what.into(),
            limit: bytes(limit),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(_) => write!(f, "cannot read the artifact"),
            Self::Truncated { within } => {
                write!(
                    f,
                    "{within} ends too early: the file is incomplete, download or build it again"
                )
            }
            Self::Malformed { member, rule } => write!(f, "{member} {rule}"),
            Self::Unexpected { found, expected } => {
                write!(f, "found {found} where {expected} must be")
            }
            Self::Unlisted { file } => {
                write!(f, "the manifest does not list payload file {file:?}")
            }
            Self::Missing { file } => write!(
                f,
                "payload file {file:?} is listed in the manifest and missing"
            ),
            Self::Mismatch {
                name,
                expected,
                actual,
            } => {
                write!(
                    f,
                    "{name} does not match the manifest: its SHA-256 is {actual}, the manifest says {expected}"
                )
            }
            Self::Json { member, .. } => write!(f, "{member} is not the JSON that it must be"),
            Self::Decompress { member, .. } => write!(f, "{member} does not decompress"),
            Self::TooLarge { what, limit } => write!(f, "{what} is over the limit of {limit}"),
            Self::Version { found } => {
                write!(
                    f,
                    "artifact format version {found} is not supported, only 3: build it again with version 3"
                )
            }
            Self::Augmented => write!(
                f,
                "augmented artifacts are not supported: their second manifest is not signed"
            ),
            Self::Compression { member } => {
                write!(
                    f,
                    "{member} has a compression that this program was built without: use gzip"
                )
            }
            Self::Unsigned => write!(
                f,
                "the artifact is not signed but a verification key is configured: \
                 sign it with `tandem-artifact sign --key PRIVATE-KEY FILE`, or configure no key"
            ),
            Self::SignatureForm { reason } => write!(f, "the signature (manifest.sig) {reason}"),
            Self::SignatureMismatch { keys } => write!(
                f,
                "the signature was not made for this manifest by a configured key ({}): \
                 the artifact was changed after signing, or signed with another key",
                keys.join(", ")
            ),
            Self::Key { name, reason } => write!(f, "cannot use key {name}: {reason}"),
            Self::Unproven { file } => {
                write!(
                    f,
                    "payload file {file:?} was read without its check and nobody handed in the proof"
                )
            }
            Self::Misuse { what } => write!(f, "the artifact reader was misused: {what}"),
            Self::Description { rule } => write!(f, "cannot write such an artifact: {rule}"),
            Self::Content { file, .. } => write!(f, "cannot read payload file {file:?}"),
            Self::Changed { file } => write!(
                f,
                "payload file {file:?} changed while the artifact was being written"
            ),
            Self::AlreadySigned => write!(
                f,
                "the artifact is signed already: replace the signature with --force"
            ),
            Self::Sink(_) => write!(f, "cannot write the artifact"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Source(source)
            | Self::Sink(source)
            | Self::Decompress { source, .. }
            | Self::Content { source, .. } => Some(source),
            Self::Json { source, .. } => Some(source),
            Self::Truncated { .. }
            | Self::Malformed { .. }
            | Self::Unexpected { .. }
            | Self::Unlisted { .. }
            | Self::Missing { .. }
            | Self::Mismatch { .. }
            | Self::TooLarge { .. }
            | Self::Version { .. }
            | Self::Augmented
            | Self::Compression { .. }
            | Self::Unsigned
            | Self::SignatureForm { .. }
            | Self::SignatureMismatch { .. }
            | Self::Key { .. }
            | Self::Unproven { .. }
            | Self::Misuse { .. }
            | Self::Description { .. }
            | Self::Changed { .. }
            | Self::AlreadySigned => None,
        }
    }
}

/// How an [`Error`] travels through [`io::Read`]; [`Error::from_read`] takes it out again.
impl From<Error> for io::Error {
    fn from(err: Error) -> Self {
        let kind = if let Error::Source(source) = &err {
            source.kind()
        } else if let Error::Truncated { .. } = &err {
            io::ErrorKind::UnexpectedEof
        } else {
            io::ErrorKind::InvalidData
        };
        Self::new(kind, err)
    }
}

/// A number of bytes as people write limits: `8 MiB`, `31 bytes`.
fn bytes(count: u64) -> String {
    const MIB: u64 = 1 << 20;
    const KIB: u64 = 1 << 10;
    match count {
        MIB.. if count % MIB == 0 => format!("{} MiB", count / MIB),
        KIB.. if count % KIB == 0 => format!("{} KiB", count / KIB),
        _ => format!("{count} bytes"),
    }
}
