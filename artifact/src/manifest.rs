//! The manifest: the list of SHA-256 sums that the signature covers.
//!
//! ```text
//! 64 lower-case hex digits, two spaces, name, LF
//!   data/0000/FILE      each payload file: sum of its content
//!   header.tar[.gz...]  sum of the member as it stands in the artifact, compressed
//!   version             sum of the member
//! ```
//! Nothing may be unclear about it: no line twice, no other name, no CR, no missing LF at the end (Mender's Go reader
//! drops such a line), no header or version line missing (Mender's C++ client takes that as "nothing to check").

use std::collections::BTreeMap;

use crate::compression::Compression;
use crate::digest::Digest;
use crate::error::Error;
use crate::name::FileName;

/// A checked manifest.
#[derive(Debug, Clone)]
pub struct Manifest {
    version: Digest,
    header: (Compression, Digest),
    files: BTreeMap<FileName, Digest>,
}

impl Manifest {
    /// Reads the member `manifest`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut version = None;
        let mut header = None;
        let mut files = BTreeMap::new();
        let Some(lines) = bytes.strip_suffix(b"\n") else {
            return Err(Error::malformed(
                "manifest",
                "does not end with a line feed",
            ));
        };
        for (number, line) in (1_usize..).zip(lines.split(|byte| *byte == b'\n')) {
            let line = Line::parse(line).ok_or_else(|| {
                Error::malformed(
                    format!("manifest line {number}"),
                    "is not a lower-case SHA-256 sum, two spaces and a name",
                )
            })?;
            let first = if line.name == "version" {
                version.replace(line.sum).is_none()
            } else if let Some(compression) = Compression::of_member(line.name, "header.tar") {
                header.replace((compression, line.sum)).is_none()
            } else if let Some(file) = line.name.strip_prefix("data/0000/") {
                files.insert(FileName::parse(file)?, line.sum).is_none()
            } else {
                return Err(Error::malformed(
                    "manifest",
                    format!("lists the unknown member {:?}", line.name),
                ));
            };
            if !first {
                return Err(Error::malformed(
                    "manifest",
                    format!("lists {:?} twice", line.name),
                ));
            }
        }
        Ok(Self {
            version: version
                .ok_or_else(|| Error::malformed("manifest", "does not list version"))?,
            header: header
                .ok_or_else(|| Error::malformed("manifest", "does not list header.tar"))?,
            files,
        })
    }

    /// The sum of the member `version`.
    #[must_use]
    pub fn version(&self) -> Digest {
        self.version
    }

    /// The compression and the sum of the header member.
    #[must_use]
    pub fn header(&self) -> (Compression, Digest) {
        self.header
    }

    /// The payload files, by name.
    #[must_use]
    pub fn files(&self) -> &BTreeMap<FileName, Digest> {
        &self.files
    }
}

/// One line, its name still unjudged.
struct Line<'a> {
    sum: Digest,
    name: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let (sum, name) = std::str::from_utf8(line).ok()?.split_at_checked(64)?;
        let name = name.strip_prefix("  ")?;
        Some(Self {
            sum: sum.parse().ok()?,
            name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "96bcd965947569404798bcbdb614f103db5a004eb6e364cfc162c146890ea35b";

    #[track_caller]
    fn check(text: &str, fault: Option<&str>) {
        let text = text.replace('#', SUM);
        match (Manifest::parse(text.as_bytes()), fault) {
            (Ok(_), None) => {}
            (Err(err), Some(fault)) if err.to_string().contains(fault) => {}
            (verdict, _) => panic!("{text:?}: {verdict:?}, expected {fault:?}"),
        }
    }

    #[test]
    fn nothing_may_be_unclear_about_a_manifest() {
        check("#  header.tar\n#  version\n", None);
        check(
            "#  version\n#  data/0000/a\n#  header.tar.zst\n#  data/0000/b.c\n",
            None,
        );
        check("", Some("line feed"));
        check("\n", Some("line 1"));
        check("#  header.tar\n#  version", Some("line feed"));
        check("#  header.tar\n#  version\n\n", Some("line 3"));
        check(
            "#  header.tar\r\n#  version\r\n",
            Some("unknown member \"header.tar\\r\""),
        );
        check("# header.tar\n#  version\n", Some("line 1"));
        check(
            "#   header.tar\n#  version\n",
            Some("unknown member \" header.tar\""),
        );
        check("#\theader.tar\n#  version\n", Some("line 1"));
        check(
            &"#  header.tar\n#  version\n".replace('#', &SUM.to_uppercase()),
            Some("line 1"),
        );
        check("0#  header.tar\n#  version\n", Some("line 1"));
        check("é#  header.tar\n#  version\n", Some("line 1"));
        check("#  header.tar\n", Some("does not list version"));
        check("#  version\n", Some("does not list header.tar"));
        check(
            "#  version\n#  header.tar\n#  version\n",
            Some("\"version\" twice"),
        );
        check(
            "#  version\n#  header.tar\n#  header.tar.gz\n",
            Some("\"header.tar.gz\" twice"),
        );
        check(
            "#  version\n#  header.tar\n#  data/0000/a\n#  data/0000/a\n",
            Some("\"data/0000/a\" twice"),
        );
        check("#  version\n#  header.tar.bz2\n", Some("unknown member"));
        check(
            "#  version\n#  header.tar\n#  data/0001/a\n",
            Some("unknown member"),
        );
        check(
            "#  version\n#  header.tar\n#  manifest\n",
            Some("unknown member"),
        );
        check(
            "#  version\n#  header.tar\n#  header-augment.tar\n",
            Some("unknown member"),
        );
        check(
            "#  version\n#  header.tar\n#  data/0000/../a\n",
            Some("payload file name"),
        );
        check(
            "#  version\n#  header.tar\n#  data/0000/\n",
            Some("payload file name"),
        );
        check(
            &format!(
                "#  version\n#  header.tar\n#  data/0000/{}\n",
                "x".repeat(91)
            ),
            Some("payload file name"),
        );
    }
}
